"""A pipeline's world as plain objects: the room's own functions run in it as the runtime runs them.

Time, gateways, verification, EvalJobs and training are played by the test; each write is checked against
what must hold at every moment.
"""

from __future__ import annotations

import copy
import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from innervate_api.exchange.v1.exchange_pb2 import (
    ArmOutcomes,
    OutcomesResponse,
    Route,
    RoutesResponse,
)
from innervate_kinds.api.conditions import merge
from innervate_kinds.api.kind import JOB, POD, Kind, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.reader import ProbeResult
from innervate_kinds.eval_job.model import EVAL_JOB
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE, LearningPipeline
from innervate_kinds.learning_pipeline.names import COMMAND
from innervate_kinds.learning_pipeline.room import ROOM
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.parts.trainers import SIDECAR
from kinds_cluster import CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.plan import Plan

Json = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE, UID = "shop", "5d0f7a52-0000-4000-8000-000000000001"
TRAINED = "sha256:" + "d" * 64


class Crashed(Exception):
    """The operator is gone; the world goes on."""


class World:
    """One pipeline and everything around it.

    Parameters
    ----------
    spec
        The pipeline's specification, but for the pool.
    rates
        Probability of success by release.
    verdicts
        Verdict of each gate by release and gate name; `Passed` where none is given.
    seed
        Determines feedback.
    """

    def __init__(
        self,
        spec: Json,
        *,
        rates: Mapping[str, float] | None = None,
        verdicts: Mapping[tuple[str, str], str] | None = None,
        seed: int = 1,
    ) -> None:
        self.now = START
        self.objects: dict[Reference, Json] = {}
        self.rates = dict(rates or {})
        self.verdicts = dict(verdicts or {})
        self.chance = random.Random(seed)
        self.counts: dict[str, list[int]] = {}
        self.feedback = True
        self.gateways = True
        self.engines = True
        self.training_fails = ""
        self.crash_at: int | None = None
        self.writes = 0
        self.log: list[str] = []
        self.put(MODEL_RELEASE, "a", {"artifact": {"uri": "pvc://r", "digest": "sha256:" + "a" * 64}})
        self.verify("a")
        self.put(
            INFERENCE_POOL,
            "pool",
            {
                "model": {"name": "m", "releaseRef": {"name": "a"}},
                "variants": [{"name": "cpu", "engine": "LlamaCpp"}],
            },
        )
        self.acknowledge()
        self.put(LEARNING_PIPELINE, "p", {"inferencePoolRef": {"name": "pool"}, **spec}, uid=UID)

    # Reading, as rooms do.

    def get(self, reference: Reference) -> Json | None:
        return self.objects.get(reference)

    def owned(self, kind: Kind, uid: str) -> Sequence[Json]:
        found = (item for reference, item in self.objects.items() if reference.kind == kind)
        return [item for item in found if item["metadata"].get("labels", {}).get(OWNER_UID) == uid]

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Json]:
        del namespace
        return [item for reference, item in self.objects.items() if reference.kind == kind]

    def available(self, kind: Kind) -> bool:
        del kind
        return True

    # What people and other controllers do.

    def put(self, kind: Kind, name: str, spec: Json, *, uid: str = "", **metadata: Any) -> Json:
        manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": uid or f"uid-{kind.kind}-{name}",
                "generation": 1,
                "creationTimestamp": self.now.isoformat(),
                **metadata,
            },
            "spec": spec,
        }
        self.objects[Reference(kind, NAMESPACE, name)] = manifest
        return manifest

    def release(self, name: str, *, verified: bool | None = True) -> None:
        self.put(MODEL_RELEASE, name, {"artifact": {"uri": "pvc://r", "digest": "sha256:" + "b" * 64}})
        if verified is not None:
            self.verify(name, verified=verified)

    def verify(self, name: str, *, verified: bool = True) -> None:
        condition = {
            "type": "Verified",
            "status": str(verified),
            "reason": "Verified" if verified else "SignatureRefused",
            "message": "" if verified else "the signature is by nobody we know",
        }
        release = self.objects[Reference(MODEL_RELEASE, NAMESPACE, name)]
        release["status"] = {"verified": verified, "conditions": [condition]}

    def change(self, **spec: Any) -> None:
        self.pipeline["spec"].update(spec)
        self.pipeline["metadata"]["generation"] += 1

    def command(self, identity: str, action: str, candidate: str = "") -> None:
        text = json.dumps({"id": identity, "action": action, "candidate": candidate})
        self.pipeline["metadata"].setdefault("annotations", {})[COMMAND] = text

    def acknowledge(self) -> None:
        generation = self.pool["metadata"]["generation"]
        self.pool["status"] = {"routes": {"generation": generation, "acknowledged": generation}}

    @property
    def pipeline(self) -> Json:
        return self.objects[Reference(LEARNING_PIPELINE, NAMESPACE, "p")]

    @property
    def pool(self) -> Json:
        return self.objects[Reference(INFERENCE_POOL, NAMESPACE, "pool")]

    @property
    def traffic(self) -> dict[str, int]:
        """Weights by release, as the gateways are told."""
        arms = self.pool["spec"].get("traffic") or [{"releaseRef": {"name": "a"}, "weight": 100}]
        return {arm["releaseRef"]["name"]: arm["weight"] for arm in arms}

    @property
    def status(self) -> Json:
        found: Json = self.pipeline.get("status") or {}
        return found

    @property
    def step(self) -> str:
        return str((self.status.get("step") or {}).get("name", ""))

    @property
    def ended(self) -> list[tuple[str, str, str]]:
        """Candidates that ended, the oldest first: name, verdict, reason."""
        entries = [entry for entry in self.status.get("history", []) if entry["rollout"]]
        return [(each["candidate"], each["verdict"], each["reason"]) for each in reversed(entries)]

    def condition(self, type_: str) -> Json:
        found = (each for each in self.status["conditions"] if each["type"] == type_)
        return next(found, {"status": "", "reason": "", "message": ""})

    def pass_time(self, seconds: float, *, requests: int = 0) -> None:
        """Let the world do its work: requests come first, by the traffic that is acknowledged."""
        self.now += timedelta(seconds=seconds)
        self._serve(requests)
        if self.gateways:
            self.acknowledge()
        for reference, item in list(self.objects.items()):
            if reference.kind == EVAL_JOB and "status" not in item:
                self._judge(item)
            elif reference.kind == JOB and not item.get("status"):
                self._train(item)
            elif reference.kind == MODEL_RELEASE and "status" not in item:
                self.verify(reference.name)

    def _serve(self, requests: int) -> None:
        arms = self.pool["spec"].get("traffic") or ()
        for arm in arms:
            units = round(requests * arm["weight"] / 100)
            rate = self.rates.get(arm["releaseRef"]["name"], 0.8)
            if self.feedback and units:
                count = self.counts.setdefault(arm["name"], [0, 0])
                count[0] += units
                count[1] += sum(self.chance.random() < rate for _ in range(units))

    def _judge(self, item: Json) -> None:
        gate = item["metadata"]["labels"]["app.kubernetes.io/component"].removeprefix("gate-")
        release = item["spec"]["target"]["releaseRef"]["name"]
        verdict = self.verdicts.get((release, gate), "Passed")
        succeeded = {"type": "Succeeded", "status": "True", "reason": "Done", "message": f"it {verdict}"}
        item["status"] = {"verdict": verdict, "endTime": self.now.isoformat(), "conditions": [succeeded]}
        if verdict == "Broken":
            del item["status"]["verdict"]
            item["status"]["conditions"] = [{**succeeded, "status": "False", "message": "no data"}]

    def _train(self, item: Json) -> None:
        name = item["metadata"]["name"]
        labels = item["spec"]["template"]["metadata"]["labels"]
        final = {"final": True, "release": TRAINED} if not self.training_fails else {}
        ended = {"exitCode": 0, "reason": "Completed", "message": json.dumps(final)}
        pod = self.put(POD, f"{name}-0", {}, labels=labels)
        pod["status"] = {
            "initContainerStatuses": [{"name": SIDECAR, "state": {"terminated": ended}}],
            "phase": "Succeeded",
        }
        condition = {"type": "Complete", "status": "True"}
        if self.training_fails:
            condition = {"type": "Failed", "status": "True", "reason": self.training_fails, "message": "no"}
            condition["lastTransitionTime"] = self.now.isoformat()
        item["status"] = {"conditions": [condition], "completionTime": self.now.isoformat()}

    # The operator.

    def visit(self) -> bool:
        """One visit; tells whether it changed what plans act on."""
        resource = self._resource()
        plan = ROOM.plan(resource, ROOM.observe(resource, self, {}), CONFIG, self.now)
        self._execute(plan)
        observed = ROOM.observe(resource, self, {})
        answers = {probe.name: self._answer(probe) for probe in ROOM.probes(resource, observed)}
        observed = ROOM.observe(resource, self, answers)
        told = ROOM.status(resource, observed, plan, (), self.now)
        before = resource.status.conditions if resource.status else ()
        stamped = merge(before, told.conditions, generation=resource.metadata.generation, now=self.now)
        content = told.model_copy(update={"conditions": stamped})
        value = json.loads(content.model_dump_json(by_alias=True, exclude_none=True))
        old = self.status
        if value != old:
            self._write("status")
            self.pipeline["status"] = value
        return any(value.get(name) != old.get(name) for name in ROOM.acts_on)

    def settle(self, *, most: int = 60) -> None:
        """Visit until nothing changes without the world's doing; an operator that died is replaced."""
        for _ in range(most):
            try:
                if not self.visit() and not self.visit():
                    return
            except Crashed:
                continue
        raise AssertionError(f"it does not settle: {self.status}")

    def run(self, *, rounds: int = 400, seconds: float = 10, requests: int = 200) -> None:
        """Let world and operator go on until no candidate is left or nothing more happens."""
        for _ in range(rounds):
            self.settle()
            if not self.step and self._all_done():
                return
            self.pass_time(seconds, requests=requests)

    def _all_done(self) -> bool:
        return len(self.status.get("completed", [])) == len(self.pipeline["spec"]["candidates"])

    def _resource(self) -> LearningPipeline:
        return LearningPipeline.model_validate(copy.deepcopy(self.pipeline))

    def _answer(self, probe: Any) -> ProbeResult:
        if not self.gateways:
            return ProbeResult(time=self.now, code="UNAVAILABLE", message="no route")
        if probe.method.endswith("/Routes"):
            arms = self.pool["spec"].get("traffic") or ()
            routes = [
                Route(arm=arm["name"], weight=arm["weight"], ready_replicas=int(self.engines)) for arm in arms
            ]
            answer = RoutesResponse(routes=routes, waits_for="" if self.engines else "no engine is ready")
        else:
            counts = [
                ArmOutcomes(arm=arm, units=units, successes=successes)
                for arm, (units, successes) in self.counts.items()
            ]
            answer = OutcomesResponse(arms=counts)
        return ProbeResult(time=self.now, value=probe.decode(answer.SerializeToString()))

    def _execute(self, plan: Plan) -> None:
        for child in plan.apply:
            reference = Reference.of(child.kind, child.manifest)
            if reference not in self.objects:
                self._write(f"create {reference}")
                made = copy.deepcopy(child.manifest)
                made["metadata"] |= {"uid": f"uid-{reference}", "generation": 1}
                self.objects[reference] = made
        for reference in plan.delete:
            if reference in self.objects:
                self._write(f"delete {reference}")
                del self.objects[reference]
        for patch in plan.patches:
            wanted = patch.manifest["spec"]["traffic"]
            assert patch.manifest["metadata"]["uid"] == self.pool["metadata"]["uid"]
            if self.pool["spec"].get("traffic") != wanted:
                self._check(wanted)
                self._write("traffic")
                self.pool["spec"]["traffic"] = copy.deepcopy(wanted)
                self.pool["metadata"]["generation"] += 1

    def _write(self, what: str) -> None:
        """Count a write; before it is made, or right after the one before, the operator may die."""
        if self.crash_at is not None and self.writes == self.crash_at:
            self.crash_at = None
            raise Crashed
        self.writes += 1
        self.log.append(what)

    def _check(self, arms: Sequence[Json]) -> None:
        """What must hold of every traffic that is ever written."""
        assert sum(arm["weight"] for arm in arms) == 100
        assert [arm["role"] for arm in arms].count("Stable") == 1
        assert len({arm["name"] for arm in arms}) == len(arms)
        before = {
            arm["releaseRef"]["name"] for arm in self.pool["spec"].get("traffic") or () if arm["weight"]
        }
        for arm in arms:
            name = arm["releaseRef"]["name"]
            release = self.objects.get(Reference(MODEL_RELEASE, NAMESPACE, name), {})
            verified = release.get("status", {}).get("verified") is True
            assert verified or not arm["weight"] or name in (before or {"a"}), arms
        # Nothing is done that was not decided, and written, before.
        decided = [
            {key: arm[key] for key in ("name", "weight", "role")} | {"releaseRef": {"name": arm["release"]}}
            for arm in self.status["traffic"]
        ]
        assert list(arms) == decided
        step = self.status.get("step") or {}
        if step.get("reason") == "Detected":
            assert self.status["detection"]["rollout"] == self.status["rollout"]
