"""An RLRun's world as plain objects: the room's own functions run in it as the runtime runs them.

Time, the environment, Jobs with their trainers and the verification of releases are played by the test.
"""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.conditions import merge
from innervate_kinds.api.kind import JOB, POD, Kind, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.environment.model import ENVIRONMENT
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.parts.trainers import SIDECAR, TRAINER
from innervate_kinds.rl_run.model import RL_RUN, RLRun
from innervate_kinds.rl_run.room import ROOM
from kinds_cluster import CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.plan import Plan

Json = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)
NAMESPACE, UID, NAME = "shop", "5d0f7a52-0000-4000-8000-0000000000bb", "run"
_SEED = "app.kubernetes.io/component"


class Crashed(Exception):
    """The operator is gone; the world goes on."""


class World:
    """One run and everything around it.

    Parameters
    ----------
    spec
        The run's specification, but for environment, policy and algorithm.
    results
        What the trainer of each seed reports; its release is made of the seed's number.
    """

    def __init__(self, spec: Json, results: Mapping[int, Json]) -> None:
        self.now = START
        self.objects: dict[Reference, Json] = {}
        self.results = results
        self.crash_at: int | None = None
        self.writes = 0
        self.log: list[str] = []
        self.made: list[str] = []
        self.put(ENVIRONMENT, "pole", {"source": {"jax": {"id": "CartPole-v1"}}})
        self.environment_ready(ready=True)
        base = {
            "environmentRef": {"name": "pole"},
            "policy": {"architecture": {}},
            "algorithm": {"name": "PPO"},
            "budget": {"steps": 1000},
        }
        self.put(RL_RUN, NAME, {**base, **spec}, uid=UID)

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
        return kind.group != "jobset.x-k8s.io"

    # What people and other controllers do.

    def put(self, kind: Kind, name: str, spec: Json, *, uid: str = "", **metadata: Any) -> Json:
        manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "uid": uid or f"{kind.kind}-{name}",
                "generation": 1,
                "creationTimestamp": self.now.isoformat(),
                **metadata,
            },
            "spec": copy.deepcopy(spec),
        }
        self.objects[Reference(kind, NAMESPACE, name)] = manifest
        return manifest

    @property
    def run(self) -> Json:
        return self.objects[Reference(RL_RUN, NAMESPACE, NAME)]

    @property
    def status(self) -> Json:
        found: Json = self.run.get("status", {})
        return found

    @property
    def ended(self) -> tuple[str, str]:
        """Status and reason of the condition `Succeeded`."""
        found = next((each for each in self.status.get("conditions", ()) if each["type"] == "Succeeded"), {})
        return found.get("status", ""), found.get("reason", "")

    @property
    def jobs(self) -> Mapping[int, Json]:
        """Jobs by seed."""
        found = {reference.name: item for reference, item in self.objects.items() if reference.kind == JOB}
        return {int(name.rpartition("-")[2]): item for name, item in found.items()}

    @property
    def at_work(self) -> list[int]:
        """Seeds whose Jobs are neither suspended nor at their end."""
        return [
            seed
            for seed, job in self.jobs.items()
            if not job["spec"].get("suspend") and "conditions" not in job["status"]
        ]

    def environment_ready(self, *, ready: bool) -> None:
        condition = {"type": "Ready", "status": str(ready), "reason": "Played", "message": ""}
        self.objects[Reference(ENVIRONMENT, NAMESPACE, "pole")]["status"] = {"conditions": [condition]}

    def suspend(self, *, suspend: bool) -> None:
        self.run["spec"]["suspend"] = suspend
        self.run["metadata"]["generation"] += 1

    def work(self) -> None:
        """Let every Job take one step: begin, get a pod, end."""
        for seed, job in sorted(self.jobs.items()):
            status = job.setdefault("status", {})
            reference = Reference(POD, NAMESPACE, f"pod-{seed}")
            if "conditions" in status:
                continue
            if job["spec"].get("suspend"):
                self.objects.pop(reference, None)
            elif reference not in self.objects:
                status["startTime"] = self.now.isoformat()
                self._pod(seed, {"running": {}}, {"running": {}}, "Running")
            else:
                self._end(seed, status)

    def kill(self, seed: int) -> None:
        """A trainer is killed; its Job begins another pod."""
        if seed in self.at_work and self.objects.pop(Reference(POD, NAMESPACE, f"pod-{seed}"), None):
            self.jobs[seed]["status"]["failed"] = self.jobs[seed]["status"].get("failed", 0) + 1

    def lose(self, seed: int) -> None:
        """A node vanishes, and with it the pod and what it said."""
        self.objects.pop(Reference(POD, NAMESPACE, f"pod-{seed}"), None)

    def expire(self, seed: int) -> None:
        """A Job and its pod are cleaned up."""
        self.lose(seed)
        self.objects.pop(Reference(JOB, NAMESPACE, f"{NAME}-rlrun-{seed}"), None)

    def verify(self) -> None:
        """Verify every release there is."""
        for release in self.list(MODEL_RELEASE):
            condition = {"type": "Verified", "status": "True", "reason": "Verified", "message": ""}
            release["status"] = {"verified": True, "conditions": [condition]}

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # The runtime.

    def visit(self) -> None:
        """One reconcile, as the runtime does it."""
        run = RLRun.model_validate(self.run)
        observed = ROOM.observe(run, self, {})
        plan = ROOM.plan(run, observed, CONFIG, self.now)
        self._execute(plan)
        told = ROOM.status(run, ROOM.observe(run, self, {}), plan, (), self.now)
        previous = run.status.conditions if run.status else ()
        stamped = merge(previous, told.conditions, generation=run.metadata.generation, now=self.now)
        content = told.model_copy(update={"conditions": stamped}).model_dump(
            mode="json", by_alias=True, exclude_none=True
        )
        if content != self.status:
            self._write("status")
            self.run["status"] = content

    def finish(self) -> None:
        """Let everything happen until the run is at its end."""
        for _ in range(200):
            try:
                self.visit()
                self.visit()
            except Crashed:
                continue
            if "endTime" in self.status:
                self.visit()
                return
            self.work()
            self.verify()
            self.pass_time(20)
        raise AssertionError(f"the run does not end: {self.status}")

    def _execute(self, plan: Plan) -> None:
        for child in plan.apply:
            reference = Reference.of(child.kind, child.manifest)
            if reference in self.objects:
                continue
            self._write(f"apply {reference}")
            self.made.append(str(reference))
            manifest = copy.deepcopy(child.manifest)
            manifest["metadata"] |= {"uid": f"{len(self.made)}-{reference.name}", "generation": 1}
            self.objects[reference] = manifest | {"status": {}}
        for reference in plan.delete:
            if reference in self.objects:
                self._write(f"delete {reference}")
                del self.objects[reference]
                self.objects.pop(Reference(POD, NAMESPACE, f"pod-{reference.name.rpartition('-')[2]}"), None)
        for patch in plan.patches:
            reference = Reference.of(patch.kind, patch.manifest)
            self._write(f"patch {reference}")
            assert self.objects[reference]["metadata"]["uid"] == patch.manifest["metadata"]["uid"]
            self.objects[reference]["spec"] |= patch.manifest["spec"]

    def _write(self, what: str) -> None:
        if self.crash_at == self.writes:
            self.crash_at = None
            raise Crashed
        self.writes += 1
        self.log.append(what)

    def _pod(self, seed: int, trainer: Json, sidecar: Json, phase: str) -> None:
        labels = {OWNER_UID: UID, _SEED: f"seed-{seed}"}
        pod = self.put(POD, f"pod-{seed}", {}, labels=labels)
        pod["status"] = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(phase == "Running")}],
            "podIP": f"10.0.0.{seed}",
            "initContainerStatuses": [{"name": SIDECAR, "state": sidecar}],
            "containerStatuses": [{"name": TRAINER, "state": trainer}],
        }

    def _end(self, seed: int, status: Json) -> None:
        words = {"final": True, "result": self.results[seed], "release": f"sha256:{seed:064x}"}
        said = {"terminated": {"exitCode": 0, "reason": "Completed", "message": json.dumps(words)}}
        self._pod(seed, {"terminated": {"exitCode": 0, "reason": "Completed"}}, said, "Succeeded")
        moment = self.now.isoformat()
        status |= {
            "completionTime": moment,
            "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": moment}],
        }
