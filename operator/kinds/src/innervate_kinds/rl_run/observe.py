"""Gathers what a run names, and what is there of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import CONFIG_MAP, JOB, Reference
from innervate_kinds.environment.model import ENVIRONMENT, Environment
from innervate_kinds.model_release.model import MODEL_RELEASE, ModelRelease
from innervate_kinds.parts import jobs, placement, pods, progress
from innervate_kinds.parts.jobs import JobState
from innervate_kinds.rl_run import names, result
from innervate_kinds.rl_run.state import Observed, SeedJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from innervate_kinds.api.reader import HttpProbe, ProbeResult, Reader
    from innervate_kinds.rl_run.model import RLRun

_INDEX = "batch.kubernetes.io/job-completion-index"
"""Label by which the pods of a Job are numbered; the first one speaks for all."""


def references(run: RLRun) -> Sequence[Reference]:
    """The environment, the releases, and the pool of nodes."""
    namespace = run.metadata.namespace
    return (
        Reference(ENVIRONMENT, namespace, run.spec.environment_ref.name),
        *(Reference(MODEL_RELEASE, namespace, name) for name in _releases(run)),
        *placement.references(run.spec.placement, run.metadata),
    )


def observe(run: RLRun, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read what the run names, its Jobs and their pods."""
    namespace = run.metadata.namespace
    environment = reader.get(Reference(ENVIRONMENT, namespace, run.spec.environment_ref.name))
    base, publish = run.spec.policy.release_ref, run.spec.publish
    running = [pod for pod in pods.owned(reader, run.metadata) if _speaks(pod)]
    return Observed(
        environment=Environment.model_validate(environment) if environment else None,
        base=_release(run, reader, base.name if base else ""),
        placement=placement.observe(run.spec.placement, run.metadata, reader),
        seeds=dict(_seeds(run, reader, running, probes)),
        published=_release(run, reader, publish.release_name if publish else ""),
        job_sets=reader.available(names.JOB_SET),
    )


def probes(run: RLRun, observed: Observed) -> Sequence[HttpProbe]:
    """Ask the pod of every seed that trains how far it is."""
    found: list[HttpProbe] = []
    if run.status and run.status.end_time:
        return found
    for job in observed.seeds.values():
        last = job.state.last
        if last and last.address and last.phase == "Running" and not job.state.finished:
            found.append(progress.probe(last, result.decode))
    return tuple(found)


def _seeds(
    run: RLRun,
    reader: Reader,
    running: Sequence[Mapping[str, Any]],
    answers: Mapping[str, ProbeResult],
) -> Iterator[tuple[int, SeedJob]]:
    for number in range(run.spec.seeds):
        name, component = names.seed(run.metadata.name, number), names.component(number)
        for kind, read in ((JOB, jobs.job), (names.JOB_SET, _job_set)):
            found = pods.mine(reader, run.metadata, kind, name)
            state = read(found, running, component)
            if found is None or state is None:
                continue
            answer = answers.get(progress.name(state.last.name)) if state.last else None
            yield (
                number,
                SeedJob(
                    kind=kind,
                    uid=found["metadata"].get("uid", ""),
                    state=state,
                    suspended=bool(found["spec"].get("suspend")),
                    since=state.started if kind == JOB else _since(found),
                    deadline_seconds=found["spec"].get("activeDeadlineSeconds")
                    if kind == JOB
                    else _allowed(found),
                    configured=pods.mine(reader, run.metadata, CONFIG_MAP, name) is not None,
                    progress=result.progress(answer.value) if answer and answer.value else None,
                ),
            )
            break


def _job_set(
    found: Mapping[str, Any] | None, running: Sequence[Mapping[str, Any]], component: str
) -> JobState | None:
    """What a JobSet and its pods tell; None where it is not there."""
    if found is None:
        return None
    status = found.get("status") or {}
    held = {each["type"]: each for each in status.get("conditions") or () if each["status"] == "True"}
    failure, end = held.get("Failed"), held.get("Failed") or held.get("Completed")
    created = found["metadata"].get("creationTimestamp")
    return JobState(
        succeeded="Completed" in held,
        failed=failure.get("reason", "Failed") if failure else "",
        failed_message=failure.get("message", "") if failure else "",
        attempts_failed=status.get("restarts", 0),
        started=pods.time(created) if created else None,
        ended=pods.time(end["lastTransitionTime"]) if end else None,
        pods=pods.of_component(jobs.of_job(running, names.job_of(found["metadata"]["name"])), component),
    )


def _since(job_set: Mapping[str, Any]) -> datetime | None:
    """When a JobSet began, or went on; None where its controller has not let it go on yet."""
    conditions = (job_set.get("status") or {}).get("conditions") or ()
    held = next((each for each in conditions if each["type"] == "Suspended"), None)
    if held is None:
        created = job_set["metadata"].get("creationTimestamp")
        return pods.time(created) if created else None
    return None if held["status"] == "True" else pods.time(held["lastTransitionTime"])


def _allowed(job_set: Mapping[str, Any]) -> int | None:
    """Seconds of a JobSet with all its attempts: what was left as it was held, else what each has."""
    left = (job_set["metadata"].get("annotations") or {}).get(names.REMAINING, "")
    if left.isdecimal():
        return int(left)
    replicated: Sequence[Mapping[str, Any]] = job_set["spec"].get("replicatedJobs") or ()
    return next((each["template"]["spec"].get("activeDeadlineSeconds") for each in replicated), None)


def _speaks(pod: Mapping[str, Any]) -> bool:
    labels: Mapping[str, str] = pod["metadata"].get("labels") or {}
    return labels.get(_INDEX, "0") == "0"


def _releases(run: RLRun) -> Iterator[str]:
    if run.spec.policy.release_ref:
        yield run.spec.policy.release_ref.name
    if run.spec.publish:
        yield run.spec.publish.release_name


def _release(run: RLRun, reader: Reader, name: str) -> ModelRelease | None:
    found = name and reader.get(Reference(MODEL_RELEASE, run.metadata.namespace, name))
    return ModelRelease.model_validate(found) if found else None
