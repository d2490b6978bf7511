"""Gathers what is there of an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import DEPLOYMENT, POD_DISRUPTION_BUDGET
from innervate_kinds.environment import probe
from innervate_kinds.environment.names import SERVER, Names
from innervate_kinds.environment.state import Observed, ServerPod
from innervate_kinds.parts import dataset, placement, pods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.kind import Reference
    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.environment.model import Environment


def references(environment: Environment) -> Sequence[Reference]:
    """The tasks, and the pool of nodes with what it decides by."""
    tasks, owner = environment.spec.source.tasks, environment.metadata
    return (
        *((dataset.reference(tasks.dataset, owner.namespace),) if tasks else ()),
        *placement.references(environment.spec.placement, owner),
    )


def observe(environment: Environment, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the environment's children, what it refers to, and the last answers of its servers."""
    owner = environment.metadata
    name = Names.of(owner.name).server
    running = pods.owned(reader, owner)
    workload = pods.workload(pods.mine(reader, owner, DEPLOYMENT, name), running, SERVER)
    return Observed(
        workload=workload,
        servers=tuple(
            ServerPod(name=pod.name, address=pod.address, answer=probes.get(probe.name(pod.name)))
            for pod in (workload.pods if workload else ())
            if pod.ready and pod.address
        ),
        dataset=_dataset(environment, reader),
        pool=placement.observe(environment.spec.placement, owner, reader),
        disruption_budget=pods.mine(reader, owner, POD_DISRUPTION_BUDGET, name) is not None,
    )


def _dataset(environment: Environment, reader: Reader) -> str | None:
    tasks = environment.spec.source.tasks
    if tasks is None:
        return None
    found = reader.get(dataset.reference(tasks.dataset, environment.metadata.namespace))
    if found is None:
        return None
    # A claim's version says nothing about the file on its volume.
    return found["metadata"].get("resourceVersion", "") if tasks.dataset.config_map_ref else ""
