"""Blows at random moments, and what must be true of a run all the same."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kills_runs import BUDGETS, CORE, EDGE, FAR, JAX, SERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kills_runs import Left, Outcome, Runs

TRAINER_JAX, TRAINER_SERVED, SERVER = "trainer in JAX", "trainer through the service", "server"
TRAINER_CUT, SERVER_CUT = "network of the trainer", "network of the server"
PLACES: Final = {
    TRAINER_JAX: (JAX, CORE),
    TRAINER_SERVED: (SERVED, CORE),
    SERVER: (SERVED, CORE),
    TRAINER_CUT: (SERVED, EDGE),
    SERVER_CUT: (FAR, CORE),
}
"""Environment and the trainer's pool of nodes in the runs for each target."""
_CUT_SECONDS: Final = (10.0, 40.0)
_EARLIEST: Final = -0.1
"""Shares of the budget below 0 mean that the trainer is met while it starts."""
_LONGEST_DELAY: Final = 2.0
_BEGIN_SECONDS: Final = 300.0
_END_SECONDS: Final = 1200.0
"""More than the five minutes that a lost environment is waited for, twice."""
_LOOKED_SECONDS: Final = 0.1
_REPORT: Final = "run/innervate/trainer/report.jsonl"
"""In a pod's root. There ``/var/run`` is a link, which seen from outside leads to this machine's ``/run``."""


class Blow(NamedTuple):
    """What is struck, and when."""

    number: int
    target: str
    share: float
    """Share of the budget after which the time begins to run."""
    delay: float
    seconds: float
    """How long a network is cut; 0 where something is killed."""


@dataclass
class Round:
    """What came of one run."""

    blow: Blow
    struck_at: int | None = None
    """Steps that the trainer had told of when it was struck; None where it had ended before."""
    seconds: float = 0.0
    verdict: str = ""
    attempts: int = 0
    """Attempts that failed."""
    valid: int = 0
    infrastructure: int = 0
    """Episodes that the run counts as void."""
    rows: int = 0
    violations: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The round as a line of the results."""
        return {**asdict(self), "blow": self.blow._asdict()}


def blows(seed: int, count: int) -> list[Blow]:
    """Draw what is struck when; every target in turn, in an order of chance."""
    draw = random.Random(seed)
    drawn = []
    order: list[str] = []
    for number in range(count):
        if not order:
            order = draw.sample(list(PLACES), len(PLACES))
        target = order.pop()
        share, delay = draw.uniform(_EARLIEST, 1), draw.uniform(0, _LONGEST_DELAY)
        seconds = draw.uniform(*_CUT_SECONDS)
        cut = target in {TRAINER_CUT, SERVER_CUT}
        drawn.append(Blow(number, target, share, delay, seconds if cut else 0.0))
    return drawn


@dataclass(frozen=True)
class Killer:
    """Lets runs go, strikes each once, and holds its end to that of an undisturbed one.

    Parameters
    ----------
    runs
        Where.
    undisturbed
        What nobody's disturbance came to, by environment.
    """

    runs: Runs
    undisturbed: Mapping[str, Outcome]

    def play(self, blow: Blow, name: str) -> Round:
        """Let a run go to its end, and look whether everything is as it must be."""
        begun = time.monotonic()
        done = Round(blow)
        environment, pool = PLACES[blow.target]
        self.runs.declare(name, environment, pool)
        if self._await(lambda: self._begun(name), _BEGIN_SECONDS, "no trainer began", done):
            self._strike(blow, name, environment, done)
        told = f"it did not end within {_END_SECONDS:.0f} s"
        if self._await(lambda: "endTime" in self.runs.status(name), _END_SECONDS, told, done, every=1.0):
            self._judge(name, environment, done)
        done.seconds = time.monotonic() - begun
        return done

    def _begun(self, name: str) -> bool:
        return self._trainer(name) is not None or "endTime" in self.runs.status(name)

    def _strike(self, blow: Blow, name: str, environment: str, done: Round) -> None:
        wanted = blow.share * BUDGETS[environment]

        def due() -> bool:
            trainer = self._trainer(name)
            return trainer is None or _step(trainer) >= wanted

        self._await(due, _END_SECONDS, f"it did not come to step {wanted:.0f}", done)
        time.sleep(blow.delay)
        trainer = self._trainer(name)
        if trainer is None:
            return
        done.struck_at = max(_step(trainer), 0)
        if blow.seconds:
            self._cut(blow.seconds)
            return
        victim = trainer
        if blow.target == SERVER:
            server = process("innervate_environments", f"{environment}-environment-", self.runs.namespace)
            if server is None:
                done.violations.append("no server runs")
                return
            victim = server
        with contextlib.suppress(ProcessLookupError):  # it ended at this very moment
            os.kill(victim, signal.SIGKILL)

    def _cut(self, seconds: float) -> None:
        cluster = self.runs.lab.cluster
        cluster.cut_edge()
        try:
            time.sleep(seconds)
        finally:
            cluster.heal_edge()

    def _judge(self, name: str, environment: str, done: Round) -> None:
        """Hold a run that ended to what it must have come to."""
        status, reason, message = self.runs.succeeded(name)
        done.verdict, done.attempts = reason, self.runs.failed_attempts(name)
        if status != "True":
            done.violations.append(f"it ended as {reason}: {message}")
            return
        left = self.runs.left(name)
        done.valid, done.infrastructure, done.rows = left.valid, left.infrastructure, left.outcome.rows
        (seed,) = self.runs.status(name)["seeds"]
        if seed.get("parameters") != left.outcome.parameters:
            done.violations.append(f"the status says parameters {seed.get('parameters')}")
        done.violations += wrong(left, self.undisturbed[environment], BUDGETS[environment])
        working = done.struck_at is not None and 0 < done.struck_at < 0.9 * BUDGETS[environment]
        if done.blow.target == SERVER and working and not left.infrastructure:
            done.violations.append("its server was killed, and no episode is counted as void")

    def _trainer(self, name: str) -> int | None:
        return process("innervate_rl", f"{name}-rlrun-", self.runs.namespace)

    @staticmethod
    def _await(
        check: Callable[[], bool], seconds: float, told: str, done: Round, *, every: float = _LOOKED_SECONDS
    ) -> bool:
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                done.violations.append(told)
                return False
            time.sleep(every)
        return True


def wrong(left: Left, undisturbed: Outcome, budget: int) -> list[str]:
    """What a run that succeeded left otherwise than it must."""
    found = []
    if not left.valid:
        found.append("it succeeded without a valid episode")
    if left.outcome.steps > budget:
        found.append(f"it learned from {left.outcome.steps} steps of {budget}")
    if left.doubled:
        found.append(f"{left.doubled} steps are in the experience twice")
    for name, ours, theirs in zip(undisturbed._fields, left.outcome, undisturbed, strict=True):
        if ours != theirs:
            found.append(f"{name}: {ours} and not {theirs}")
    return found


def process(module: str, pod: str, namespace: str) -> int | None:
    """The process of a module in a pod whose name begins so: nodes are processes of this machine."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if module.encode() not in (path / "cmdline").read_bytes().split(b"\0"):
                continue
            pairs = [each.partition(b"=") for each in (path / "environ").read_bytes().split(b"\0")]
        except OSError:
            continue  # it ended meanwhile, or is the kernel's
        variables = {key.decode(): value.decode() for key, _, value in pairs}
        if variables.get("POD_NAMESPACE") == namespace and variables.get("POD_NAME", "").startswith(pod):
            return int(path.name)
    return None


def _step(trainer: int) -> int:
    """Steps that a trainer has told of; below any share while it has told nothing."""
    try:
        lines = Path(f"/proc/{trainer}/root", _REPORT).read_text().split("\n")[:-1]
    except OSError:
        lines = []
    return max((json.loads(line)["step"] for line in lines), default=-1)
