"""A service's whole configuration: one frozen model, read once from one JSON file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

DEFAULT_PATH = Path("/etc/innervate/config/config.json")
"""Where a service pod mounts its configuration; ``INNERVATE_CONFIG`` names another file."""

_SHOWN = 120
"""How many characters of a refused value are repeated in an error."""


class ConfigError(Exception):
    """The configuration cannot be used; the message names file, field, value and fix."""


class ConfigModel(BaseModel):
    """Frozen, camelCase in JSON and snake_case in Python; an unknown field is an error."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="forbid",
    )


Address = Annotated[str, Field(pattern=r"^\S+:[0-9]{1,5}$", max_length=300)]
"""A host and port, as in ``0.0.0.0:7443``; port 0 lets the system choose."""


class IdentityConfig(ConfigModel):
    """How the service gets its certificate."""

    endpoint: Address
    """The identity authority, as host:port."""
    trust_domain: Annotated[str, Field(min_length=1, max_length=255)] = "innervate.local"
    """Trust domain of the SPIFFE ID."""
    dns_names: Annotated[tuple[str, ...], Field(min_length=1, max_length=32)]
    """Names the certificate is to hold."""


class TelemetryConfig(ConfigModel):
    """Where traces go and what the service is called in them."""

    otlp_endpoint: str | None = None
    """OTLP gRPC endpoint with scheme; ``OTEL_EXPORTER_OTLP_ENDPOINT`` is used where it is null."""
    service_name: Annotated[str, Field(min_length=1, max_length=255)] = "innervate"
    """`service.name` of every span."""
    resource_attributes: dict[str, str] = Field(default_factory=dict)
    """Further resource attributes, such as `k8s.namespace.name`."""


class AdmissionConfig(ConfigModel):
    """How many calls run and wait at once; more are answered RESOURCE_EXHAUSTED."""

    max_concurrent: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Calls that run at the same time."""
    max_queue: Annotated[int, Field(ge=0, le=1_000_000)] = 256
    """Calls that may wait for one of those places."""


class DeadlineConfig(ConfigModel):
    """How long a call may take."""

    default_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """For a client that sets no deadline."""
    max_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """No call runs longer, whatever the client asks for."""


class DrainConfig(ConfigModel):
    """How the service ends. Both together must stay below the pod's termination grace period."""

    delay_seconds: Annotated[float, Field(ge=0, le=300)] = 5.0
    """Calls are still taken this long after readiness is gone: clients need time to notice."""
    grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 15.0
    """Running calls get this long to finish."""


class PathsConfig(ConfigModel):
    """Where the pod's mounts are."""

    trust_directory: Path = Path("/etc/innervate/trust")
    """Holds ``ca.crt``, ``jwks.json`` and ``issuer``."""
    token_file: Path = Path("/var/run/secrets/innervate/token")
    """The pod's own ServiceAccount token, audience `innervate`."""
    identity_directory: Path = Path("/var/run/innervate/identity")
    """Gets ``tls.crt``, ``tls.key`` and ``ca.crt``."""


class ServiceConfig(ConfigModel):
    """The part of the configuration that every service has, under the key ``service``."""

    listen: Address = "0.0.0.0:7443"
    """gRPC over TLS."""
    health_listen: Address | None = "0.0.0.0:8081"
    """HTTP ``/livez`` and ``/readyz``; null for none."""
    metrics_listen: Address | None = "0.0.0.0:9464"
    """HTTP ``/metrics``; null for none."""
    identity: IdentityConfig | None = None
    """Needed unless the program brings its own certificate."""
    telemetry: TelemetryConfig = TelemetryConfig()
    """Traces and the service's name."""
    admission: AdmissionConfig = AdmissionConfig()
    """Back-pressure."""
    deadline: DeadlineConfig = DeadlineConfig()
    """Time limits of calls."""
    drain: DrainConfig = DrainConfig()
    """Time limits of the end."""
    paths: PathsConfig = PathsConfig()
    """Mounts."""
    max_message_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] = 8 * 1024 * 1024
    """Largest request and response."""
    reflection: bool = False
    """Serve gRPC reflection: for development, it shows the interfaces to everyone."""


M = TypeVar("M", bound=ConfigModel)


def config_path() -> Path:
    """The configuration's path: ``INNERVATE_CONFIG`` or the mounted default."""
    return Path(os.environ.get("INNERVATE_CONFIG") or DEFAULT_PATH)


def load(path: Path, model: type[M]) -> M:
    """Read and check a configuration file.

    Parameters
    ----------
    path
        JSON file.
    model
        The service's own model; usually it holds a `ServiceConfig` in its field `service`.

    Raises
    ------
    ConfigError
        The file is absent, is no JSON, or a field is wrong. Every wrong field is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"configuration {path} cannot be read: {error.strerror or error}; "
            "mount it there, or name another file in INNERVATE_CONFIG"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration {path} is not UTF-8: {error.reason}; save it as UTF-8") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        lines = [
            _describe(str(path), ".".join(map(str, problem["loc"])), problem) for problem in error.errors()
        ]
        raise ConfigError("\n".join(lines)) from error


def _describe(path: str, field: str, problem: object) -> str:
    assert isinstance(problem, dict)  # noqa: S101  pydantic's ErrorDetails is a dict
    kind, message = problem["type"], problem["msg"]
    if kind == "json_invalid":
        return f"configuration {path}: {message}; correct the JSON"
    if kind == "missing":
        return f"configuration {path}: {field} is missing; add it"
    value = repr(problem["input"])
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "…"
    if kind == "extra_forbidden":
        return f"configuration {path}: {field} = {shown} is not known; remove it or correct its spelling"
    return f"configuration {path}: {field} = {shown} is refused; {_lower_first(message)}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


class ObjectName(ConfigModel):
    """A namespaced name in the cluster."""

    namespace: Annotated[str, Field(min_length=1, max_length=63)]
    """Its namespace."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Its name."""


class RedisConfig(ConfigModel):
    """Where a service's Redis is: by `host` and what follows, or by `url_file` alone."""

    url_file: Path | None = None
    """Holds ``rediss://user:password@host:port/0`` of a Redis that is somebody else's."""
    host: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """DNS name; its certificate must hold it."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 6379
    """TCP port."""
    tls: bool = True
    """TLS with the service's own certificate as the client's."""
    password_file: Path | None = Path("/etc/innervate/redis/password")
    """Holds the password; read again for every connection, so it can be rotated. Null for none."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.host is None) == (self.url_file is None):
            raise ValueError("exactly one of host and urlFile must be given")
        return self
