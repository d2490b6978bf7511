"""Decides what an eval job needs: a Job that asks, once there is somebody to ask, until there is a result."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE_ACCOUNT,
    Reference,
)
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.plan import Note, Plan
from innervate_kinds.eval_job import containers, outcome, waiting
from innervate_kinds.eval_job.names import APPLICATION, RUNNER, Names
from innervate_kinds.parts import progress
from innervate_kinds.parts.children import Maker

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.api.plan import Child, Config, Manifest
    from innervate_kinds.eval_job.model import EvalJob
    from innervate_kinds.eval_job.state import Observed
    from innervate_kinds.inference_pool.model import InferencePool

UNSETTLED_SECONDS = 10.0
"""Time to the next visit before the end."""
ATTEMPTS = 6
"""Runners that may fail; each goes on where the one before ended."""
REFUSED = 2
"""Exit code of a runner whose successor would end the same."""
KEEP_SECONDS = 3600
"""How long a Job that ended is kept, for its log."""


def plan(job: EvalJob, observed: Observed, config: Config, now: datetime) -> Plan:
    """Plan an eval job's children.

    A result that stands in the status needs no Job any more: it may vanish, and is not made again.
    """
    if finished(job):
        return Plan(notes=_notes(job, observed, config))
    if observed.job and outcome.is_lost(observed.job, now):
        # Its pod is gone before anybody heard it; the next runner finds every answer in the log.
        reference = Reference(JOB, job.metadata.namespace, Names.of(job.metadata.name).job)
        return Plan(delete=(reference,), requeue_after=UNSETTLED_SECONDS)
    pool = observed.target
    waits = waiting.unresolved(job, observed) or waiting.unready(job, observed)
    if pool is None or (waits and observed.job is None):
        return Plan(requeue_after=UNSETTLED_SECONDS, notes=_notes(job, observed, config))
    return Plan(
        apply=_children(job, observed, config, pool),
        requeue_after=UNSETTLED_SECONDS,
        notes=_notes(job, observed, config),
    )


def finished(job: EvalJob) -> bool:
    """Whether the status tells how the job ended."""
    return job.status is not None and job.status.end_time is not None


def _children(job: EvalJob, observed: Observed, config: Config, pool: InferencePool) -> tuple[Child, ...]:
    names = Names.of(job.metadata.name)
    make = Maker(job.metadata, APPLICATION)
    endpoint = (pool.status.endpoint if pool.status else None) or ""
    storage = job.spec.storage
    volume: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name:
        volume["storageClassName"] = storage.storage_class_name
    children = (
        make.child(SERVICE_ACCOUNT, names.job, RUNNER, automountServiceAccountToken=False),
        make.child(CONFIG_MAP, names.trust, RUNNER, data=workload.trust_data(config)),
        make.child(PERSISTENT_VOLUME_CLAIM, names.data, RUNNER, spec=volume),
    )
    if not endpoint:
        return children
    text = containers.runner_config(job, config, endpoint=endpoint, model=pool.spec.model.name)
    return (
        *children,
        make.child(CONFIG_MAP, names.config, RUNNER, data={"config.json": text}),
        make.network(
            names.job,
            RUNNER,
            ingress=[
                {"from": [{"namespaceSelector": {}}], "ports": [network.port(workload.METRICS_PORT)]},
                progress.ingress(config),
            ],
            egress=[_gateway(pool, endpoint), network.dns(), *network.telemetry(config)],
        ),
        make.child(JOB, names.job, RUNNER, spec=_job(job, observed, config, make)),
    )


def _job(job: EvalJob, observed: Observed, config: Config, make: Maker) -> Manifest:
    return {
        "backoffLimit": ATTEMPTS,
        "activeDeadlineSeconds": job.spec.run.deadline_seconds,
        "ttlSecondsAfterFinished": KEEP_SECONDS,
        # Two runners must not write one log: a new pod waits until the old one is gone for certain.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": RUNNER, "operator": "In", "values": [REFUSED]},
                },
                # A drained node says nothing about the job.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {
            "metadata": {"labels": make.labels(RUNNER)},
            "spec": containers.pod(job, config, observed.placement),
        },
    }


def _gateway(pool: InferencePool, endpoint: str) -> Manifest:
    """Egress to the pods of the pool's gateway."""
    labels = {"app.kubernetes.io/component": "gateway", OWNER_UID: pool.metadata.uid}
    return {
        "to": [{"podSelector": {"matchLabels": labels}}],
        "ports": [network.port(urlsplit(endpoint).port or 443)],
    }


def _notes(job: EvalJob, observed: Observed, config: Config) -> tuple[Note, ...]:
    pool = job.spec.target.inference_pool_ref.name
    account = Names.of(job.metadata.name).job
    egress = ["DNS", f"gateway of InferencePool {pool}"]
    if config.otlp_endpoint:
        egress.append(f"telemetry {config.otlp_endpoint}")
    cost = (
        f"{observed.placement.spec.cost_per_hour} per hour for the node of the runner, while it runs"
        if observed.placement
        else "not known: no ComputePool is named in spec.run.placement"
    )
    return (
        Note("permission", f"{job.metadata.namespace}/{account} asks InferencePool {pool}"),
        *(Note("egress", text) for text in egress),
        Note("cost", cost),
    )
