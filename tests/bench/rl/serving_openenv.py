"""OpenEnv's server with the same environment, and callers of it with its own client. Run by `serving`.

It runs in an environment of its own, with OpenEnv installed. A session is one instance there; a batch is as
many sessions, asked at once. Episodes follow each other within a step, as in ours, which saves it messages.
"""

# mypy: ignore-errors
from __future__ import annotations

import asyncio
import json
import sys
import time

import gymnasium
import numpy as np
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from openenv.core.generic_client import GenericEnvClient

MAX_SESSIONS = 2048
WARM_SECONDS = 0.5


class Push(Action):
    """Which way."""

    push: int


class Seen(Observation):
    """What is seen."""

    values: list[float]


class CartPole(Environment):
    """Gymnasium's, as OpenEnv has it."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._environment = gymnasium.make("CartPole-v1", disable_env_checker=True)

    def reset(self, seed=None, **_):
        observation, _ = self._environment.reset(seed=seed)
        return Seen(values=observation.tolist(), reward=0.0, done=False)

    def step(self, action, **_):
        observation, reward, terminated, truncated, _ = self._environment.step(action.push)
        done = terminated or truncated
        if done:
            observation, _ = self._environment.reset()
        return Seen(values=observation.tolist(), reward=reward, done=done)

    @property
    def state(self):
        return State()


def app():
    """Give the server's application."""
    return create_fastapi_app(CartPole, Push, Seen, max_concurrent_envs=MAX_SESSIONS)


async def _opened(url, count):
    clients = [GenericEnvClient(url) for _ in range(count)]
    for client in clients:
        await client.connect()
    await asyncio.gather(*(client.reset() for client in clients))
    return clients


async def batch(url, count, seconds):
    """Step so many sessions together, for so long; gives steps and seconds."""
    clients = await _opened(url, count)
    actions = np.random.default_rng(0).integers(0, 2, (64, count)).tolist()
    for phase in (WARM_SECONDS, seconds):
        calls, begin = 0, time.perf_counter()
        while time.perf_counter() < begin + phase:
            row = actions[calls % 64]
            await asyncio.gather(*(c.step({"push": a}) for c, a in zip(clients, row, strict=True)))
            calls += 1
    elapsed = time.perf_counter() - begin
    await asyncio.gather(*(client.close() for client in clients))
    return calls * count, elapsed


async def sessions(url, count, seconds):
    """Step so many sessions, each by itself, for so long; gives steps and seconds."""
    clients = await _opened(url, count)
    taken = 0

    async def go(client, until):
        nonlocal taken
        while time.perf_counter() < until:
            await client.step({"push": taken % 2})
            taken += 1

    for phase in (WARM_SECONDS, seconds):
        taken, begin = 0, time.perf_counter()
        await asyncio.gather(*(go(client, begin + phase) for client in clients))
    elapsed = time.perf_counter() - begin
    await asyncio.gather(*(client.close() for client in clients))
    return taken, elapsed


if __name__ == "__main__":
    how, address, number, duration = sys.argv[1:]
    measure = batch if how == "batch" else sessions
    steps, took = asyncio.run(measure(address, int(number), float(duration)))
    print(json.dumps({"steps": steps, "seconds": took}))
