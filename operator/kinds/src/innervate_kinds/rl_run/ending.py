"""How a run ends: by its seeds, its gate, and the release of the best of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.model_release.model import VERIFIED, is_verified
from innervate_kinds.rl_run import gate, seeds
from innervate_kinds.rl_run.reasons import Reason
from innervate_kinds.rl_run.record import SeedState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure
    from innervate_kinds.model_release.model import ModelRelease
    from innervate_kinds.rl_run.model import RLRun
    from innervate_kinds.rl_run.record import GateStatus, SeedStatus
    from innervate_kinds.rl_run.state import Observed

_PATIENCE = timedelta(hours=1)
"""Time for a release to be signed and verified."""
_REFUSED = {
    *("BlobRefused", "BlobMissing", "ManifestRefused", "ManifestMissing"),
    *("ParentRefused", "ParentMissing", "SignatureRefused", "SignatureMissing"),
}
"""Reasons of a release's condition `Verified` that are about its bytes and its signature."""


class View(NamedTuple):
    """A run as it is seen now."""

    run: RLRun
    observed: Observed
    seeds: tuple[SeedStatus, ...]
    gate: GateStatus | None
    failures: Sequence[Failure]
    now: datetime

    @property
    def best(self) -> SeedStatus | None:
        """Seed whose release is published; None before that is known, and where nothing is."""
        spec = self.run.spec
        if spec.gate is None or spec.publish is None or self.gate is None or not self.gate.passed:
            return None
        number = gate.best(spec.gate, self.seeds)
        return next(each for each in self.seeds if each.seed == number)

    @property
    def published(self) -> ModelRelease | None:
        """The ModelRelease that was made of the best seed."""
        made, best = self.observed.published, self.best
        same = made is not None and best is not None and made.spec.artifact.digest == best.release
        return made if same else None


class End(NamedTuple):
    """How a run ended."""

    succeeded: bool
    reason: Reason
    message: str


def view(run: RLRun, observed: Observed, failures: Sequence[Failure], now: datetime) -> View:
    """See a run; the gate's verdict stays once it is told."""
    found = seeds.seeds(run, observed, now)
    verdict = run.status.gate if run.status else None
    if verdict is None and run.spec.gate and all(each.state is SeedState.SUCCEEDED for each in found):
        verdict = gate.judge(run.spec.gate, found, now)
    return View(run, observed, found, verdict, failures, now)


def end(seen: View) -> End | None:
    """How the run ended; None while it has not."""
    failed = next((each for each in seen.seeds if each.state is SeedState.FAILED), None)
    if failed:
        reason = Reason.NO_VALID_ROLLOUTS if failed.message == seeds.VOID else Reason.SEED_FAILED
        return End(False, reason, f"seed {failed.seed}: {failed.message}")
    if any(each.state is not SeedState.SUCCEEDED for each in seen.seeds):
        return None
    wanted = seen.run.spec.gate
    if wanted is None or seen.gate is None:
        return End(True, Reason.COMPLETED, "every seed came to its end; there is no gate")
    told = gate.words(wanted, seen.gate)
    if not seen.gate.passed:
        return End(False, Reason.GATE_FAILED, told)
    return _publishing(seen, seen.gate, told) if seen.best else End(True, Reason.GATE_PASSED, told)


def refused(failures: Sequence[Failure]) -> tuple[Reason, str] | None:
    """The first child that cannot be there; None where all can."""
    for failure in failures:
        if failure.permanent and failure.reason == Reason.NOT_OWNED:
            return Reason.NOT_OWNED, f"{failure.reference} belongs to somebody else: {failure.message}"
        if failure.permanent:
            return Reason.CHILD_REFUSED, f"{failure.reference} is refused: {failure.message}"
    return None


def _publishing(seen: View, verdict: GateStatus, told: str) -> End | None:
    name = seen.run.spec.publish.release_name if seen.run.spec.publish else ""
    cannot = refused(seen.failures)
    if cannot:
        return End(False, *cannot)
    made = seen.published
    if made and is_verified(made):
        return End(True, Reason.GATE_PASSED, f"{told}; ModelRelease {name!r} is verified")
    condition = made.status.condition(VERIFIED) if made and made.status else None
    why = f": {condition.message}" if condition and condition.message else ""
    if condition and condition.reason in _REFUSED:
        return End(False, Reason.RELEASE_REFUSED, f"ModelRelease {name!r} is refused{why}")
    if seen.now - verdict.time > _PATIENCE:
        return End(
            False, Reason.PUBLISHING_TOO_LONG, f"ModelRelease {name!r} is not verified in an hour{why}"
        )
    return None
