"""A pool has no children: workloads read it and place their own pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.plan import Note, Plan

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.api.plan import Config
    from innervate_kinds.compute_pool.model import ComputePool
    from innervate_kinds.compute_pool.state import Observed


def plan(pool: ComputePool, observed: Observed, _config: Config, _now: datetime) -> Plan:
    """Plan nothing, and note what the pool costs."""
    cost = f"{pool.spec.cost_per_hour} per node and hour, {len(observed.nodes)} nodes"
    return Plan(notes=(Note("cost", cost),))
