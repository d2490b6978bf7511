"""The operator's settings: one frozen model, from flags, then the environment, then defaults."""

from __future__ import annotations

import argparse
import json
import os
import socket
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from innervate_operator.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "INNERVATE_"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "innervate-system"


class Settings(BaseModel):
    """What an administrator decides; a field's docstring is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    namespace: str = Field(default_factory=_own_namespace)
    """Namespace the operator runs in: its Lease, its certificate authority."""
    service_account: str = "innervate-operator"
    """Service account the operator runs as."""
    pod_name: str = Field(default_factory=socket.gethostname)
    """Name of this replica."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces to look after; none means all."""
    compute_pools: Path | None = None
    """File of ComputePools, as YAML documents, for an operator that may not read cluster-scoped resources."""
    kubeconfig: Path | None = None
    """Kubeconfig to use; by default the pod's account, else where kubectl looks."""
    context: str | None = None
    """Context in the kubeconfig; by default its current one."""
    version: str = Field(default_factory=lambda: version("innervate-operator"))
    """Tag of the images that the operator starts."""
    registry: str = ""
    """Prefix of those images, such as registry.example.com/ai."""
    images: dict[str, str] = Field(default_factory=dict)
    """Whole image references by service, as JSON: {"memory": "…"}."""
    image_pull_policy: Annotated[str, Field(pattern="^(Always|IfNotPresent|Never)$")] = "IfNotPresent"
    """Pull policy of those images."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of pull secrets in each resource's namespace."""
    otlp_endpoint: str | None = None
    """Where the operator and every service send telemetry, such as http://collector.monitoring.svc:4317."""
    trust_domain: str = "innervate.local"
    """SPIFFE trust domain of workload certificates."""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster."""
    identity_service: str = "innervate-identity"
    """Service in front of the operator's identity endpoint."""
    identity_listen: str = "0.0.0.0:7443"
    """Where the identity endpoint listens."""
    health_listen: str = "0.0.0.0:8081"
    """Where /livez and /readyz listen."""
    metrics_listen: str = "0.0.0.0:9464"
    """Where /metrics listens."""
    ca_secret: str = "innervate-ca"  # noqa: S105 -- a name, not a password
    """Secret in the operator's namespace that holds the certificate authority."""
    token_file: Path = Path("/var/run/secrets/innervate/token")
    """The operator's own token with audience innervate, for probes."""
    lease_name: str = "innervate-operator"
    """Lease that the one writing replica holds."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 16
    """Resources worked on at the same time."""
    resync_seconds: Annotated[float, Field(gt=0)] = 600.0
    """Time after which every resource is looked at again even if nothing happened."""
    confirm_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Time between two checks for deletions that a broken watch missed."""
    stuck_seconds: Annotated[float, Field(gt=0)] = 180.0
    """The operator calls itself dead when a key waited that long and no work was finished meanwhile."""
    reconcile_seconds: Annotated[float, Field(gt=0)] = 90.0
    """Time limit of one visit to one resource."""
    request_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Time limit of one request to the API server."""
    drain_seconds: Annotated[float, Field(ge=0)] = 15.0
    """Time that running work gets at the end."""
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """Level of the log: debug, info, warning or error."""
    log_format: Annotated[str, Field(pattern="^(json|text)$")] = "json"
    """Format of the log: json or text."""

    @field_validator("watch_namespaces", "image_pull_secrets", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("images", mode="before")
    @classmethod
    def _decode(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("otlp_endpoint", "context", "kubeconfig", "compute_pools", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None

    @field_validator("registry")
    @classmethod
    def _end_with_slash(cls, value: str) -> str:
        return f"{value}/" if value and not value.endswith("/") else value

    @property
    def identity_endpoint(self) -> str:
        """``host:port`` of the identity service, as workloads reach it."""
        return f"{self.identity_service}.{self.namespace}.svc:7443"


def parser() -> argparse.ArgumentParser:
    """Flags of every setting, with help and defaults."""
    made = argparse.ArgumentParser(
        prog="innervate-operator",
        description=f"The Innervate operator. Each flag may also stand in the environment as {PREFIX}<FLAG>.",
    )
    for name, info in Settings.model_fields.items():
        default = info.get_default(call_default_factory=True, validated_data={})
        shown = ",".join(default) if isinstance(default, tuple) else default
        help_ = f"{info.description} (default: {'none' if shown in (None, '', {}) else shown})"
        made.add_argument(
            _flag(name),
            dest=name,
            default=None,
            metavar=name.rsplit("_", 1)[-1].upper(),
            help=help_.replace("%", "%%"),
        )
    return made


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def load(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises
    ------
    StartupError
        If a value is wrong; the message names the flag, the value and the rule.
    """
    flags = vars(parser().parse_args(list(arguments)))
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        if flags[name] is not None:
            given[name] = flags[name]
        elif f"{PREFIX}{name.upper()}" in environment:
            given[name] = environment[f"{PREFIX}{name.upper()}"]
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        lines = [
            f"{_flag(str(problem['loc'][0]))} = {problem['input']!r} is refused: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise StartupError("\n".join(lines)) from error
