"""What is told of a training: points of its curves, and rows of experience."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from innervate_rl.experience import Turns
from innervate_rl.grpo.tasks import measured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from innervate_environments.episodes import Role

    from innervate_rl.grpo.collecting import Group
    from innervate_rl.grpo.evaluating import Episode
    from innervate_rl.grpo.objective import Metrics
    from innervate_rl.grpo.tasks import Judged


class Means(NamedTuple):
    """Means over the answers that have a reward; None where there is none."""

    reward: float | None
    held_out: float | None
    canary: float | None

    @property
    def gap(self) -> float | None:
        """How much more the trained reward promises than the held-out one."""
        if self.reward is None or self.held_out is None:
            return None
        return self.reward - self.held_out


def means(judged: Iterable[Judged], roles: Mapping[str, Role]) -> Means:
    """Rewards by role; those that are only measured are means over the answers that have them."""
    valid = [one for one in judged if one.failure is None]
    seen = [measured(one, roles) for one in valid]
    return Means(
        _mean([one.reward for one in valid]),
        _mean([one.held_out for one in seen if one.held_out is not None]),
        _mean([one.canary for one in seen if one.canary is not None]),
    )


def of_tasks(episodes: Iterable[Episode], roles: Mapping[str, Role]) -> list[Means]:
    """Each task's means over its episodes.

    A task is the unit of an evaluation: its answers are alike, and all the same at temperature 0, so that
    they say less together than as many answers to different tasks.
    """
    own: dict[int, list[Judged]] = defaultdict(list)
    for one in episodes:
        own[one.task].append(one.judged)
    return [means(judged, roles) for judged in own.values()]


def over_tasks(tasks: Sequence[Means]) -> Means:
    """Means in which each task weighs the same."""
    return Means(
        *(_mean([value for value in values if value is not None]) for values in zip(*tasks, strict=True))
    )


def point(
    groups: Sequence[Group], metrics: Sequence[Metrics], *, version: int, roles: Mapping[str, Role]
) -> dict[str, Any]:
    """One update on the curves.

    Parameters
    ----------
    groups
        What was learned from.
    metrics
        Of each optimizer step.
    version
        Updates before this one.
    roles
        Of the rewards.
    """
    found = means((one for group in groups for one in group.judged if one is not None), roles)
    lags = [version - group.version for group in groups]
    said: dict[str, Any] = {
        "reward": found.reward,
        "heldOut": found.held_out,
        "canary": found.canary,
        "gap": found.gap,
        "length": _mean([float(row.sum()) for group in groups for row in group.answers.mask]),
        "policyLag": _mean([float(lag) for lag in lags]),
    }
    names = metrics[0]._fields if metrics else ()
    return said | {name: _mean([float(getattr(one, name)) for one in metrics]) for name in names}


def turns_of_groups(groups: Sequence[Group], rewards: Sequence[str]) -> Turns:
    """Rows of experience: one an answer, void ones included."""
    rows = []
    for group in groups:
        for member, judged in enumerate(group.judged):
            length = int(group.answers.mask[member].sum())
            rows.append(
                _Row(
                    task=group.name,
                    prompt=group.prompt,
                    text=group.texts[member],
                    tokens=group.answers.tokens[member, :length].tolist(),
                    logprobs=group.answers.logprobs[member, :length].tolist(),
                    judged=judged,
                    error=group.failures[-1].message if judged is None and group.failures else None,
                )
            )
    return _turns(rows, rewards)


def turns_of_episodes(episodes: Sequence[Episode], rewards: Sequence[str]) -> Turns:
    """Rows of an evaluation."""
    return _turns(
        [
            _Row(
                task=one.name,
                prompt=one.prompt,
                text=one.text,
                tokens=one.tokens,
                logprobs=one.logprobs,
                judged=one.judged if one.judged.failure is None else None,
                error=one.judged.failure.message if one.judged.failure else None,
            )
            for one in episodes
        ],
        rewards,
    )


class _Row(NamedTuple):
    task: str
    prompt: str
    text: str
    tokens: list[int]
    logprobs: list[float]
    judged: Judged | None
    error: str | None


def _turns(rows: Sequence[_Row], rewards: Sequence[str]) -> Turns:
    truncated = [row.judged is not None and row.judged.truncated for row in rows]
    return Turns(
        episode=list(range(len(rows))),
        task=[row.task for row in rows],
        observation=[row.prompt for row in rows],
        action=[row.text for row in rows],
        reward=[math.nan if row.judged is None else row.judged.reward for row in rows],
        tokens=[np.array(row.tokens, np.int32) for row in rows],
        token_logprobs=[np.array(row.logprobs, np.float32) for row in rows],
        terminated=[row.judged is not None and not row.judged.truncated for row in rows],
        truncated=truncated,
        valid=[row.judged is not None for row in rows],
        error=[row.error for row in rows],
        rewards={
            name: [None if row.judged is None else row.judged.named.get(name) for row in rows]
            for name in rewards
        },
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
