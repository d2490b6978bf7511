"""PPO on CartPole-v1 and Acrobot-v1: what is learned by a fixed budget, and how long a seed takes.

Every seed is trained for the same steps, its last policy plays 100 fresh episodes, and a one-sided 95 % t
bound over the seeds' means is what counts. Seeds take turns among the contestants, so that what the machine
does besides meets all alike. Times are of training alone, compiling included; all use one thread but ours,
which JAX gives what there is. Settings are those of the zoo of Stable-Baselines3.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import gymnasium
import numpy as np
from innervate_environments.local import LocalServer
from innervate_local import paths
from innervate_rl.statistics import lower_bound
from report import Aim, Figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[2]
SB3: Final = {"stable-baselines3": "2.9.2", "torch": "2.14.1", "gymnasium": "1.2.3"}
GYMNAX: Final = {"gymnax": "1.0.1", "jax": "0.10.2", "jaxlib": "0.10.2", "six": "1.17.0"}
STEPS: Final = 100_000
ACROBOT_STEPS: Final = 200_000
EPISODES: Final = 100
THRESHOLD: Final = 475.0
ACROBOT_THRESHOLD: Final = -100.0
"""Both are what Gymnasium calls solved."""
_PEER: Final = f"Stable-Baselines3 {SB3['stable-baselines3']}"


class Contestant:
    """A program that trains a seed when it is told to."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            env=dict(self._environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def run(self, seed: int) -> dict[str, float]:
        """Train a seed; gives its `seconds` and its mean `reward`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"seed": seed}) + "\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, float]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command} ended with status {self._process.wait()}")
        found: dict[str, float] = json.loads(line)
        return found


def figures(*, runs: int) -> list[Figure]:
    """Train as many seeds as there are to be runs."""
    taken: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        contestants = _contestants(stack)
        for seed in range(-1, runs):
            for name, contestant in contestants.items():
                if seed < 0 and name == "sb3":
                    continue
                found = contestant.run(seed % 1000)
                print(
                    f"{name}, seed {seed}: {found['seconds']:.2f} s, reward {found['reward']:.1f}", flush=True
                )
                # The first seed of our processes compiles; it is nobody's run.
                if seed >= 0:
                    taken.setdefault(name, []).append(found)
        cold = [_cold(scratch / f"cold-{run}") for run in range(runs)]
        again = [_cold(scratch / "warm") for _ in range(runs + 1)][1:]
    return [*_learned(taken, runs), *_times(taken, cold, again)]


def _contestants(stack: ExitStack) -> dict[str, Contestant]:
    served = {}
    for name, instances in (("together", 8), ("apart", 1)):
        document = {"source": {"gymnasium": {"id": "CartPole-v1"}}, "instancesPerProcess": instances}
        server = stack.enter_context(LocalServer(document))
        served[name] = _ours({"name": "cart", "endpoint": server.endpoint})
    found = {
        "ours": _ours(_jax("CartPole-v1")),
        "gymnax": _ours(_jax("CartPole-v1"), "--gymnax", path=_gymnax()),
        "shuffled": _ours(_jax("CartPole-v1"), "--shuffled"),
        "acrobot": _ours(_jax("Acrobot-v1"), steps=ACROBOT_STEPS),
        **served,
        "sb3": Contestant([str(_sb3()), str(HERE / "classic_sb3.py")], _alone() | {"OMP_NUM_THREADS": "1"}),
    }
    return {name: stack.enter_context(contestant) for name, contestant in found.items()}


def _learned(taken: Mapping[str, list[dict[str, float]]], runs: int) -> list[Figure]:
    means = {name: [one["reward"] for one in found] for name, found in taken.items()}
    solved = Aim(text=f"at least {THRESHOLD:g}", reached=lambda ours, _: ours >= THRESHOLD)
    unsolved = Aim(text=f"below {THRESHOLD:g}: the gate fails", reached=lambda ours, _: ours < THRESHOLD)
    swung = Aim(text=f"at least {ACROBOT_THRESHOLD:g}", reached=lambda ours, _: ours >= ACROBOT_THRESHOLD)

    def bound(title: str, ours: Iterable[float], aim: Aim, peer: Iterable[float] = ()) -> Figure:
        theirs = list(peer)
        return Figure(
            metric=f"{title}: 95 % bound over {runs} seeds' means of {EPISODES} fresh episodes",
            unit="reward",
            ours=[lower_bound(list(ours))],
            peer=[lower_bound(theirs)] if theirs else (),
            peer_name=_PEER if theirs else "",
            aim=aim,
        )

    return [
        bound("CartPole-v1, 100k steps", means["ours"], solved, means["sb3"]),
        bound("the same through the service", means["together"], solved),
        bound("Acrobot-v1, 200k steps", means["acrobot"], swung),
        bound("control, random policy", [_random(seed) for seed in range(runs)], unsolved),
        bound("control, shuffled rewards", means["shuffled"], unsolved),
    ]


def _times(
    taken: Mapping[str, list[dict[str, float]]], cold: list[float], again: list[float]
) -> list[Figure]:
    seconds = {name: [one["seconds"] for one in found] for name, found in taken.items()}
    ten = Aim(
        text="at most a tenth of the peer", reached=lambda ours, peer: peer is not None and 10 * ours <= peer
    )
    same = Aim(text="not above the peer", reached=lambda ours, peer: peer is not None and ours <= peer)

    def figure(title: str, ours: list[float], aim: Aim | None = None) -> Figure:
        return Figure(
            metric=f"100k steps of CartPole-v1, {title}",
            unit="s",
            ours=ours,
            peer=seconds["sb3"],
            peer_name=_PEER,
            aim=aim,
        )

    return [
        figure("in JAX, compiled before", seconds["ours"], ten),
        figure("in JAX, in a new process with compiled programs on disk", again),
        figure("in JAX, in a new process without", cold, same),
        figure("our trainer in gymnax's environment", seconds["gymnax"]),
        figure("through the service, instances in one process", seconds["together"], same),
        figure("through the service, each instance in its own process", seconds["apart"], same),
    ]


def _ours(
    environment: Mapping[str, Any], *options: str, steps: int = STEPS, path: Path | None = None
) -> Contestant:
    task = json.dumps({"environment": environment, "steps": steps})
    command = [sys.executable, str(HERE / "classic_ours.py"), task, *options]
    return Contestant(command, _alone() | ({"PYTHONPATH": str(path)} if path else {}))


def _jax(name: str) -> dict[str, Any]:
    return {"name": name.lower(), "jax": {"id": name}}


def _cold(cache: Path) -> float:
    """Seconds of the first seed of a new process."""
    with _ours(_jax("CartPole-v1"), "--cache", str(cache)) as contestant:
        return contestant.run(0)["seconds"]


def _random(seed: int) -> float:
    """Mean of episodes of a policy that throws a coin."""
    environment = gymnasium.make("CartPole-v1")
    random = np.random.default_rng(seed)
    total = 0
    for episode in range(EPISODES):
        environment.reset(seed=1000 * seed + episode)
        ended = False
        while not ended:
            _, _, terminated, truncated, _ = environment.step(int(random.integers(2)))
            total, ended = total + 1, terminated or truncated
    return total / EPISODES


def _alone() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _sb3() -> Path:
    """Put the peer into an environment of its own, outside the checkout; gives its interpreter."""
    home = paths.cache() / "bench" / "rl" / "sb3"
    python = home / "bin" / "python"
    names = [f"{name}=={version}" for name, version in SB3.items()]
    if _stale(home, SB3):
        _uv("venv", "--quiet", "--clear", str(home))
        _uv("pip", "install", "--quiet", "--python", str(python), *names)
        _mark(home, SB3)
    return python


def _gymnax() -> Path:
    """Put gymnax into a directory of its own, outside the checkout."""
    home = paths.cache() / "bench" / "rl" / "gymnax"
    names = [f"{name}=={version}" for name, version in GYMNAX.items()]
    if _stale(home, GYMNAX):
        _uv("pip", "install", "--quiet", "--python", sys.executable, "--target", str(home), *names)
        _mark(home, GYMNAX)
    return home


def _stale(home: Path, wanted: Mapping[str, str]) -> bool:
    mark = home / "installed.json"
    return not mark.exists() or json.loads(mark.read_text()) != wanted


def _mark(home: Path, wanted: Mapping[str, str]) -> None:
    (home / "installed.json").write_text(json.dumps(wanted))


def _uv(*arguments: str) -> None:
    subprocess.run([str(ROOT / "scripts" / "uv"), *arguments], check=True)
