"""Traffic as a pipeline decides it: one stable arm, at most one other, weights that sum to 100."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.learning_pipeline import names
from innervate_kinds.learning_pipeline.record import Arm, Role

if TYPE_CHECKING:
    from innervate_kinds.api.resource import ObjectMeta
    from innervate_kinds.learning_pipeline.state import Observed, PoolState

Traffic = tuple[Arm, ...]


def split(owner: ObjectMeta, rollout: int, *, stable: str, candidate: str, percent: int) -> Traffic:
    """Traffic of a rollout: the candidate's share, and the rest for the stable release."""
    first, second = names.arms(owner, rollout)
    return (
        Arm(name=first, release=stable, weight=100 - percent, role=Role.STABLE),
        Arm(name=second, release=candidate, weight=percent, role=Role.CANDIDATE),
    )


def whole(traffic: Traffic, arm: str) -> Traffic:
    """The same arms, with all traffic for one of them, which is then the stable one."""
    return tuple(
        each.model_copy(
            update={
                "weight": 100 if each.name == arm else 0,
                "role": Role.STABLE if each.name == arm else Role.CANDIDATE,
            }
        )
        for each in traffic
    )


def alone(traffic: Traffic) -> Traffic:
    """The stable arm with all traffic."""
    arm = stable(traffic)
    return (arm.model_copy(update={"weight": 100}),) if arm else ()


def stable(traffic: Traffic) -> Arm | None:
    """The stable arm; of traffic that names none, the heaviest one, as the stable one."""
    found = next((arm for arm in traffic if arm.role is Role.STABLE), None)
    if found or not traffic:
        return found
    return max(traffic, key=lambda arm: arm.weight).model_copy(update={"role": Role.STABLE})


def acknowledged(pool: PoolState | None, traffic: Traffic) -> bool:
    """Whether the pool has this traffic, and every gateway serves it."""
    return pool is not None and pool.traffic == traffic and pool.acknowledged >= pool.generation


def allowed(traffic: Traffic, observed: Observed) -> bool:
    """Whether no arm would newly get traffic whose release is not verified."""
    pool = observed.pool
    if pool is None:
        return False
    serving = {arm.release for arm in pool.traffic if arm.weight} or {pool.release}
    return all(arm.release in serving or observed.verified(arm.release) for arm in traffic if arm.weight)
