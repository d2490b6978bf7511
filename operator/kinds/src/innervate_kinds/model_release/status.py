"""Tells what is known of a release: whose bytes are wrong, or that none are."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from innervate_kinds.api import conditions
from innervate_kinds.model_release import names, verdict
from innervate_kinds.model_release.model import VERIFIED, ModelReleaseStatus
from innervate_kinds.model_release.plan import settled
from innervate_kinds.parts import trouble
from innervate_kinds.parts.pods import Workload
from innervate_kinds.parts.releases import KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.model_release.model import ModelRelease
    from innervate_kinds.model_release.state import Observed
    from innervate_kinds.model_release.verdict import Verdict
    from innervate_kinds.parts.jobs import JobState

_LONGEST = 1500
_SIGNING_KEY = "$INNERVATE_SIGNING_KEY"
"""What the signing container calls the private key."""
_PROBLEMS = {"Unschedulable", "ImageNotPulled", "SecretMissing", "Crashing"}


class Reason(StrEnum):
    """Reasons of a release's conditions."""

    VALID = "Valid"
    """The specification is accepted."""
    VERIFIED = "Verified"
    """Every byte was read and found right, and the signature is by a key that counts."""
    VERIFYING = "Verifying"
    """The Job is on its way; there is no verdict yet."""
    BLOB_REFUSED = "BlobRefused"
    """The bytes of a file are not what the manifest says; the message names the file."""
    BLOB_MISSING = "BlobMissing"
    """The store lacks the bytes of a file; the message names the file."""
    MANIFEST_REFUSED = "ManifestRefused"
    """The manifest is not what the digest says, or is none."""
    MANIFEST_MISSING = "ManifestMissing"
    """The store has no manifest of that digest."""
    PARENT_REFUSED = "ParentRefused"
    """The manifest or signature of an ancestor is wrong; the message names which."""
    PARENT_MISSING = "ParentMissing"
    """The store lacks the manifest or signature of an ancestor; the message names which."""
    SIGNATURE_REFUSED = "SignatureRefused"
    """The signature is wrong, of something else, or by a key that does not count here."""
    SIGNATURE_MISSING = "SignatureMissing"
    """The release is not signed."""
    KEY_REFUSED = "KeyRefused"
    """The private key, or one of the keys whose signatures count, is no key."""
    KEY_MISSING = "KeyMissing"
    """The ConfigMap of keys, or the Secret with the private key, is missing or empty."""
    STORE_FAILING = "StoreFailing"
    """The store does not answer, refuses, or lacks credentials; the message holds its words."""
    CLAIM_MISSING = "ClaimMissing"
    """The PersistentVolumeClaim does not exist."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105  a reason, not a password
    """A Secret that the Job needs does not exist or lacks a key."""
    IMAGE_NOT_PULLED = "ImageNotPulled"
    """The image of the Job cannot be pulled."""
    UNSCHEDULABLE = "Unschedulable"
    """No node takes the Job's pod."""
    CRASHING = "Crashing"
    """The Job's pod ends with an error; the message holds its words."""
    NOT_OWNED = "NotOwned"
    """Something of somebody else has the name of a child."""
    CHILD_REFUSED = "ChildRefused"
    """The API server refuses a child for good; the message holds its words."""


def status(
    release: ModelRelease, observed: Observed, _plan: Plan, failures: Sequence[Failure], now: datetime
) -> ModelReleaseStatus:
    """Tell the verdict that stands, and what is on its way to the next one."""
    old = release.status or ModelReleaseStatus()
    accepted = conditions.true(conditions.ACCEPTED, Reason.VALID)
    current = old.model_copy(update={"observed_generation": release.metadata.generation, "trace": None})
    if settled(release):
        return current.model_copy(update={"conditions": _told(accepted, _standing(release), None)})
    said = verdict.of(observed.job, now) if observed.job else None
    if observed.job and said and (observed.job.finished or said.result != "Failed"):
        return _judged(release, observed.job, said, accepted, now)
    problem = _refused(failures) or _problem(release, observed, said, now)
    standing = _standing(release)
    if standing is None:
        standing = (
            conditions.false(VERIFIED, *problem)
            if problem
            else conditions.unknown(VERIFIED, Reason.VERIFYING, f"being verified; see {_show(release)}")
        )
    passing = problem or (Reason.VERIFYING, f"being verified; see {_show(release)}")
    return current.model_copy(update={"conditions": _told(accepted, standing, passing)})


def _told(
    accepted: Condition, verified: Condition | None, passing: tuple[Reason, str] | None
) -> tuple[Condition, ...]:
    parts = [verified] if verified else []
    ready = conditions.summarize(conditions.READY, parts, reason=Reason.VERIFIED)
    if passing:
        stuck = passing[0] in {Reason.NOT_OWNED, Reason.CHILD_REFUSED}
        type_ = conditions.STALLED if stuck else conditions.RECONCILING
        return (accepted, *parts, ready, conditions.true(type_, *passing))
    if verified and verified.status != "True":
        return (
            accepted,
            *parts,
            ready,
            conditions.true(conditions.STALLED, verified.reason, verified.message),
        )
    return (accepted, *parts, ready)


def _standing(release: ModelRelease) -> Condition | None:
    """The verdict of an earlier Job, which stands until there is another."""
    if release.status is None or release.status.job is None:
        return None
    return release.status.condition(VERIFIED)


def _judged(
    release: ModelRelease, job: JobState, said: Verdict, accepted: Condition, now: datetime
) -> ModelReleaseStatus:
    words = said.words
    verified = said.result == "Verified"
    if verified:
        condition = conditions.true(VERIFIED, Reason.VERIFIED, f"signed by key {words.get('keyId')!r}")
    else:
        condition = conditions.false(VERIFIED, *_wrong(release, words))
    found: dict[str, Any] = (
        {
            "digest": release.spec.artifact.digest,
            "key_id": words.get("keyId"),
            "parents": tuple(words.get("parents") or ()),
            "produced_by": words.get("producedBy") or None,
            "size_bytes": words.get("sizeBytes"),
        }
        if verified
        else {}
    )
    return ModelReleaseStatus(
        observed_generation=release.metadata.generation,
        verified=verified,
        job=names.job(release.metadata),
        verified_time=(job.ended or now).replace(microsecond=0),
        conditions=_told(accepted, condition, None),
        **found,
    )


def _wrong(release: ModelRelease, words: Any) -> tuple[Reason, str]:
    """Reason and message for what a container said is wrong."""
    part = str(words.get("part"))
    message = str(words.get("message", ""))[:_LONGEST]
    if part == "Store":
        return Reason.STORE_FAILING, f"{message}; {_again(release)}"
    reason = Reason(f"{part}{'Missing' if words.get('missing') else 'Refused'}")
    if part == "Key" and words.get("subject") == _SIGNING_KEY and release.spec.signing:
        held = release.spec.signing.secret_key_ref
        message = (
            f"key {held.key!r} of Secret {held.name!r}, named in spec.signing, is no Ed25519 private key in "
            "PEM; make one with `innervate release keygen --secret`"
        )
    if part == "Key":
        return reason, f"{message}; {_again(release)}"
    if reason is Reason.SIGNATURE_MISSING:
        message += (
            "; sign it with `innervate release push --key`, or let spec.signing of a new release sign it"
        )
    return reason, message


def _again(release: ModelRelease) -> str:
    where = f"-n {release.metadata.namespace} {release.metadata.name}"
    return f"once it is mended, verify again: `innervate release verify {where}`"


def _refused(failures: Sequence[Failure]) -> tuple[Reason, str] | None:
    for failure in failures:
        if failure.permanent and failure.reason == Reason.NOT_OWNED:
            return Reason.NOT_OWNED, f"{failure.reference} belongs to somebody else: {failure.message}"
        if failure.permanent:
            return Reason.CHILD_REFUSED, f"{failure.reference} is refused: {failure.message}"
    return None


def _problem(
    release: ModelRelease, observed: Observed, said: Verdict | None, now: datetime
) -> tuple[Reason, str] | None:
    """What keeps the Job from a verdict; None where nothing is known to."""
    job = observed.job
    if job is None:
        return None
    if job.last and not job.finished:
        running = Workload(current=True, wanted=1, updated=1, available=0, pods=(job.last,))
        component = trouble.Component(
            owner=release.metadata,
            name=names.VERIFIER,
            memory_field=lambda _container: "",  # releases are streamed: no such problem is told
        )
        found = trouble.problem(component, running, now)
        if found and found.reason in _PROBLEMS and not said:
            return _plainly(release, Reason(found.reason), found.message)
    if said:
        reason, message = _wrong(release, said.words)
        return reason, f"{message.partition('; once it is mended')[0]}; it is tried again"
    return None


def _plainly(release: ModelRelease, reason: Reason, message: str) -> tuple[Reason, str]:
    """Say in the words of the specification what the scheduler and the kubelet say in theirs."""
    namespace = release.metadata.namespace
    if "persistentvolumeclaim" in message and "not found" in message:
        claim = release.spec.artifact.uri.removeprefix("pvc://").partition("/")[0]
        message = (
            f"PersistentVolumeClaim {claim!r}, named in spec.artifact.uri, does not exist; create it, or "
            f"name one of `kubectl get -n {namespace} pvc`"
        )
        return Reason.CLAIM_MISSING, message
    if f'configmap "{KEYS}" not found' in message:
        message = (
            f"ConfigMap {KEYS!r} does not exist, so no signature counts; make a key and trust it: "
            f"`innervate release keygen -n {namespace}`"
        )
        return Reason.KEY_MISSING, message
    return reason, message


def _show(release: ModelRelease) -> str:
    return f"`kubectl logs -n {release.metadata.namespace} job/{names.job(release.metadata)}`"
