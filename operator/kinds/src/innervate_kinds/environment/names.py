"""Names of an environment's children, and of the parts of its pods."""

from __future__ import annotations

from typing import NamedTuple

from innervate_kinds.api.names import child_name

APPLICATION = "environment"
"""Value of the label `app.kubernetes.io/name`."""
SERVER = "environments"
"""The component, and the container that serves."""


class Names(NamedTuple):
    """Name of every child of one environment."""

    server: str
    """ServiceAccount, Service, Deployment, PodDisruptionBudget and NetworkPolicy."""
    config: str
    """ConfigMap with the server's configuration."""
    trust: str
    """ConfigMap with the trust anchors."""

    @classmethod
    def of(cls, environment: str) -> Names:
        """Names of the children of the environment of that name."""
        return cls(
            server=child_name(environment, "environment"),
            config=child_name(environment, "environment-config"),
            trust=child_name(environment, "environment-trust"),
        )
