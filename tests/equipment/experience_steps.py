"""Made-up experience: vector environments whose every number is known, and texts."""

from typing import NamedTuple

import numpy as np
from innervate_rl.experience import Origin, Steps, Turns

POLICY = "sha256:" + "a" * 64
CHAIN = {"environment": "sha256:" + "e" * 64, "seed": 3}


def origin(attempt=0):
    return Origin("team/run", 3, attempt, CHAIN)


class World(NamedTuple):
    """Rollouts of some environments side by side, drawn by a seed."""

    environments: int = 3
    ends: float = 0.2

    def steps(self, seed, length, *, void=0.0):
        draw = np.random.default_rng(seed)
        shape = (length, self.environments)
        valid = draw.random(shape) >= void
        return Steps(
            observation=draw.normal(size=(*shape, 4)).astype(np.float32),
            action=draw.integers(0, 2, shape),
            reward=draw.integers(0, 10, shape).astype(np.float64),
            terminated=draw.random(shape) < self.ends,
            truncated=draw.random(shape) < self.ends / 4,
            logprob=-draw.random(shape).astype(np.float32),
            final_observation=draw.normal(size=(*shape, 4)).astype(np.float32),
            valid=valid,
            error={(int(t), int(n)): "the server died" for t, n in np.argwhere(~valid)},
        )


def one_by_one(rollouts):
    """What the rows should say: one dictionary a step, numbered by a loop over environments."""
    rows, episode, at, following = [], [], [], 0
    for steps in rollouts:
        length, count = np.shape(steps.terminated)
        if not episode:
            episode, at, following = list(range(count)), [0] * count, count
        for n in range(count):
            for t in range(length):
                over = steps.terminated[t, n] or steps.truncated[t, n]
                ended = over or not steps.valid[t, n]
                rows.append(
                    {
                        "episode": episode[n],
                        "step": at[n],
                        "observation": steps.observation[t, n].tolist(),
                        "final_observation": steps.final_observation[t, n].tolist() if over else None,
                        "action": int(steps.action[t, n]),
                        "reward": float(steps.reward[t, n]),
                        "valid": bool(steps.valid[t, n]),
                        "error": steps.error.get((t, n)),
                        "ended": bool(ended),
                    }
                )
                at[n] += 1
                if ended:
                    episode[n], at[n], following = following, 0, following + 1
    return rows


def whole(lengths, returns, *, seed=0, observation=None):
    """Steps of episodes of these lengths and returns, padded, and their lengths."""
    draw = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    shape = (int(lengths.max()), len(lengths))
    last = np.arange(shape[0])[:, None] == lengths - 1
    seen = draw.normal(size=(*shape, 4)) if observation is None else observation
    return Steps(
        observation=seen.astype(np.float32),
        action=draw.integers(0, 2, shape),
        reward=np.where(last, np.asarray(returns, np.float64), 0.0),
        terminated=last,
        truncated=np.zeros(shape, bool),
    ), lengths


def texts(answers, *, task="task", rewards=None, valid=None):
    """Turns of one-turn episodes: what was said, and 1 for each that is right."""
    right = [1.0 if answer.endswith("!") else 0.0 for answer in answers]
    count = len(answers)
    return Turns(
        episode=range(count),
        task=[task] * count if isinstance(task, str) else task,
        observation=["say it"] * count,
        action=answers,
        reward=right if rewards is None else rewards,
        tokens=[np.arange(len(answer)) for answer in answers],
        token_logprobs=[np.full(len(answer), -0.5) for answer in answers],
        terminated=[True] * count,
        truncated=[False] * count,
        valid=valid,
        rewards={"canary": [0.0] * count},
    )
