"""What an environment waits for before it can be placed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.environment.reasons import Reason
from innervate_kinds.parts import dataset

if TYPE_CHECKING:
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.environment.model import Environment
    from innervate_kinds.environment.state import Observed


def references(environment: Environment, observed: Observed) -> Condition:
    """Whether every name in the specification leads somewhere; the first that does not."""
    namespace, tasks = environment.metadata.namespace, environment.spec.source.tasks
    if tasks and observed.dataset is None:
        message = dataset.missing(tasks.dataset, namespace, field="spec.source.tasks.dataset")
        return conditions.false(conditions.RESOLVED_REFS, Reason.DATASET_NOT_FOUND, message)
    return _placement(environment, observed) or conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED)


def _placement(environment: Environment, observed: Observed) -> Condition | None:
    placement = environment.spec.placement
    if placement is None or (observed.pool and observed.pool.allowed):
        return None
    name = placement.compute_pool_ref.name
    if environment.spec.source.jax:
        # Nothing is placed: whoever trains is.
        return None
    if observed.pool is None:
        message = (
            f"ComputePool {name!r}, named in spec.placement.computePoolRef, does not exist; create it, or "
            "name one of `kubectl get computepools`"
        )
        return conditions.false(conditions.RESOLVED_REFS, Reason.COMPUTE_POOL_NOT_FOUND, message)
    message = (
        f"ComputePool {name!r} does not allow namespace {environment.metadata.namespace!r}; label the "
        f"namespace as its spec.allowedNamespaces wants: `kubectl get computepool {name} -o yaml`"
    )
    return conditions.false(conditions.RESOLVED_REFS, Reason.COMPUTE_POOL_NOT_ALLOWED, message)
