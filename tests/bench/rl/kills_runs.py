"""Small runs of PPO on a real cluster, and what each of them leaves behind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.csv
from innervate_rl import curves
from innervate_rl.experience import parts

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

CORE, EDGE = "core", "edge"
"""ComputePools of one node each; the edge is the one that can be cut off."""
JAX, SERVED, FAR = "pole-jax", "pole-served", "pole-far"
"""Environments: inside the trainer, served from the core, and served from the edge."""
BUDGETS: Final = {JAX: 600_000, SERVED: 30_000, FAR: 30_000}
"""Steps: enough for a blow to find the trainer at work."""
_EVERY: Final = {JAX: 20_000, SERVED: 2_000, FAR: 2_000}
_POOLS: Final = {CORE: ("cpu", "Connected"), EDGE: ("edge", "Intermittent")}
_SEED: Final = "0"
_TYPES: Final = {
    "split": pa.string(),
    "iteration": pa.int64(),
    "episode": pa.int64(),
    "step": pa.int32(),
    "action": pa.int64(),
    "reward": pa.float64(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
    "valid": pa.bool_(),
    "policy": pa.string(),
}
"""What of a row does not tell one run and attempt from another."""
_READY_SECONDS: Final = 300.0


class Outcome(NamedTuple):
    """What a run came to; the same for two runs of the same specification, however they were disturbed."""

    parameters: str
    steps: int
    curve: str
    """SHA-256 over every update's figures, without the time that it took."""
    experience: str
    """SHA-256 over what was done and by which policy, step by step."""
    rows: int


class Left(NamedTuple):
    """What a run left on its volume."""

    outcome: Outcome
    valid: int
    infrastructure: int
    verifier: int
    doubled: int
    """Rows of experience about a step that another row is about as well."""


@dataclass(frozen=True)
class Runs:
    """A namespace with environments, and the runs in it.

    Parameters
    ----------
    lab
        The cluster.
    namespace
        Where they are.
    """

    lab: Lab
    namespace: str

    def prepare(self) -> None:
        """Make pools and environments."""
        self.lab.apply(*(self._pool(name) for name in _POOLS))
        jax = {"source": {"jax": {"id": "CartPole-v1"}}}
        served = {"source": {"gymnasium": {"id": "CartPole-v1"}}, "instancesPerProcess": 8}
        self.lab.apply(
            self._object("Environment", JAX, jax),
            self._object("Environment", SERVED, {**served, **_placed(CORE)}),
            self._object("Environment", FAR, {**served, **_placed(EDGE)}),
        )
        for name in (JAX, SERVED, FAR):
            self.lab.ready("environment", name, self.namespace, seconds=_READY_SECONDS)

    def declare(self, name: str, environment: str, pool: str) -> None:
        """Declare a run in an environment, whose trainer is on the nodes of a pool."""
        resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
        spec = {
            "environmentRef": {"name": environment},
            "policy": {"architecture": {"hiddenSizes": [64, 64]}},
            "algorithm": {"name": "PPO"},
            "engine": {"builtin": {"resources": resources}},
            "budget": {"steps": BUDGETS[environment], "seconds": 1800},
            "checkpoint": {"everySteps": _EVERY[environment]},
            "experience": {"keep": "All", "maxEpisodes": 1_000_000},
            "storage": {"size": "256Mi"},
            **_placed(pool),
        }
        self.lab.apply(self._object("RLRun", name, spec))

    def status(self, name: str) -> dict[str, Any]:
        """Status of a run; empty where there is none."""
        found: dict[str, Any] = (self.lab.read("rlrun", name, self.namespace) or {}).get("status") or {}
        return found

    def succeeded(self, name: str) -> tuple[str, str, str]:
        """Status, reason and message of the run's condition `Succeeded`."""
        found = self.lab.condition("rlrun", name, "Succeeded", self.namespace)
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    def failed_attempts(self, name: str) -> int:
        """How many attempts of a run's trainer ended otherwise than well."""
        job = self.lab.read("job", f"{name}-rlrun-{_SEED}", self.namespace) or {}
        count: int = job.get("status", {}).get("failed", 0)
        return count

    def left(self, name: str) -> Left:
        """What a run that ended left: nodes keep their volumes on this machine."""
        claim = self.lab.read("persistentvolumeclaim", f"{name}-rlrun-data", self.namespace) or {}
        volume = (self.lab.read("persistentvolume", claim["spec"]["volumeName"]) or {})["spec"]
        path = (volume.get("hostPath") or volume["local"])["path"]
        return read(Path(path) / "seeds" / _SEED)

    def forget(self, name: str) -> None:
        """Delete a run and what it left."""
        self.lab.kubectl("delete", "rlrun", name, "-n", self.namespace, "--wait=false")

    def story(self, name: str) -> str:
        """What is to be known of a run that went wrong."""
        told = self.lab.kubectl("get", "rlrun", name, "-n", self.namespace, "--output=yaml")
        chosen = ("-l", f"app.kubernetes.io/instance={name}", "-n", self.namespace)
        logs = self.lab.kubectl("logs", *chosen, "--all-containers", "--prefix", "--tail=200")
        return "\n".join((told, self.lab.story(self.namespace), logs))

    def _object(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "innervate.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    @staticmethod
    def _pool(name: str) -> dict[str, Any]:
        label, connectivity = _POOLS[name]
        spec = {
            "class": label,
            "nodeSelector": {"innervate.dev/pool": label},
            "connectivity": connectivity,
        }
        metadata = {"name": name}
        return {
            "apiVersion": "innervate.dev/v1alpha1",
            "kind": "ComputePool",
            "metadata": metadata,
            "spec": spec,
        }


def read(seed: Path) -> Left:
    """Read what a seed left in its directory."""
    result = json.loads((seed / "result.json").read_text())
    points = [
        {name: value for name, value in point.items() if name != "time"}
        for point in curves.read(seed / curves.FILE)
    ]
    table = _experience(seed / "experience")
    steps = table.group_by(["split", "episode", "step"]).aggregate([]).num_rows
    written = pa.BufferOutputStream()
    pa.csv.write_csv(table, written)
    outcome = Outcome(
        parameters=result["parameters"],
        steps=result["steps"],
        curve=_digest(json.dumps(points).encode()),
        experience=_digest(written.getvalue()),
        rows=table.num_rows,
    )
    return Left(outcome, **result["rollouts"], doubled=table.num_rows - steps)


def _experience(directory: Path) -> Any:
    """All rows in order, without what tells one run and attempt from another."""
    tables = [_plain(each) for part in parts.current(directory) for each in part.tables(list(_TYPES))]
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in ("split", "episode", "step")])


def _plain(table: Any) -> Any:
    """The same columns of the same types, in whatever part of the experience they are."""
    return table.select(list(_TYPES)).cast(pa.schema(_TYPES))


def _digest(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


def _placed(pool: str) -> dict[str, Any]:
    return {"placement": {"computePoolRef": {"name": pool}}}
