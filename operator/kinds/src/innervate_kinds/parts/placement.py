"""The ComputePool that a resource is placed on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from innervate_kinds.api.kind import NAMESPACE, Reference
from innervate_kinds.api.network import NAMESPACE_NAME
from innervate_kinds.compute_pool.model import COMPUTE_POOL, ComputePool, Connectivity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_kinds.api.plan import Manifest
    from innervate_kinds.api.reader import Reader
    from innervate_kinds.api.resource import ObjectMeta
    from innervate_kinds.api.scheduling import Placement
    from innervate_kinds.compute_pool.model import ComputePoolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The ComputePool that the placement names, which exists.

    Parameters
    ----------
    spec
        Its specification.
    allowed
        Whether it allows workloads of the resource's namespace.
    ready_nodes
        Ready nodes by its status; None before its first status.
    """

    spec: ComputePoolSpec
    allowed: bool
    ready_nodes: int | None


def references(placement: Placement | None, owner: ObjectMeta) -> Sequence[Reference]:
    """The pool, and the namespace by whose labels it decides."""
    if placement is None:
        return ()
    pool = Reference(COMPUTE_POOL, None, placement.compute_pool_ref.name)
    return (pool, Reference(NAMESPACE, None, owner.namespace or ""))


def observe(placement: Placement | None, owner: ObjectMeta, reader: Reader) -> Pool | None:
    """Read the pool that a placement names; None where it is not there or none is named."""
    found = placement and reader.get(Reference(COMPUTE_POOL, None, placement.compute_pool_ref.name))
    if not found:
        return None
    pool = ComputePool.model_validate(found)
    name = owner.namespace or ""
    namespace = reader.get(Reference(NAMESPACE, None, name)) or {"metadata": {}}
    labels = {NAMESPACE_NAME: name, **(namespace["metadata"].get("labels") or {})}
    allowed = pool.spec.allowed_namespaces
    return Pool(
        spec=pool.spec,
        allowed=allowed is None or allowed.selects(labels),
        ready_nodes=pool.status.ready_nodes if pool.status else None,
    )


def manifest(pool: Pool | None) -> Manifest:
    """Pod fields that keep a pod on the nodes of a pool; empty without one."""
    if pool is None:
        return {}
    tolerations = [
        toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
        for toleration in pool.spec.tolerations
    ]
    if pool.spec.connectivity is Connectivity.INTERMITTENT:
        # Without these, pods are evicted five minutes after their node lost the control plane.
        tolerations += [
            {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
            for taint in ("unreachable", "not-ready")
        ]
    fields: Manifest = {}
    if pool.spec.node_selector:
        fields["nodeSelector"] = dict(sorted(pool.spec.node_selector.items()))
    if tolerations:
        fields["tolerations"] = tolerations
    return fields
