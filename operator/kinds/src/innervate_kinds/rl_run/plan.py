"""Decides what a run needs: a Job for each seed whose turn it is, and a release of the best of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE_ACCOUNT,
    Reference,
)
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.plan import Child, Note, Patch, Plan
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.parts import progress, releases
from innervate_kinds.parts.children import Maker
from innervate_kinds.rl_run import budget, engine, names, result, waiting
from innervate_kinds.rl_run.names import APPLICATION, RUN_COMPONENT, Names
from innervate_kinds.rl_run.record import SeedState
from innervate_kinds.rl_run.seeds import ENDED, seeds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.rl_run.model import RLRun
    from innervate_kinds.rl_run.state import Observed, SeedJob

UNSETTLED_SECONDS = 10.0
"""Time to the next visit before the end."""


def plan(run: RLRun, observed: Observed, config: Config, now: datetime) -> Plan:
    """Plan a run's children.

    What stands in the status of a seed's end needs no Job any more: it may vanish, and is not made again.
    """
    notes = _notes(run, observed, config)
    if finished(run):
        return Plan(delete=tuple(_left(run, observed)), notes=notes)
    if run.status and run.status.best_seed is not None:
        return Plan(apply=_published(run), requeue_after=UNSETTLED_SECONDS, notes=notes)
    return Plan(
        apply=(*_shared(run, observed, config), *_training(run, observed, config, now)),
        delete=tuple(_lost(run, observed, now)),
        patches=tuple(_held(run, observed, now)),
        requeue_after=UNSETTLED_SECONDS,
        notes=notes,
    )


def finished(run: RLRun) -> bool:
    """Whether the status tells how the run ended."""
    return run.status is not None and run.status.end_time is not None


def _shared(run: RLRun, observed: Observed, config: Config) -> Iterator[Child]:
    own, make, storage = Names.of(run.metadata.name), Maker(run.metadata, APPLICATION), run.spec.storage
    volume: Manifest = {
        "accessModes": [storage.access_mode.value],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name:
        volume["storageClassName"] = storage.storage_class_name
    yield make.child(SERVICE_ACCOUNT, own.run, RUN_COMPONENT, automountServiceAccountToken=False)
    yield make.child(CONFIG_MAP, own.trust, RUN_COMPONENT, data=workload.trust_data(config))
    yield make.child(PERSISTENT_VOLUME_CLAIM, own.data, RUN_COMPONENT, spec=volume)
    if observed.environment is not None:
        yield make.child(NETWORK_POLICY, own.run, RUN_COMPONENT, spec=_network(run, observed, config))


def _network(run: RLRun, observed: Observed, config: Config) -> Manifest:
    """Who may speak with the pods of all seeds, and with whom they may."""
    selector = {"app.kubernetes.io/name": APPLICATION, OWNER_UID: run.metadata.uid}
    environment = observed.environment
    egress = [network.dns(), *network.telemetry(config)]
    if environment and environment.spec.source.jax is None:
        served = {OWNER_UID: environment.metadata.uid}
        ports = [network.port(workload.GRPC_PORT)]
        egress.append({"to": [{"podSelector": {"matchLabels": served}}], "ports": ports})
    if observed.base:
        egress += [rule for rule in releases.egress(observed.base.spec.artifact) if rule not in egress]
    # Progress and metrics: the operator reads them, and whoever gathers metrics.
    ingress: list[Manifest] = [{"from": [{"namespaceSelector": {}}], "ports": [network.port(progress.PORT)]}]
    if run.spec.engine.external and run.spec.engine.external.nodes > 1:
        among = {"podSelector": {"matchLabels": selector}}
        ingress.append({"from": [among]})
        egress.append({"to": [among]})
    return {
        "podSelector": {"matchLabels": selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }


def _training(run: RLRun, observed: Observed, config: Config, now: datetime) -> Iterator[Child]:
    """What runs the seeds whose turn it is: those that began, and the next ones while there is room."""
    found = seeds(run, observed, now)
    open_ = [each.seed for each in found if each.state not in ENDED]
    begun = [number for number in open_ if number in observed.seeds]
    failed = any(each.state is SeedState.FAILED for each in found)
    unresolved = waiting.unresolved(run, observed)
    fit = unresolved is None and not run.spec.suspend and not failed
    room = max(run.spec.parallelism - len(begun), 0) if fit else 0
    for number in sorted(begun + [number for number in open_ if number not in begun][:room]):
        job = observed.seeds.get(number)
        if job is None or (not job.configured and unresolved is None):
            yield from engine.children(run, number, observed, config, begun=job is not None)


def _held(run: RLRun, observed: Observed, now: datetime) -> Iterator[Patch]:
    """Hold Jobs, or let them go on; whose queue decides is left to it.

    Kubernetes counts a Job's time anew when it goes on, so the time it had is taken off as it is held. A
    JobSet has no time of its own: what is left of it is written on it, and the operator ends it.
    """
    if run.spec.queue:
        return
    for number, job in observed.seeds.items():
        if job.state.finished or job.suspended == run.spec.suspend:
            continue
        spec: Manifest = {"suspend": run.spec.suspend}
        metadata: Manifest = {
            "name": names.seed(run.metadata.name, number),
            "namespace": run.metadata.namespace,
            "uid": job.uid,
        }
        if job.deadline_seconds is not None:
            left = _remaining(job, now) if run.spec.suspend else job.deadline_seconds
            if job.kind == names.JOB_SET:
                metadata["annotations"] = {names.REMAINING: str(left)}
            else:
                spec["activeDeadlineSeconds"] = left
        kind = job.kind
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}
        yield Patch(kind, manifest, names.SUSPEND_MANAGER)


def _remaining(job: SeedJob, now: datetime) -> int:
    used = (now - job.since).total_seconds() if job.since else 0
    return max(int((job.deadline_seconds or 0) - used), 1)


def _lost(run: RLRun, observed: Observed, now: datetime) -> Iterator[Reference]:
    """Jobs that ended and whose words nobody heard; another attempt finds all on the volume."""
    told = {each.seed for each in run.status.seeds if each.state in ENDED} if run.status else set()
    for number, job in observed.seeds.items():
        if number not in told and result.is_lost(job.state, now):
            yield Reference(job.kind, run.metadata.namespace, names.seed(run.metadata.name, number))


def _left(run: RLRun, observed: Observed) -> Iterator[Reference]:
    """Jobs that still run although the run is at its end."""
    for number, job in observed.seeds.items():
        if not job.state.finished:
            yield Reference(job.kind, run.metadata.namespace, names.seed(run.metadata.name, number))


def _published(run: RLRun) -> tuple[Child, ...]:
    """The ModelRelease of the best seed; it outlives the run, as pools serve it."""
    publish, status = run.spec.publish, run.status
    best = next((each for each in status.seeds if each.seed == status.best_seed), None) if status else None
    if publish is None or best is None or best.release is None:
        return ()
    spec = {
        "artifact": {"uri": publish.uri, "digest": best.release},
        "signing": publish.signing.model_dump(mode="json", by_alias=True),
    }
    maker = Maker(run.metadata, APPLICATION)
    made = maker.child(MODEL_RELEASE, publish.release_name, RUN_COMPONENT, spec=spec)
    return (Child(made.kind, made.manifest, owned=False, adopt=True),)


def _notes(run: RLRun, observed: Observed, config: Config) -> tuple[Note, ...]:
    spec, account = run.spec, Names.of(run.metadata.name).run
    egress = ["DNS", f"Environment {spec.environment_ref.name}"]
    if config.otlp_endpoint:
        egress.append(f"telemetry {config.otlp_endpoint}")
    notes = [
        Note("permission", f"{run.metadata.namespace}/{account} practises in {spec.environment_ref.name}"),
        *(Note("egress", text) for text in egress),
    ]
    if spec.publish:
        notes.append(
            Note(
                "permission",
                f"trains into {spec.publish.uri} and makes ModelRelease {spec.publish.release_name}",
            )
        )
    return (*notes, Note("cost", _cost(run, observed)))


def _cost(run: RLRun, observed: Observed) -> str:
    allowed = budget.allowance(run, observed.placement)
    times = f"each of {run.spec.seeds} seeds ends after {allowed.whole} s at the latest"
    if observed.placement is None:
        missing = (
            "the ComputePool is not there" if run.spec.placement else "spec.placement names no ComputePool"
        )
        return f"not known: {missing}; {times}"
    limit = f", {run.spec.budget.cost} at most" if run.spec.budget.cost else ""
    return f"{observed.placement.spec.cost_per_hour} per hour for the node of each pod{limit}; {times}"
