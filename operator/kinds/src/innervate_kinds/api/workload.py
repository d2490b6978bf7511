"""Parts of manifests that every service pod of ours has alike."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.names import OWNER_UID, label_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.api.resource import ObjectMeta

USER = 65532
"""User and group that every container runs as."""
GRPC_PORT, HEALTH_PORT, METRICS_PORT, AGENT_HEALTH_PORT = 7443, 8081, 9464, 8082
AUDIENCE = "innervate"
CONFIG_HASH = "innervate.dev/config-hash"
"""Annotation on pods: digest of the configuration they were started with."""

CONFIG_PATH = "/etc/innervate/config"
TRUST_PATH = "/etc/innervate/trust"
TOKEN_PATH = "/var/run/secrets/innervate"  # noqa: S105  a path, not a token
IDENTITY_PATH = "/var/run/innervate/identity"

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def labels(name: str, owner: ObjectMeta, *, component: str) -> dict[str, str]:
    """Labels of a child and its pods.

    Parameters
    ----------
    name
        Application, the same for every resource of the kind.
    owner
        Metadata of the resource that the child belongs to.
    component
        Which part of it the child is.
    """
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": label_value(owner.name),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "innervate",
        "app.kubernetes.io/managed-by": "innervate",
        OWNER_UID: owner.uid,
    }


def selector(owner: ObjectMeta, *, component: str) -> dict[str, str]:
    """Labels that find the pods of one component, and nobody else's."""
    return {"app.kubernetes.io/component": component, OWNER_UID: owner.uid}


def to_json(value: Mapping[str, Any]) -> str:
    """Stable JSON text of a configuration file."""
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def digest(*texts: str) -> str:
    """Short digest of texts, for the annotation that rolls pods when their configuration changes."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def dns_names(service: str, namespace: str) -> list[str]:
    """Names under which a Service is called, for its certificate."""
    return [
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
        f"{service}.{namespace}",
        "localhost",
    ]


def identity_volumes(*, config_map: str, trust: str) -> list[Manifest]:
    """Volumes that every service pod has: configuration, trust anchors, its token, its key."""
    return [
        {"name": "config", "configMap": {"name": config_map}},
        {"name": "trust", "configMap": {"name": trust}},
        {
            "name": "token",
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": AUDIENCE,
                            "expirationSeconds": 3600,
                            "path": "token",
                        }
                    }
                ]
            },
        },
        {"name": "identity", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]


def identity_mounts() -> list[Manifest]:
    """Mounts of the `identity_volumes`."""
    return [
        {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
        {"name": "trust", "mountPath": TRUST_PATH, "readOnly": True},
        {"name": "token", "mountPath": TOKEN_PATH, "readOnly": True},
        {"name": "identity", "mountPath": IDENTITY_PATH},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own, and the only place it may write
    ]


def environment(service: str) -> list[Manifest]:
    """Environment of our programs: what telemetry says about the pod."""
    return [
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "OTEL_SERVICE_NAME", "value": service},
        {
            "name": "OTEL_RESOURCE_ATTRIBUTES",
            "value": "k8s.pod.name=$(POD_NAME),k8s.namespace.name=$(POD_NAMESPACE)",
        },
    ]


def http_probe(path: str, port: int | str, *, period: int, failures: int) -> Manifest:
    """An HTTP probe on one of our health ports."""
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    }


def trust_data(config: Config) -> dict[str, str]:
    """Content of the trust ConfigMap, which services reload without a restart."""
    return {
        "ca.crt": config.trust.ca_bundle,
        "jwks.json": config.trust.jwks,
        "issuer": config.trust.issuer,
    }


def pull_settings(config: Config) -> Manifest:
    """Pod fields that say with which Secrets images are pulled."""
    if not config.image_pull_secrets:
        return {}
    return {"imagePullSecrets": [{"name": name} for name in config.image_pull_secrets]}
