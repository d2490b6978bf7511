"""Tells whether a store works, and if not, why and what to do."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.api.resource import ConditionStatus
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.memory_store import pods
from innervate_kinds.memory_store.model import MemoryStoreStatus
from innervate_kinds.memory_store.names import SERVICE, Names
from innervate_kinds.memory_store.plan import COUNT_SECONDS, resolved
from innervate_kinds.memory_store.redis import redis_of
from innervate_kinds.parts.redis import claim
from innervate_kinds.parts.redis import trouble as redis_trouble
from innervate_kinds.parts.redis.part import REDIS
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.memory_store.state import Observed
    from innervate_kinds.parts.pods import Workload

STORAGE_READY, SERVICE_READY = "StorageReady", "ServiceReady"
_MEBIBYTE = 2**20
_YOUNG = timedelta(seconds=30)
"""Age up to which a store that does not answer is starting."""


class Reason(StrEnum):
    """Why a condition of a MemoryStore is as it is."""

    VALID = "Valid"
    """The specification is accepted."""
    RESOLVED = "Resolved"
    """Everything that the specification names is there and may be used."""
    COMPUTE_POOL_NOT_FOUND = "ComputePoolNotFound"
    """The ComputePool named in `spec.service.placement` does not exist."""
    COMPUTE_POOL_NOT_ALLOWED = "ComputePoolNotAllowed"
    """The ComputePool does not allow workloads of this namespace."""
    STARTING = "Starting"
    """Created and not ready yet; nothing wrong is known."""
    ROLLING_OUT = "RollingOut"
    """A change of the specification is being brought to the pods."""
    AVAILABLE = "Available"
    """It takes requests."""
    NOT_READY = "NotReady"
    """It does not take requests, and nothing tells why."""
    NO_READY_NODES = "NoReadyNodes"
    """The ComputePool that the service is placed on has no ready node."""
    UNSCHEDULABLE = "Unschedulable"
    """The scheduler finds no node for a pod; the message holds its words."""
    IMAGE_NOT_PULLED = "ImageNotPulled"
    """An image cannot be pulled."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105  a reason, not a password
    """A Secret, or a key in it, that a pod needs does not exist."""
    DISK_FULL = "DiskFull"
    """The volume of Redis has no space left."""
    MEMORY_EXCEEDED = "MemoryExceeded"
    """A container used more memory than its limit and was killed."""
    CRASHING = "Crashing"
    """A container ends again and again; the message holds its last words."""
    PODS_REFUSED = "PodsRefused"
    """The cluster refuses to create pods: a quota or an admission policy."""
    STORE_FULL = "StoreFull"
    """The memory for data is used up: writes are refused, reads are answered."""
    PASSWORD_REFUSED = "PasswordRefused"  # noqa: S105  a reason, not a password
    """Redis refuses the password that stands in the Secret."""
    REDIS_FAILING = "RedisFailing"
    """The memory service cannot use Redis; the message holds its words."""
    UNREACHABLE = "Unreachable"
    """The service's pods are ready, but the operator gets no answer from them."""
    RETAINED_DATA = "RetainedData"
    """An earlier store of this name left its volume; adopt it, or delete it."""
    PREVIOUS_DATA_LEAVING = "PreviousDataLeaving"
    """An earlier store's volume is being deleted; this one waits for it."""
    VOLUME_NOT_EXPANDABLE = "VolumeNotExpandable"
    """The storage class does not let the volume grow; the store works on with the one it has."""
    NOT_OWNED = "NotOwned"
    """Something of somebody else has the name of a child."""
    CHILD_REFUSED = "ChildRefused"
    """The API server refuses a child for good; the message holds its words."""
    CHILD_DELAYED = "ChildDelayed"
    """A child could not be applied now; it is tried again."""


_PROBE_REASONS = {
    "REDIS_LOGIN": Reason.PASSWORD_REFUSED,
    "REDIS_DISK": Reason.DISK_FULL,
    "REDIS_FULL": Reason.STORE_FULL,
}
_STALLING = {
    Reason.RETAINED_DATA,
    Reason.NOT_OWNED,
    Reason.CHILD_REFUSED,
    Reason.COMPUTE_POOL_NOT_ALLOWED,
    Reason.COMPUTE_POOL_NOT_FOUND,
}
"""Reasons that pass only by somebody's action."""


def status(
    store: MemoryStore, observed: Observed, _plan: Plan, failures: Sequence[Failure], now: datetime
) -> MemoryStoreStatus:
    """Sum up children, references and the service's last answer."""
    references = _references(store, observed)
    storage = _failure(store, failures, REDIS) or _storage(store, observed, now)
    service = _failure(store, failures, SERVICE) or _service(store, observed, now)
    parts = [references, storage, service]
    if not _was_ready(store):
        parts = _hold_back(store, parts)
    ready = conditions.summarize(conditions.READY, parts, reason=Reason.AVAILABLE)
    progress = _progress(store, observed, failures, ready, now)
    service_host = host(Names.of(store.metadata.name).service, store.metadata.namespace)
    answer = observed.stats if ready.status is ConditionStatus.TRUE or _was_ready(store) else None
    return MemoryStoreStatus(
        observed_generation=store.metadata.generation,
        endpoint=f"grpcs://{service_host}:{GRPC_PORT}",
        **_counts(store, answer),
        conditions=(conditions.true(conditions.ACCEPTED, Reason.VALID), *parts, ready, *progress),
    )


def _was_ready(store: MemoryStore) -> bool:
    return store.status is not None and store.status.records is not None


def _hold_back(store: MemoryStore, parts: list[Condition]) -> list[Condition]:
    """Until everything works for the first time, tell problems only: each step would be a write."""
    references, storage, service = parts
    if all(part.status is ConditionStatus.TRUE for part in parts):
        return parts
    if storage.status is ConditionStatus.TRUE:
        storage = _starting(store, REDIS)
    if service.status is ConditionStatus.TRUE:
        service = _starting(store, SERVICE)
    return [references, storage, service]


def _starting(store: MemoryStore, component: str) -> Condition:
    """One message for all of the start, so that its steps are no writes."""
    type_ = STORAGE_READY if component == REDIS else SERVICE_READY
    shown = SERVICE if store.spec.storage.external else component
    return conditions.unknown(type_, Reason.STARTING, f"starting; see {pods.show(store, shown)}")


def _references(store: MemoryStore, observed: Observed) -> Condition:
    type_ = conditions.RESOLVED_REFS
    placement = store.spec.service.placement
    if placement is None or resolved(store, observed):
        return conditions.true(type_, Reason.RESOLVED)
    name = placement.compute_pool_ref.name
    if observed.pool is None:
        message = (
            f"ComputePool {name!r}, named in spec.service.placement.computePoolRef, does not exist; "
            "create it, or name one of `kubectl get computepools`"
        )
        return conditions.false(type_, Reason.COMPUTE_POOL_NOT_FOUND, message)
    message = (
        f"ComputePool {name!r} does not allow namespace {store.metadata.namespace!r}; label the namespace "
        f"as its spec.allowedNamespaces wants: `kubectl get computepool {name} -o yaml`"
    )
    return conditions.false(type_, Reason.COMPUTE_POOL_NOT_ALLOWED, message)


def _failure(store: MemoryStore, failures: Sequence[Failure], component: str) -> Condition | None:
    """Condition for the first child of a component that was refused for good."""
    names = Names.of(store.metadata.name)
    of_redis = {names.redis, names.data}
    type_ = STORAGE_READY if component == REDIS else SERVICE_READY
    for failure in failures:
        concerns = (failure.reference.name in of_redis) == (component == REDIS)
        if not failure.permanent or not concerns or claim.resize_refused(failure):
            continue
        if failure.reason == Reason.NOT_OWNED:
            message = f"{failure.reference} belongs to somebody else: {failure.message}"
            return conditions.false(type_, Reason.NOT_OWNED, message)
        message = f"{failure.reference} is refused: {failure.message}"
        return conditions.false(type_, Reason.CHILD_REFUSED, message)
    return None


def _storage(store: MemoryStore, observed: Observed, now: datetime) -> Condition:
    type_ = STORAGE_READY
    redis = redis_of(store)
    if redis:
        waits = claim.trouble(redis, observed.claim, type_=type_) or _pods(store, observed.redis, REDIS, now)
        if waits:
            return waits
    answer = observed.stats
    if answer and answer.reason.startswith("REDIS_"):
        return _passing(store, observed, answer, REDIS, now) or _redis_failing(store, answer)
    limit = answer.value["limit_bytes"] if answer and answer.value else 0
    if answer and answer.value and limit and answer.value["size_bytes"] >= limit:
        message = (
            "the memory for data is used up and writes are refused; raise spec.storage.redis.memory, "
            "or forget records: `innervate memory forget`"
        )
        return conditions.false(type_, Reason.STORE_FULL, message)
    if store.spec.storage.external and not answer and not _was_ready(store):
        return _starting(store, REDIS)
    return conditions.true(type_, Reason.AVAILABLE)


def _redis_failing(store: MemoryStore, answer: ProbeResult) -> Condition:
    reason = _PROBE_REASONS.get(answer.reason, Reason.REDIS_FAILING)
    if reason is not Reason.PASSWORD_REFUSED:
        return conditions.false(STORAGE_READY, reason, f"the memory service reports: {answer.message}")
    redis = redis_of(store)
    if redis:
        return conditions.false(STORAGE_READY, reason, redis_trouble.password_refused(redis))
    message = "Redis refuses the login of its URL"
    if store.spec.storage.external:
        secret = store.spec.storage.external.url_from.secret_key_ref
        message = (
            f"Redis refuses the login of the URL in Secret {secret.name!r}, key {secret.key!r}; correct it: "
            f"`kubectl edit -n {store.metadata.namespace} secret {secret.name}`"
        )
    return conditions.false(STORAGE_READY, reason, message)


def _service(store: MemoryStore, observed: Observed, now: datetime) -> Condition:
    type_ = SERVICE_READY
    if observed.service is None and not resolved(store, observed):
        return conditions.unknown(type_, Reason.STARTING, "not placed before its references are resolved")
    waits = _pods(store, observed.service, SERVICE, now)
    if waits:
        return _without_nodes(store, observed, waits)
    answer = observed.stats
    if answer and answer.value is None and not answer.reason.startswith("REDIS_"):
        return _passing(store, observed, answer, SERVICE, now) or _unanswered(observed, answer)
    if not answer and not _was_ready(store):
        return _starting(store, SERVICE)
    return conditions.true(type_, Reason.AVAILABLE)


def _unanswered(observed: Observed, answer: ProbeResult) -> Condition:
    if observed.redis and not observed.redis.complete:
        return conditions.false(SERVICE_READY, Reason.NOT_READY, "the memory service waits for Redis")
    message = f"the memory service does not answer the operator: {answer.message or answer.code}"
    if answer.code == "UNAVAILABLE":
        message += "; does a NetworkPolicy forbid it?"
    return conditions.false(SERVICE_READY, Reason.UNREACHABLE, message)


def _passing(
    store: MemoryStore, observed: Observed, answer: ProbeResult, component: str, now: datetime
) -> Condition | None:
    """`Starting` for what does not answer yet in a young store: names and routes take a moment."""
    created = [pod.created for pod in observed.service.pods] if observed.service else []
    young = not _was_ready(store) and bool(created) and now - min(created) < _YOUNG
    if young and answer.reason in {"", "REDIS_UNREACHABLE", "REDIS_LOADING"}:
        return _starting(store, component)
    return None


def _without_nodes(store: MemoryStore, observed: Observed, waits: Condition) -> Condition:
    placement = store.spec.service.placement
    if (
        waits.reason != Reason.UNSCHEDULABLE
        or not placement
        or not observed.pool
        or observed.pool.ready_nodes
    ):
        return waits
    name = placement.compute_pool_ref.name
    message = f"ComputePool {name!r} has no ready node; see `kubectl describe computepool {name}`"
    return conditions.false(SERVICE_READY, Reason.NO_READY_NODES, message)


def _pods(store: MemoryStore, workload: Workload | None, component: str, now: datetime) -> Condition | None:
    """Condition for a workload that takes no requests; None when it does."""
    type_ = STORAGE_READY if component == REDIS else SERVICE_READY
    if workload is None:
        return _starting(store, component)
    if workload.complete or (_was_ready(store) and workload.available > 0):
        return None
    problem = _problem(store, workload, component, now)
    if problem:
        return conditions.false(type_, problem[0], problem[1])
    if not _was_ready(store):
        return _starting(store, component)
    reason = Reason.ROLLING_OUT if not workload.current or workload.old else Reason.NOT_READY
    return conditions.false(type_, reason, f"no pod takes requests; see {pods.show(store, component)}")


def _problem(
    store: MemoryStore, workload: Workload, component: str, now: datetime
) -> tuple[Reason, str] | None:
    if workload.refused:
        return Reason.PODS_REFUSED, f"the cluster refuses to create pods: {workload.refused}"
    problem = pods.problem(store, workload, component, now)
    return (Reason(problem.reason), problem.message) if problem else None


def _progress(
    store: MemoryStore, observed: Observed, failures: Sequence[Failure], ready: Condition, now: datetime
) -> tuple[Condition, ...]:
    """`Stalled` for what waits for somebody, else `Reconciling` while something is on its way."""
    if ready.reason in _STALLING:
        return (conditions.true(conditions.STALLED, ready.reason, ready.message),)
    if ready.status is not ConditionStatus.TRUE:
        return (conditions.true(conditions.RECONCILING, ready.reason, ready.message),)
    for failure in failures:
        if claim.resize_refused(failure):
            message = claim.resize_message(redis) if (redis := redis_of(store)) else failure.message
            return (conditions.true(conditions.STALLED, Reason.VOLUME_NOT_EXPANDABLE, message),)
        message = f"{failure.reference}: {failure.message}; it is tried again"
        return (conditions.true(conditions.RECONCILING, Reason.CHILD_DELAYED, message),)
    for component, workload in ((REDIS, observed.redis), (SERVICE, observed.service)):
        if workload and not workload.complete:
            reason, message = _problem(store, workload, component, now) or (
                Reason.ROLLING_OUT,
                "replacing pods",
            )
            return (conditions.true(conditions.RECONCILING, reason, message),)
    return ()


def _counts(store: MemoryStore, answer: ProbeResult | None) -> dict[str, int | datetime | None]:
    """Counts for the status: the new ones where they differ and the old ones are a minute old."""
    old = store.status or MemoryStoreStatus()
    kept = {name: getattr(old, name) for name in ("records", "spaces", "size_bytes", "count_time")}
    if answer is None or answer.value is None:
        return kept
    if old.count_time and (answer.time - old.count_time).total_seconds() < COUNT_SECONDS:
        return kept
    new = answer.value
    size = old.size_bytes or 0
    grown = abs(new["size_bytes"] - size) > max(_MEBIBYTE, size // 20)
    if old.records is not None and (new["records"], new["spaces"]) == (old.records, old.spaces) and not grown:
        return kept
    return {
        "records": new["records"],
        "spaces": new["spaces"],
        "size_bytes": new["size_bytes"],
        "count_time": answer.time.replace(microsecond=0),
    }
