"""How a container reaches a release store, and the keys whose signatures count."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from innervate_kinds.api import network, workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.model_release.model import Artifact

KEYS = "innervate-release-keys"
"""ConfigMap of a namespace: public keys in PEM, whose signatures count there."""
KEYS_PATH = "/etc/innervate/release-keys"
STORES_PATH = "/var/lib/innervate/releases"
IMAGE = "releases"
_RESOURCES: Manifest = {
    "requests": {"cpu": "100m", "memory": "96Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}


def environment(artifact: Artifact) -> list[Manifest]:
    """Settings and credentials of the store. A missing Secret or ConfigMap is told by the kubelet."""
    scheme = urlsplit(artifact.uri).scheme
    return [*_authorities(artifact), *(_SETTINGS[scheme](artifact) if scheme in _SETTINGS else ())]


def _authorities(artifact: Artifact) -> list[Manifest]:
    if artifact.authorities is None:
        return []
    reference = artifact.authorities.config_map_key_ref
    source = {"configMapKeyRef": {"name": reference.name, "key": reference.key}}
    return [{"name": "INNERVATE_STORE_AUTHORITIES", "valueFrom": source}]


def _registry(artifact: Artifact) -> list[Manifest]:
    secret = _secret(artifact)
    return [_from_secret("INNERVATE_REGISTRY_LOGINS", secret, ".dockerconfigjson")] if secret else []


def _hub(artifact: Artifact) -> list[Manifest]:
    secret = _secret(artifact)
    return [
        *_values({"HF_ENDPOINT": artifact.endpoint}),
        *([_from_secret("HF_TOKEN", secret, "HF_TOKEN")] if secret else ()),
    ]


def _bucket(artifact: Artifact) -> list[Manifest]:
    settings = _values({"AWS_ENDPOINT_URL": artifact.endpoint, "AWS_REGION": artifact.region})
    secret = _secret(artifact)
    if not secret:
        return [*settings, {"name": "AWS_SKIP_SIGNATURE", "value": "true"}]
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    return [*settings, *(_from_secret(name, secret, name) for name in keys)]


_SETTINGS = {"oci": _registry, "hf": _hub, "s3": _bucket}


def volumes(artifact: Artifact) -> list[Manifest]:
    """The store's volume, where it is one."""
    claim = _claim(artifact)
    return [{"name": "store", "persistentVolumeClaim": {"claimName": claim}}] if claim else []


def mounts(artifact: Artifact, *, read_only: bool = True) -> list[Manifest]:
    """Mount of the store's volume."""
    claim = _claim(artifact)
    if not claim:
        return []
    return [{"name": "store", "mountPath": f"{STORES_PATH}/{claim}", "readOnly": read_only}]


def egress(artifact: Artifact) -> list[Manifest]:
    """What a NetworkPolicy must let out: nothing for a volume, else names and the store's port."""
    address = urlsplit(artifact.uri)
    if address.scheme == "pvc":
        return []
    remote = address if address.scheme == "oci" else urlsplit(artifact.endpoint or "https://public")
    port = remote.port or (80 if remote.scheme == "http" else 443)
    return [network.dns(), {"to": network.anywhere(), "ports": [network.port(port)]}]


def keys_volume() -> Manifest:
    """The keys. Optional, or a pod would wait for its volume and never say that they are missing."""
    return {"name": "release-keys", "configMap": {"name": KEYS, "optional": True}}


def keys_mount() -> Manifest:
    """Mount of the keys."""
    return {"name": "release-keys", "mountPath": KEYS_PATH, "readOnly": True}


def keys_required() -> list[Manifest]:
    """For `envFrom`: not read by anyone; only so does the kubelet tell of a missing ConfigMap."""
    return [{"prefix": "INNERVATE_RELEASE_KEY_", "configMapRef": {"name": KEYS}}]


def container(
    config: Config,
    artifact: Artifact,
    command: str,
    *arguments: str,
    name: str = "",
    read_only: bool = True,
    more_mounts: Sequence[Manifest] = (),
) -> Manifest:
    """A container that signs, verifies or fetches a release.

    Parameters
    ----------
    config
        The operator's set-up.
    artifact
        The release.
    command
        What it does: ``sign``, ``verify`` or ``fetch``.
    arguments
        Further arguments of the command.
    name
        Of the container; left out, the command's.
    read_only
        Whether the store's volume is.
    more_mounts
        Mounts besides the store and, unless it signs, the keys.
    """
    signs = command == "sign"
    return {
        "name": name or command,
        "image": config.image(IMAGE),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_releases", command],
        "args": [f"--uri={artifact.uri}", f"--digest={artifact.digest}", *arguments],
        "env": environment(artifact),
        **({} if signs else {"envFrom": keys_required()}),
        "resources": _RESOURCES,
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *mounts(artifact, read_only=read_only),
            *([] if signs else [keys_mount()]),
            *more_mounts,
        ],
    }


def _claim(artifact: Artifact) -> str:
    address = urlsplit(artifact.uri)
    return address.netloc if address.scheme == "pvc" else ""


def _secret(artifact: Artifact) -> str:
    return artifact.credentials.secret_ref.name if artifact.credentials else ""


def _values(settings: Mapping[str, str | None]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in settings.items() if value]


def _from_secret(name: str, secret: str, key: str) -> Manifest:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
