"""What a run waits for before a seed can train."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.api.conditions import READY
from innervate_kinds.api.resource import ConditionStatus
from innervate_kinds.model_release.model import VERIFIED, is_verified
from innervate_kinds.rl_run import budget
from innervate_kinds.rl_run.model import AlgorithmName
from innervate_kinds.rl_run.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_kinds.environment.model import Environment
    from innervate_kinds.rl_run.model import RLRun
    from innervate_kinds.rl_run.state import Observed


class Wait(NamedTuple):
    """One thing that is not as it must be."""

    reason: Reason
    message: str


def unresolved(run: RLRun, observed: Observed) -> Wait | None:
    """The first thing that the specification names and that is not there or not fit; None where all is."""
    return next(_waits(run, observed), None)


def _waits(run: RLRun, observed: Observed) -> Iterator[Wait]:
    namespace, name = run.metadata.namespace, run.spec.environment_ref.name
    if observed.environment is None:
        yield Wait(
            Reason.ENVIRONMENT_NOT_FOUND,
            f"Environment {name!r}, named in spec.environmentRef, does not exist; create it, or name one of "
            f"`kubectl get -n {namespace} environments.innervate.dev`",
        )
    else:
        yield from _environment(run, observed.environment)
    yield from _base(run, observed)
    yield from _placement(run, observed)
    if budget.allowance(run, observed.placement).whole < budget.LEAST_SECONDS:
        yield Wait(
            Reason.BUDGET_TOO_SMALL,
            f"spec.budget.cost {run.spec.budget.cost} buys less than {budget.LEAST_SECONDS} s for each of "
            f"{run.spec.seeds} seeds; create a run with a larger one, or with fewer seeds",
        )


def _environment(run: RLRun, environment: Environment) -> Iterator[Wait]:
    name, source = environment.metadata.name, environment.spec.source
    algorithm = run.spec.algorithm.name
    language = algorithm is AlgorithmName.GRPO
    if run.spec.engine.external is None and language != (source.tasks is not None):
        yield Wait(
            Reason.ENVIRONMENT_UNFIT,
            f"Environment {name!r} is {'no' if language else 'a'} set of tasks: "
            f"{algorithm} needs {'one' if language else 'a gymnasium or jax source'}",
        )
    ready = environment.status.condition(READY) if environment.status else None
    if ready is None or ready.status is not ConditionStatus.TRUE:
        told = f": {ready.message}" if ready and ready.message else ""
        yield Wait(Reason.ENVIRONMENT_NOT_READY, f"Environment {name!r} is not ready{told}")
    elif source.jax is None and not (environment.status and environment.status.endpoint):
        yield Wait(Reason.ENVIRONMENT_NOT_READY, f"Environment {name!r} has no endpoint yet")
    elif source.jax is not None and run.spec.engine.external is not None:
        yield Wait(
            Reason.ENVIRONMENT_UNFIT,
            f"Environment {name!r} runs inside the built-in trainer, and has no endpoint for another one",
        )


def _base(run: RLRun, observed: Observed) -> Iterator[Wait]:
    reference, namespace = run.spec.policy.release_ref, run.metadata.namespace
    if reference is None:
        return
    if observed.base is None:
        yield Wait(
            Reason.RELEASE_NOT_FOUND,
            f"ModelRelease {reference.name!r}, named in spec.policy.releaseRef, does not exist; create it, "
            f"or name one of `kubectl get -n {namespace} modelreleases`",
        )
    elif not is_verified(observed.base):
        told = observed.base.status.condition(VERIFIED) if observed.base.status else None
        why = f": {told.message}" if told and told.message else ""
        yield Wait(Reason.RELEASE_NOT_VERIFIED, f"ModelRelease {reference.name!r} is not verified{why}")


def _placement(run: RLRun, observed: Observed) -> Iterator[Wait]:
    if run.spec.placement is None:
        return
    name = run.spec.placement.compute_pool_ref.name
    if observed.placement is None:
        yield Wait(
            Reason.COMPUTE_POOL_NOT_FOUND,
            f"ComputePool {name!r}, named in spec.placement.computePoolRef, does not exist; create it, or "
            "name one of `kubectl get computepools`",
        )
    elif not observed.placement.allowed:
        yield Wait(
            Reason.COMPUTE_POOL_NOT_ALLOWED,
            f"ComputePool {name!r} does not allow namespace {run.metadata.namespace!r}; label the namespace "
            f"as its spec.allowedNamespaces wants: `kubectl get computepool {name} -o yaml`",
        )
