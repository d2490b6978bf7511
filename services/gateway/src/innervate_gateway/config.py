"""The gateway's configuration: what does not change without a restart.

Model name, traffic and variants are read from the InferencePool itself, see `routes`.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from innervate_service.authorization import AccountPattern
from innervate_service.config import Address, ConfigModel, ObjectName, RedisConfig, ServiceConfig
from pydantic import Field

_Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ContentPolicy(StrEnum):
    """What the exchange log keeps of requests and responses."""

    NONE = "None"
    """Nothing."""
    DIGEST = "Digest"
    """SHA-256 of both bodies."""
    FULL = "Full"
    """Digests and the bodies themselves, each up to a limit."""


class AdmissionConfig(ConfigModel):
    """How many requests run and wait at once."""

    max_concurrent: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Requests that are with an engine at the same time."""
    max_queue: Annotated[int, Field(ge=0, le=1_000_000)] = 1024
    """Requests that may wait; more are answered 429."""
    deadline_seconds: _Seconds = 300.0
    """No request takes longer; a caller may only ask for less."""


class ExchangeLogConfig(ConfigModel):
    """What is kept of exchanges, and for how long."""

    retention_seconds: Annotated[int, Field(ge=60, le=10 * 365 * 86_400)] = 7 * 86_400
    """Age at which a record leaves the log."""
    feedback_seconds: Annotated[int, Field(ge=1, le=365 * 86_400)] = 86_400
    """How long after a request its feedback is taken."""
    content: ContentPolicy = ContentPolicy.NONE
    """What is kept of the bodies."""


class PoolAccessRule(ConfigModel):
    """These accounts may use the pool."""

    service_accounts: Annotated[tuple[AccountPattern, ...], Field(min_length=1, max_length=64)]
    """Who."""


class LimitsConfig(ConfigModel):
    """What one caller, and all together, can make the gateway hold."""

    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Open connections of callers; more are closed at once."""
    max_head_bytes: Annotated[int, Field(ge=1024, le=1_048_576)] = 32 * 1024
    """Request line and headers."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] = 8 * 1024 * 1024
    """A request's body, and an answer that is not streamed."""
    max_buffered_bytes: Annotated[int, Field(ge=1024, le=2**40)] = 256 * 1024 * 1024
    """Bodies of all requests and answers together."""
    head_seconds: _Seconds = 10.0
    """From a request's first byte to the end of its head."""
    body_seconds: _Seconds = 60.0
    """From there to the end of its body."""
    idle_seconds: _Seconds = 75.0
    """Between two requests of a connection."""
    write_seconds: _Seconds = 60.0
    """A caller that takes nothing of its answer for so long is cut off."""
    connect_seconds: _Seconds = 5.0
    """For a connection to an engine."""


class KubernetesConfig(ConfigModel):
    """The API server, as every pod of a cluster finds it."""

    server: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=300)] = (
        "https://kubernetes.default.svc"
    )
    """Its address."""
    token_file: Path | None = Path("/var/run/secrets/kubernetes/token")
    """The pod's token for it, of the API server's own audience; read again as it is renewed."""
    ca_file: Path | None = Path("/var/run/secrets/kubernetes/ca.crt")
    """Its authority."""


class GatewayConfig(ConfigModel):
    """The whole configuration of a gateway."""

    service: ServiceConfig = ServiceConfig()
    """What every service has."""
    pool: ObjectName
    """The InferencePool it serves."""
    operator: ObjectName | None = None
    """The operator's service account: it may ask for routes and counts."""
    listen: Address = "0.0.0.0:8443"
    """HTTPS for callers."""
    redis: RedisConfig
    """Where the exchange log is."""
    admission: AdmissionConfig = AdmissionConfig()
    """Back-pressure."""
    exchange_log: ExchangeLogConfig = ExchangeLogConfig()
    """What is kept."""
    access: tuple[PoolAccessRule, ...] = ()
    """Who may use the pool; without rules every account of its namespace."""
    engine_key_file: Path | None = Path("/etc/innervate/engine/api-key")
    """The key that the pool's own engines ask for; null for none."""
    external_key_directory: Path = Path("/etc/innervate/external")
    """Holds ``<variant>/key`` for every External variant that has one."""
    limits: LimitsConfig = LimitsConfig()
    """What callers can make it hold."""
    kubernetes: KubernetesConfig = KubernetesConfig()
    """Where the pool object is read."""
