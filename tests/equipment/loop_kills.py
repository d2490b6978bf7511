"""Loops in which something is killed at a random moment, and what must be true all the same."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_kinds.eval_job.names import Names
from loop_pool import ENGINE, GATEWAY, PIPELINE, POOL, REDIS, selector
from loop_rollouts import released

from tests.e2e.lab import OPERATOR, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loop_callers import Callers, Tally
    from loop_rollouts import Rollouts

OPERATOR_PODS, RUNNER, TRAINER = "operator", "runner", "trainer"
EVERYWHERE = (OPERATOR_PODS, GATEWAY, ENGINE, RUNNER, REDIS)
"""What runs in every loop; a trainer does only where a candidate is trained."""
_STEPS = ("Warming", "Gating", "Canary", "RollingBack")
_AT = {RUNNER: ("Gating",), TRAINER: ("Training",)}
"""Steps in which the target runs, where not in all."""
_LONGEST_DELAY = {"RollingBack": 0.3, "Training": 20.0}
_DELAY_SECONDS = 5.0
_LOOKED_SECONDS = 0.05


class Blow(NamedTuple):
    """What is killed, and when."""

    number: int
    target: str
    step: str
    """Step of the bad candidate at which the time begins to run."""
    delay: float
    lot: float
    """Which of several pods, from 0 to 1."""
    percent: int
    """The candidate's share of the traffic in this loop."""


@dataclass
class Round:
    """What came of one loop."""

    blow: Blow
    victim: str = ""
    """The pod; empty where none ran at that moment."""
    killed_at: str = ""
    """Step at which it was killed."""
    seconds: float = 0.0
    verdict: str = ""
    answered: int = 0
    failed: int = 0
    """Requests broken off or refused."""
    lost: int = 0
    """Answers that are not in the exchange log."""
    samples: int = 0
    """Answers that eval jobs kept."""
    asked_again: int = 0
    """Questions asked again whose answers were kept."""
    violations: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The round as a line of the results."""
        return {**asdict(self), "blow": self.blow._asdict()}


def blows(seed: int, count: int, targets: Sequence[str]) -> list[Blow]:
    """Draw what is killed when; every target in turn, in an order of chance."""
    draw = random.Random(seed)
    drawn = []
    order: list[str] = []
    for number in range(count):
        if not order:
            order = draw.sample(targets, len(targets))
        target = order.pop()
        step = draw.choice(_AT.get(target, _STEPS))
        delay = draw.uniform(0, _LONGEST_DELAY.get(step, _DELAY_SECONDS))
        drawn.append(Blow(number, target, step, delay, draw.random(), draw.choice((10, 20, 30, 40, 50))))
    return drawn


@dataclass(frozen=True)
class Killer:
    """Plays loops: a candidate that nobody signed, then one that is bad, and a blow on the way.

    Parameters
    ----------
    rollouts, callers
        Where, and who asks meanwhile.
    stable, bad, unsigned
        Releases: what serves in the end, what live traffic finds out, and what must never serve.
    trained
        Makes a candidate of that name to be trained instead of the bad release, for the trainer's blows.
    seconds
        How long a loop may take.
    """

    rollouts: Rollouts
    callers: Callers
    stable: str
    bad: str
    unsigned: str
    trained: Callable[[str], dict[str, Any]] | None = None
    seconds: float = 600

    def play(self, blow: Blow) -> Round:
        """Play one loop to its end, and look whether everything is as it must be."""
        begun = time.monotonic()
        done = Round(blow)
        unsigned, bad = f"u-{blow.number}", f"c-{blow.number}"
        trained = self.trained if blow.target == TRAINER else None
        candidate = trained(bad) if trained else released(bad, self.bad)
        self.rollouts.declare([released(unsigned, self.unsigned), candidate], percent=blow.percent)
        self._strike(blow, bad, done)
        self._await(lambda: self.rollouts.entry(bad) is not None, f"candidate {bad} did not end", done)
        self._await(self._settled, "the pool did not come to rest", done, every=0.5)
        evaluations = self.rollouts.evaluations()
        self._judge(unsigned, bad, done)
        self._account(self.callers.take(), evaluations, done)
        done.violations += self.rollouts.watch.violations()
        done.seconds = time.monotonic() - begun
        return done

    def _strike(self, blow: Blow, bad: str, done: Round) -> None:
        def due() -> bool:
            return self.rollouts.entry(bad) is not None or (
                self.rollouts.step(bad) == blow.step and bool(self._pods(blow.target))
            )

        self._await(due, f"candidate {bad} did not come to {blow.step} with a {blow.target}", done)
        time.sleep(blow.delay)
        pods = sorted(self._pods(blow.target))
        done.killed_at = self.rollouts.step(bad)
        if pods:
            done.victim = pods[int(blow.lot * len(pods))]
            namespace = SYSTEM if blow.target == OPERATOR_PODS else self.rollouts.pool.namespace
            # At once, as a power cut would.
            self.rollouts.pool.lab.kubectl(
                *("delete", "pod", done.victim, "-n", namespace, "--ignore-not-found"),
                *("--grace-period=0", "--force", "--wait=false"),
            )

    def _pods(self, target: str) -> list[str]:
        """Names of the target's pods that run; of the operator's the one that leads."""
        if target == OPERATOR_PODS:
            return self._leader()
        namespace, chosen = {
            RUNNER: (self.rollouts.pool.namespace, "app.kubernetes.io/component=runner"),
            TRAINER: (self.rollouts.pool.namespace, "app.kubernetes.io/name=learningpipeline"),
        }.get(target, (self.rollouts.pool.namespace, selector(target)))
        pods = self.rollouts.pool.lab.pods(namespace, chosen)
        return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"]

    def _leader(self) -> list[str]:
        """The pod that holds the operator's Lease; none while nobody that stays does."""
        lab = self.rollouts.pool.lab
        lease = lab.read("lease", "innervate-operator", SYSTEM) or {}
        holder = (lease.get("spec", {}).get("holderIdentity") or "").rpartition("_")[0]
        return [holder] if holder in {pod["metadata"]["name"] for pod in lab.pods(SYSTEM, OPERATOR)} else []

    def _await(
        self, check: Callable[[], bool], message: str, done: Round, *, every: float = _LOOKED_SECONDS
    ) -> None:
        deadline = time.monotonic() + self.seconds
        while not check():
            if time.monotonic() > deadline:
                done.violations.append(message)
                return
            time.sleep(every)

    def _settled(self) -> bool:
        """Whether the stable release serves alone, everywhere, and everything is up again."""
        seen = self.rollouts.watch.newest
        if seen is None or seen.weights != ((self.stable, 100),) or seen.acknowledged < seen.generation:
            return False
        pool = self.rollouts.pool
        ready = pool.lab.condition("inferencepools.innervate.dev", POOL, "Ready", pool.namespace)
        return bool(ready.get("status") == "True")

    def _judge(self, unsigned: str, bad: str, done: Round) -> None:
        """Hold the ends of both candidates to what they must be."""
        pool = self.rollouts.pool
        status = (pool.lab.read("learningpipelines.innervate.dev", PIPELINE, pool.namespace) or {})["status"]
        ends = {entry.get("candidate"): entry for entry in status["history"]}
        for candidate, verdict in ((unsigned, "Refused"), (bad, "RolledBack")):
            entry = ends.get(candidate, {})
            if candidate == bad:
                done.verdict = f"{entry.get('verdict')} {entry.get('reason')}"
            if entry.get("verdict") != verdict:
                done.violations.append(f"{candidate} ended as {entry}, not as {verdict}")
        turns = [entry.get("candidate") for entry in status["history"]]
        if turns.count(unsigned) != 1 or turns.count(bad) != 1:
            done.violations.append(f"turns of {unsigned} and {bad}: {turns}")
        if status["stable"] != self.stable:
            done.violations.append(f"the stable release is {status['stable']}")

    def _account(self, tally: Tally, evaluations: Sequence[str], done: Round) -> None:
        """Hold answers and samples to the exchange log."""
        exchanges = self.rollouts.pool.exchanges()
        known = {each.request_id for each in exchanges}
        lost = [each.request_id for each in tally.answered if each.request_id not in known]
        done.answered, done.failed, done.lost = len(tally.answered), len(tally.failures), len(lost)
        if lost:
            done.violations.append(f"{len(lost)} answers are not in the exchange log, such as {lost[0]}")
        foreign = {each.release for each in tally.answered} & {self.unsigned, ""}
        if foreign:
            done.violations.append(f"{foreign} answered, which is not verified")
        if not evaluations:
            done.violations.append("no eval job was asked")
        for job in evaluations:
            self._account_samples(job, done)
        if done.asked_again:
            done.violations.append(f"{done.asked_again} questions were asked again whose answers were kept")

    def _account_samples(self, job: str, done: Round) -> None:
        """Hold an eval job's samples to its exchanges: what it kept, it asked no more.

        Of the exchanges of one question with one release, in the log's order, the last must be the one that
        was kept.
        """
        exchanges = self.rollouts.pool.exchanges(account=Names.of(job).job)
        identities = {each.request_id: (each.request_digest, each.release) for each in exchanges}
        last = {identity: request_id for request_id, identity in identities.items()}
        samples = self.rollouts.pool.eval_samples(job)
        kept = [str(sample["request_id"]) for sample in samples if sample.get("request_id")]
        done.samples += len(kept)
        done.asked_again += sum(last[identities[each]] != each for each in kept if each in identities)
        if not kept or not identities.keys() >= set(kept):
            missing = set(kept) - identities.keys()
            done.violations.append(
                f"{job}: {len(kept)} samples are kept, {len(missing)} are not in the exchange log"
            )
