"""Children of a resource, labelled alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from innervate_kinds.api import workload
from innervate_kinds.api.kind import NETWORK_POLICY, Kind
from innervate_kinds.api.plan import Child

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.plan import Manifest
    from innervate_kinds.api.resource import ObjectMeta


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the children of one resource.

    Parameters
    ----------
    owner
        Metadata of the resource.
    application
        Value of the label `app.kubernetes.io/name`.
    """

    owner: ObjectMeta
    application: str

    def labels(self, component: str) -> dict[str, str]:
        """Labels of what belongs to a component."""
        return workload.labels(self.application, self.owner, component=component)

    def selector(self, component: str) -> dict[str, str]:
        """Labels that find the pods of a component, and nobody else's."""
        return workload.selector(self.owner, component=component)

    def child(
        self,
        kind: Kind,
        name: str,
        component: str,
        *,
        labels: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Child:
        """One child.

        Parameters
        ----------
        kind, name, component
            What it is, how it is called, and what it belongs to.
        labels
            Further labels.
        content
            Everything but kind and metadata.
        """
        metadata = {
            "name": name,
            "namespace": self.owner.namespace,
            "labels": {**self.labels(component), **(labels or {})},
        }
        return Child(
            kind, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
        )

    def network(self, name: str, component: str, *, ingress: list[Manifest], egress: list[Manifest]) -> Child:
        """NetworkPolicy that lets a component's pods have these connections and no others."""
        spec = {
            "podSelector": {"matchLabels": self.selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        }
        return self.child(NETWORK_POLICY, name, component, spec=spec)

    def template(
        self, component: str, *, configuration: str, spec: Manifest, labels: Mapping[str, str] | None = None
    ) -> Manifest:
        """Pod template that changes with the configuration its pods read when they start."""
        return {
            "metadata": {
                "labels": {**self.labels(component), **(labels or {})},
                "annotations": {workload.CONFIG_HASH: configuration},
            },
            "spec": spec,
        }
