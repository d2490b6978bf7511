"""Makes the cluster what a plan says, writing only what differs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import JOB, Reference
from innervate_kinds.api.names import DESIRED_HASH
from innervate_kinds.api.plan import Failure
from innervate_service.tracing import traceparent

from innervate_operator.cache import reduce_managed_fields
from innervate_operator.dress import ENSURED, drawn, dress, traced
from innervate_operator.drift import differences, digest, holds
from innervate_operator.errors import ApiError
from innervate_operator.ownership import Owner, Ownership, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.kind import Kind
    from innervate_kinds.api.plan import Child, Patch, Plan
    from opentelemetry.trace import Tracer

    from innervate_operator.cache import Caches
    from innervate_operator.client import Client
    from innervate_operator.clock import Clock

MANAGER = "innervate"
"""Field manager of children."""
_NEVER = "1"
"""No object has this resource version: an apply that names it creates, or is refused with a conflict.
So it is the server that sees to it that nothing is touched which the cache does not show."""
_DOUBT_SECONDS = 30.0


@dataclass(slots=True)
class Outcome:
    """What came of a plan.

    Parameters
    ----------
    failures
        Children that could not be made so.
    written
        Writes that succeeded.
    ours
        Objects of our own kinds that were written: their rooms learn of it from the visit, since the
        watch only brings what the cache has by then.
    again_after
        Seconds after which to look again for a reason of the applier's own; None for none.
    """

    failures: list[Failure] = field(default_factory=list)
    written: int = 0
    ours: list[Reference] = field(default_factory=list)
    again_after: float | None = None


class _Unavailable(Exception):
    """The server is not to be had: the rest of the plan waits."""


class Applier:
    """Applies, ensures and deletes.

    Parameters
    ----------
    client
        Writes behind the gate.
    caches
        What is known; takes the answers.
    tracer
        Makes one span per apply.
    clock
        Measures doubt.
    doubt_seconds
        How long an object that was there before it could be created is doubted: it may be an earlier
        owner's, and the garbage collector about to take it.
    """

    def __init__(
        self,
        client: Client,
        caches: Caches,
        *,
        tracer: Tracer,
        clock: Clock,
        doubt_seconds: float = _DOUBT_SECONDS,
    ) -> None:
        self._client = client
        self._caches = caches
        self._tracer = tracer
        self._clock = clock
        self._doubt_seconds = doubt_seconds
        self._doubted: dict[str, float] = {}
        self._ensured: dict[str, str] = {}
        self._taken: set[Reference] = set()
        self._tolerated: dict[str, tuple[str, frozenset[str]]] = {}

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a resource that is gone."""
        self._doubted.pop(uid, None)
        self._ensured.pop(uid, None)

    async def execute(self, plan: Plan, owner: Owner) -> Outcome:
        """Carry a plan out as far as possible; what failed is in the outcome.

        Raises
        ------
        LeadershipLost
            If this replica may not write any more.
        """
        outcome = Outcome()
        try:
            lives = [await self._live(child, owner, outcome) for child in plan.apply]
            if any(failure.reason == "OwnerTerminating" for failure in outcome.failures):
                # What an earlier owner left is about to vanish, and with it what we would build on.
                return outcome
            ensured = await self._ensure(plan, owner, lives[0][1] if lives else None, outcome)
            for index, (child, (verdict, live)) in enumerate(zip(plan.apply, lives, strict=True)):
                if verdict in {Ownership.ABSENT, Ownership.OURS, Ownership.ADOPTABLE}:
                    await self._apply(child, owner, live, "" if index else ensured, outcome)
            for reference in plan.delete:
                await self._delete(reference, owner, outcome)
            if not outcome.failures:
                for patch in plan.patches:
                    await self._patch(patch, outcome)
        except _Unavailable:
            pass
        return outcome

    def alive(self, uid: str) -> bool:
        """Whether a resource of ours with that UID exists."""
        return any(store.key_of(uid) is not None for store in self._caches.own.values())

    async def _live(
        self, child: Child, owner: Owner, outcome: Outcome
    ) -> tuple[Ownership, Mapping[str, Any] | None]:
        reference = Reference.of(child.kind, child.manifest)
        live = self._caches.child(reference)
        if live is None and reference in self._taken:
            # Its name was somebody else's: asked, not tried, until it is free.
            try:
                live = await self._client.get(reference)
            except ApiError as error:
                self._fail(reference, error, outcome)
                return Ownership.FOREIGN, None
            if live is None:
                self._taken.discard(reference)
            else:
                reduce_managed_fields(live["metadata"])
        return self._judge(reference, live, child, owner, outcome), live

    def _judge(
        self,
        reference: Reference,
        live: Mapping[str, Any] | None,
        child: Child,
        owner: Owner,
        outcome: Outcome,
    ) -> Ownership:
        verdict = judge(live, owner, adopt=child.adopt, alive=self.alive)
        if verdict is Ownership.FOREIGN:
            message = f"{reference} is not ours: rename it or delete it, then this resource goes on"
            outcome.failures.append(Failure(reference, "NotOwned", message, permanent=True))
        elif verdict is Ownership.TERMINATING:
            message = f"{reference} belongs to a deleted {owner.kind} of this name; waiting until it is gone"
            outcome.failures.append(Failure(reference, "OwnerTerminating", message, permanent=False))
        elif verdict is Ownership.LEAVING:
            message = f"{reference} is being deleted; it is made again once it is gone"
            outcome.failures.append(Failure(reference, "Conflict", message, permanent=False))
        return verdict

    async def _ensure(
        self, plan: Plan, owner: Owner, first: Mapping[str, Any] | None, outcome: Outcome
    ) -> str:
        # Ensured objects may not be read. That they exist is written on the plan's first child, which
        # is applied after them; so they are created only until that is on record.
        if not plan.ensure:
            return ""
        names = digest(
            {"ensure": [[child.kind.kind, child.manifest["metadata"]["name"]] for child in plan.ensure]}
        )
        annotations = (first["metadata"].get("annotations") or {}) if first is not None else {}
        if annotations.get(ENSURED) == names or self._ensured.get(owner.uid) == names:
            return names
        since = self._doubted.get(owner.uid)
        if since is not None and self._clock.monotonic() - since < self._doubt_seconds:
            outcome.again_after = self._doubt_seconds
            return ""
        taken = False
        for child in plan.ensure:
            reference = Reference.of(child.kind, child.manifest)
            try:
                with self._tracer.start_as_current_span(f"create {child.kind.kind}"):
                    await self._client.create(reference, drawn(child, owner), manager=MANAGER)
                outcome.written += 1
            except ApiError as error:
                if error.reason == "AlreadyExists":
                    taken = True
                else:
                    self._fail(reference, error, outcome)
                    return ""
        if taken and since is None:
            self._doubted[owner.uid] = self._clock.monotonic()
            outcome.again_after = self._doubt_seconds
            return ""
        self._doubted.pop(owner.uid, None)
        self._ensured[owner.uid] = names
        return names

    async def _apply(
        self, child: Child, owner: Owner, live: Mapping[str, Any] | None, ensured: str, outcome: Outcome
    ) -> None:
        if live is not None and child.kind == JOB:
            return
        manifest = dress(child, owner, live=live, ensured=ensured)
        reference = Reference.of(child.kind, manifest)
        wanted = manifest["metadata"]["annotations"][DESIRED_HASH]
        if live is None:
            identity = {"resourceVersion": _NEVER}
        elif self._is_current(manifest, live, wanted):
            return
        else:
            # The very object that was looked at, not one that took its name meanwhile.
            identity = {"uid": live["metadata"]["uid"]}
        sent = {**manifest, "metadata": {**manifest["metadata"], **identity}}
        try:
            with self._tracer.start_as_current_span(
                f"apply {child.kind.kind}",
                attributes={"k8s.object.kind": child.kind.kind, "k8s.object.name": reference.name},
            ) as span:
                header = traceparent(span.get_span_context())
                if child.kind == JOB and header:
                    sent = traced(sent, header)
                answer = await self._client.apply(reference, sent, manager=MANAGER)
        except ApiError as error:
            if live is None and error.status == 409:
                await self._meet(child, owner, reference, ensured, outcome)
            else:
                self._fail(reference, error, outcome)
            return
        outcome.written += 1
        uid = answer["metadata"]["uid"]
        remaining = frozenset(differences(manifest, answer))
        if remaining:
            # An admission webhook insists on its own values: once is enough.
            self._tolerated[uid] = (wanted, remaining)
        else:
            self._tolerated.pop(uid, None)
        self._take(child.kind, answer, outcome)

    async def _meet(
        self, child: Child, owner: Owner, reference: Reference, ensured: str, outcome: Outcome
    ) -> None:
        """Deal with an object that was there although the cache had none."""
        try:
            live = await self._client.get(reference)
        except ApiError as error:
            self._fail(reference, error, outcome)
            return
        verdict = self._judge(reference, live, child, owner, outcome)
        if live is None:
            message = f"{reference} came and went while it was applied"
            outcome.failures.append(Failure(reference, "Conflict", message, permanent=False))
        elif verdict in {Ownership.OURS, Ownership.ADOPTABLE}:
            reduce_managed_fields(live["metadata"])
            await self._apply(child, owner, live, ensured, outcome)
        else:
            self._taken.add(reference)

    def _is_current(self, manifest: Mapping[str, Any], live: Mapping[str, Any], wanted: str) -> bool:
        metadata = live["metadata"]
        if (metadata.get("annotations") or {}).get(DESIRED_HASH) != wanted:
            return False
        found = differences(manifest, live)
        if not found:
            return True
        tolerated = self._tolerated.get(metadata["uid"])
        return tolerated is not None and tolerated[0] == wanted and tolerated[1].issuperset(found)

    async def _delete(self, reference: Reference, owner: Owner, outcome: Outcome) -> None:
        live = self._caches.child(reference)
        if live is None or judge(live, owner, adopt=False, alive=self.alive) is not Ownership.OURS:
            return
        try:
            with self._tracer.start_as_current_span(f"delete {reference.kind.kind}"):
                await self._client.delete(reference, uid=live["metadata"]["uid"])
            outcome.written += 1
        except ApiError as error:
            self._fail(reference, error, outcome)

    async def _patch(self, patch: Patch, outcome: Outcome) -> None:
        reference = Reference.of(patch.kind, patch.manifest)
        live = self._caches.get(reference)
        if live is not None and holds(live, patch.manifest):
            return
        try:
            with self._tracer.start_as_current_span(
                f"patch {patch.kind.kind}",
                attributes={"k8s.object.kind": patch.kind.kind, "k8s.object.name": reference.name},
            ):
                answer = await self._client.apply(reference, patch.manifest, manager=patch.manager)
        except ApiError as error:
            self._fail(reference, error, outcome)
            return
        outcome.written += 1
        self._take(patch.kind, answer, outcome)

    def _take(self, kind: Kind, answer: dict[str, Any], outcome: Outcome) -> None:
        self._caches.put_response(kind, answer)
        if kind in self._caches.own:
            outcome.ours.append(Reference.of(kind, answer))

    def _fail(self, reference: Reference, error: ApiError, outcome: Outcome) -> None:
        outcome.failures.append(failure_of(reference, error))
        if outcome.failures[-1].reason == "Unavailable" and error.status != 404:
            raise _Unavailable from error


def failure_of(reference: Reference, error: ApiError) -> Failure:
    """Failure as a room's status tells it."""
    if error.status == 403:
        return Failure(reference, "Forbidden", error.message, permanent=False)
    # The server says 409 where the object of that UID is gone, and 422 where another took its name.
    if error.status == 409 or (error.status == 422 and "metadata.uid" in error.message):
        return Failure(reference, "Conflict", error.message, permanent=False)
    if error.status in {400, 415, 422}:
        return Failure(reference, "Invalid", error.message, permanent=True)
    return Failure(reference, "Unavailable", error.message, permanent=False)
