"""The environment as tasks: prompts are had by a reset, answers judged by one step.

A lost server is looked for again until an outage has lasted too long. Answers are handed in anew, the same
ones: a verifier that gives the same answer the same reward leaves no trace of the outage in what is learned.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeVar

from innervate_environments.client import EnvironmentLost, EnvironmentRefused
from innervate_environments.episodes import Failure, Reason, Role
from innervate_service.config import ConfigError

from innervate_rl import stopping
from innervate_rl.chain import require_same
from innervate_rl.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from innervate_environments.client import Begun, Description, Steps

Split = Literal["training", "evaluation"]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0


class Environment(Protocol):
    """What is used of a `VectorEnvironment`."""

    @property
    def describe(self) -> Description:
        """What the environment is."""

    def reset(
        self,
        seeds: Sequence[int] | None = None,
        options: Sequence[Mapping[str, object]] | None = None,
        *,
        slots: Sequence[int] | None = None,
    ) -> Begun:
        """Begin episodes."""

    def step(self, actions: Sequence[str], *, slots: Sequence[int] | None = None) -> Steps:
        """Take one step in each slot."""

    def close(self) -> None:
        """End the lease."""


class Answer(NamedTuple):
    """What is handed in."""

    task: int
    text: str


class Judged(NamedTuple):
    """What an answer was worth."""

    reward: float
    """The trained rewards' sum; NaN for one that is void."""
    named: Mapping[str, float] = {}
    """Rewards by name, whatever their role."""
    failure: Failure | None = None
    """Why it is void: that is no reward of 0."""
    truncated: bool = False


class Voided(NamedTuple):
    """Answers that were handed in and got no reward, by whose fault it was."""

    infrastructure: int = 0
    verifier: int = 0
    late: int = 0
    """Of those of the infrastructure: the ones that did not come back in time."""

    def __add__(self, other: object) -> Voided:
        """Both together."""
        if not isinstance(other, Voided):
            return NotImplemented
        return Voided(*(mine + its for mine, its in zip(self, other, strict=True)))


class Tasks:
    """Asks an environment, and looks for it again where it is lost.

    Parameters
    ----------
    connect
        Opens the environment with so many slots and no automatic reset.
    slots
        Answers that are judged together; fewer where the environment has not so many slots.
    outage_seconds
        Time without any answer after which it is given up.
    chain
        Digests of the environment that the run was made for, as far as they are known.

    Raises
    ------
    ConfigError
        The environment is another one. Every method that finds another one after an outage raises it, too.
    """

    def __init__(
        self,
        connect: Callable[[int], Environment],
        *,
        slots: int,
        outage_seconds: float,
        chain: Mapping[str, str] | None = None,
    ) -> None:
        self._connect = connect
        self._wanted = self._slots = slots
        self._outage_seconds = outage_seconds
        self._environment: Environment | None = None
        self.chain: dict[str, str] = dict(chain or {})
        """Digests of all that decides what an answer is worth."""
        self._since: float | None = None
        """When the outage began that lasts."""
        self._pause = _FIRST_PAUSE
        self._known: dict[tuple[Split, int], str] = {}
        self._names: dict[tuple[Split, int], str] = {}
        self._turn = threading.Lock()
        """Collecting and evaluating may be done by two threads; the environment is for one at a time."""
        self.voided = Voided()
        """All that were, so far."""
        self.describe = self._insist(lambda: self._connected().describe)
        """What the environment is."""

    def close(self) -> None:
        """End the lease."""
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def prompts(self, tasks: Sequence[int], split: Split, *, again: bool = False) -> list[str | Failure]:
        """What each task asks, or why that cannot be said.

        Parameters
        ----------
        tasks, split
            Which.
        again
            Whether some of them failed before: then it is no outage if all of them do.
        """
        unknown = [task for task in dict.fromkeys(tasks) if (split, task) not in self._known]

        def ask() -> dict[int, Failure]:
            self._connected()
            failures: dict[int, Failure] = {}
            for part in self._parts(unknown):
                begun = self._reset(part, split)
                for place, task in enumerate(part):
                    if place in begun.errors:
                        failures[task] = begun.errors[place]
                    else:
                        self._known[split, task] = str(begun.observations[place])
                        self._names[split, task] = str(begun.infos.get(place, {}).get("id", task))
            _suspect(unknown, list(failures.values()), again=again)
            return failures

        failures = self._insist(ask)
        return [failures[task] if task in failures else self._known[split, task] for task in tasks]

    def name(self, task: int, split: Split) -> str:
        """What the task set calls a task that was asked."""
        return self._names.get((split, task), str(task))

    def judge(self, answers: Sequence[Answer], split: Split, *, again: bool = False) -> list[Judged]:
        """Hand in answers, each to its task.

        Parameters
        ----------
        answers, split
            Which.
        again
            Whether all of them failed before: then it is no outage if they do once more.

        Raises
        ------
        ConfigError
            A task goes on after an answer.
        RunError
            There has been no environment for too long.
        """

        def ask() -> list[Judged]:
            self._connected()
            judged = [one for part in self._parts(answers) for one in self._judge(part, split)]
            failures = [one.failure for one in judged if one.failure is not None]
            _suspect([answer.task for answer in answers], failures, again=again)
            return judged

        return self._insist(ask)

    def _judge(self, answers: Sequence[Answer], split: Split) -> list[Judged]:
        try:
            begun = self._reset([answer.task for answer in answers], split)
            there = [place for place in range(len(answers)) if place not in begun.errors]
            judged = [Judged(math.nan, failure=begun.errors.get(place)) for place in range(len(answers))]
            if there:
                steps = self._connected().step([answers[place].text for place in there], slots=there)
                for number, place in enumerate(there):
                    judged[place] = _judged(steps, number)
        except EnvironmentLost:
            self.voided += Voided(infrastructure=len(answers))
            raise
        reasons = [one.failure.reason for one in judged if one.failure is not None]
        verifier = reasons.count(Reason.UNVERIFIED)
        self.voided += Voided(len(reasons) - verifier, verifier, reasons.count(Reason.HUNG))
        return judged

    def _reset(self, tasks: Sequence[int], split: Split) -> Begun:
        options = [{"task": task, "split": split} for task in tasks]
        return self._connected().reset(options=options, slots=range(len(tasks)))

    def _parts(self, items: Sequence[T]) -> list[Sequence[T]]:
        return [items[first : first + self._slots] for first in range(0, len(items), self._slots)]

    def _connected(self) -> Environment:
        if self._environment is None:
            one = self._connect(1)
            self._slots = min(self._wanted, one.describe.capacity)
            one.close()
            self._environment = self._connect(self._slots)
            self._recognize(self._environment)
        return self._environment

    def _recognize(self, environment: Environment) -> None:
        """Make sure that it is the one from before: what is known of prompts and tasks holds for no other."""
        told = environment.describe.chain
        try:
            require_same(self.chain, told)
        except ConfigError:
            self.close()
            raise
        self.chain |= {name: digest for name, digest in told._asdict().items() if digest}

    def _insist(self, ask: Callable[[], T]) -> T:
        with self._turn:
            return self._until_answered(ask)

    def _until_answered(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                answer = ask()
            except EnvironmentLost as lost:
                self._wait(lost)
            except EnvironmentRefused as error:
                self.close()
                raise RunError(f"the environment refuses: {error}") from error
            else:
                self._since, self._pause = None, _FIRST_PAUSE
                return answer

    def _wait(self, lost: EnvironmentLost) -> None:
        self.close()
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._outage_seconds:
            raise RunError(f"no environment for {self._outage_seconds:g} s: {lost}") from lost
        if stopping.told():
            raise RunError(f"told to stop, and there was no environment: {lost}") from lost
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _suspect(tasks: Sequence[int], failures: Sequence[Failure], *, again: bool) -> None:
    """Take it for an outage where everything fails, and not a single task: no task is to blame for that."""
    if not again and failures and len(failures) >= len(tasks) and len(set(tasks)) > 1:
        raise EnvironmentLost(f"everything fails: {failures[0].message}")


class Measured(NamedTuple):
    """Rewards that are only looked at, means of an answer's; None where the environment has none."""

    held_out: float | None
    canary: float | None


def measured(judged: Judged, roles: Mapping[str, Role]) -> Measured:
    """The held-out and canary rewards of an answer."""

    def mean(role: Role) -> float | None:
        values = [value for name, value in judged.named.items() if roles.get(name) is role]
        return sum(values) / len(values) if values else None

    return Measured(mean(Role.HELD_OUT), mean(Role.CANARY))


def _judged(steps: Steps, place: int) -> Judged:
    if place in steps.errors:
        return Judged(math.nan, failure=steps.errors[place])
    if not (steps.terminated[place] or steps.truncated[place]):
        raise ConfigError("GRPO learns from tasks of one turn; the environment's go on after an answer")
    named = steps.named[place].values if place in steps.named else {}
    reward = float(steps.rewards[place])
    if math.isnan(reward):
        return Judged(reward, named, Failure(Reason.UNVERIFIED, "the environment gave no reward"))
    return Judged(reward, named, truncated=bool(steps.truncated[place]))
