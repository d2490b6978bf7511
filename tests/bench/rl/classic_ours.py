"""Our trainer, seed by seed in one process: a line ``{"seed": n}`` in, a line with figures out.

python classic_ours.py '{"environment": {…}, "steps": 100000}' [--gymnax | --shuffled] [--cache DIRECTORY]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from innervate_rl import settings
from innervate_rl.ppo import native, trainer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_rl.environments.dynamics import Dynamics
    from innervate_rl.ppo.source import Rollout


def main() -> None:
    """Answer every line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=json.loads)
    parser.add_argument("--gymnax", action="store_true", help="in gymnax's environment instead of ours")
    parser.add_argument("--shuffled", action="store_true", help="learn from what other steps were worth")
    parser.add_argument("--cache", help="directory of compiled programs")
    options = parser.parse_args()
    if options.gymnax:
        use_gymnax()
    if options.shuffled:
        shuffle()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(options.task, json.loads(line)["seed"], options.cache)), flush=True)


def run(task: Mapping[str, Any], seed: int, cache: str | None) -> dict[str, float]:
    """Train and evaluate one seed."""
    with tempfile.TemporaryDirectory() as scratch:
        configuration = {
            "run": {"name": "bench"},
            "seed": seed,
            "environment": task["environment"],
            "algorithm": {"name": "PPO", "hyperparameters": {}},
            "budget": {"steps": task["steps"]},
            "checkpoint": {"everySteps": 10**9},
        }
        config = Path(scratch) / "config.json"
        config.write_text(json.dumps(configuration))
        environment = {"INNERVATE_CONFIG": str(config), "INNERVATE_RUN": scratch, "INNERVATE_REPORT": scratch}
        if cache:
            environment["INNERVATE_COMPILE_CACHE"] = cache
        found = settings.read(environment)
        told: list[tuple[int, float]] = []
        begun = time.perf_counter()
        outcome = trainer.train(found, lambda line: told.append((line.step, time.perf_counter() - begun)))
    result = outcome.result
    trained = next(seconds for step, seconds in told if step == result.steps)
    return {"seconds": trained, "reward": result.reward, "steps": result.steps}


def use_gymnax() -> None:
    """Put gymnax's CartPole in the place of ours."""
    from gymnax.environments.classic_control import cartpole  # noqa: PLC0415  only where it is installed
    from innervate_rl.environments import catalogue  # noqa: PLC0415  changed before it is read
    from innervate_rl.environments.dynamics import Transition  # noqa: PLC0415  beside it

    environment = cartpole.CartPole()
    parameters = environment.default_params

    def state_of(row: jax.Array) -> cartpole.EnvState:
        x, x_dot, theta, theta_dot = row
        return cartpole.EnvState(time=0, x=x, x_dot=x_dot, theta=theta, theta_dot=theta_dot)

    def reset(key: jax.Array) -> jax.Array:
        observation, _ = environment.reset_env(key, parameters)
        return observation

    def step(row: jax.Array, action: jax.Array) -> Transition:
        key = jax.random.PRNGKey(0)
        seen, _, reward, done, _ = environment.step_env(key, state_of(row), action, parameters)
        return Transition(seen, reward.astype(row.dtype), done)

    ours: Dynamics = catalogue.find("CartPole-v1")
    catalogue._ALL[ours.id] = ours._replace(reset=reset, step=step)


def shuffle() -> None:
    """Tell every step what another one was worth, and whether that one was an episode's last."""
    truly = native.Native.rollout

    def rollout(source: native.Native, parameters: Any, iteration: int) -> Rollout:
        made = truly(source, parameters, iteration)
        shape = made.batch.rewards.shape
        order = np.random.default_rng(iteration).permutation(shape[0] * shape[1])

        def mixed(leaf: jax.Array) -> jax.Array:
            return leaf.reshape(-1)[order].reshape(shape)

        batch = made.batch._replace(
            rewards=mixed(made.batch.rewards), terminated=mixed(made.batch.terminated)
        )
        return made._replace(batch=batch)

    native.Native.rollout = rollout  # type: ignore[method-assign]  # this process is for nothing else


if __name__ == "__main__":
    main()
