"""What runs a seed: a Job; for an external trainer a JobSet where the cluster has that kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.kind import CONFIG_MAP, JOB, SERVICE
from innervate_kinds.parts import trainers
from innervate_kinds.parts.children import Maker
from innervate_kinds.rl_run import budget, containers, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_kinds.api.plan import Child, Config, Manifest
    from innervate_kinds.rl_run.model import RLRun
    from innervate_kinds.rl_run.state import Observed

ATTEMPTS = 8
"""Attempts of a seed that may fail; each goes on at the last checkpoint, after growing pauses."""
KEEP_SECONDS = 3600
"""How long what ended is kept, for its log."""
_SCRAPED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(workload.HEALTH_PORT),
    "prometheus.io/path": "/metrics",
}
"""Annotations of pods: where Prometheus finds the curves."""
_RESTARTS = "jobset.sigs.k8s.io/restart-attempt"
"""Annotation by which a JobSet numbers its attempts, from 0."""


def children(run: RLRun, number: int, observed: Observed, config: Config, *, begun: bool) -> Iterator[Child]:
    """A seed's file, and what runs it.

    The file stays as its first attempt read it: what an Environment is meanwhile must not make the next
    one begin anew.

    Parameters
    ----------
    run, observed, config
        As in a plan.
    number
        The seed.
    begun
        Whether what runs it is there.
    """
    make, component = Maker(run.metadata, names.APPLICATION), names.component(number)
    name = names.seed(run.metadata.name, number)
    text = containers.configuration(run, number, observed, config)
    yield make.child(CONFIG_MAP, name, component, data={"config.json": text})
    if begun:
        return
    if _pods(run) > 1 and not _as_set(run, observed):
        # A JobSet makes this by itself.
        headless = {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": make.selector(component),
        }
        yield make.child(SERVICE, name, component, spec=headless)
    queue = run.spec.queue
    yield make.child(
        names.JOB_SET if _as_set(run, observed) else JOB,
        name,
        component,
        labels={names.QUEUE: queue.kueue_local_queue} if queue else {},
        spec={
            **_specification(run, number, observed, config, text),
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            **({"suspend": True} if queue else {}),
        },
    )


def _specification(run: RLRun, number: int, observed: Observed, config: Config, text: str) -> Manifest:
    as_set, pods = _as_set(run, observed), _pods(run)
    name = names.seed(run.metadata.name, number)
    spec = containers.pod(
        run,
        observed,
        config,
        config_map=name,
        coordinator=_coordinator(run, name, as_set=as_set),
        **({"attempt": _RESTARTS} if as_set else {}),
    )
    if pods > 1 and not as_set:
        spec["subdomain"] = name
    template = Maker(run.metadata, names.APPLICATION).template(
        names.component(number), configuration=workload.digest(text), spec=spec
    )
    template["metadata"]["annotations"] |= _SCRAPED
    whole = budget.allowance(run, observed.placement).whole
    if not as_set:
        return trainers.job(template, attempts=ATTEMPTS, deadline_seconds=whole, pods=pods)
    job = trainers.job(template, attempts=1, deadline_seconds=whole, pods=pods)
    # One pod that fails restarts all: those that are left would wait for it for ever.
    del job["backoffLimitPerIndex"]
    hopeless = {
        "name": "hopeless",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy", "DeadlineExceeded"],
    }
    return {
        "replicatedJobs": [
            {"name": names.REPLICATED, "replicas": 1, "template": {"spec": {**job, "backoffLimit": 0}}}
        ],
        "failurePolicy": {"maxRestarts": ATTEMPTS - 1, "rules": [hopeless]},
        "network": {"enableDNSHostnames": True, "subdomain": name},
    }


def _coordinator(run: RLRun, name: str, *, as_set: bool) -> str:
    """Host of the pod that the others of a seed find; empty where there are no others."""
    if _pods(run) == 1:
        return ""
    host = f"{name}-{names.REPLICATED}-0-0" if as_set else f"{name}-0"
    return f"{host}.{name}.{run.metadata.namespace}.svc"


def _as_set(run: RLRun, observed: Observed) -> bool:
    return run.spec.engine.external is not None and observed.job_sets


def _pods(run: RLRun) -> int:
    return run.spec.engine.external.nodes if run.spec.engine.external else 1
