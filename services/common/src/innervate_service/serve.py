"""The one way to start a gRPC service."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # has no types
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # has no types

from innervate_service import telemetry
from innervate_service.admission import Admission
from innervate_service.auth import TokenVerifier, TrustDirectory
from innervate_service.calls import CallInterceptor
from innervate_service.config import ConfigError
from innervate_service.identity.renewal import CertificateRenewal
from innervate_service.logs import get_logger
from innervate_service.probes import HttpServer, Response, metrics_response, readiness_response
from innervate_service.program import run
from innervate_service.tls import CertificateStore, server_credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from innervate_service.auth import Authenticator
    from innervate_service.config import ServiceConfig

__all__ = ["Ports", "Server", "Service", "run", "serve"]

_MAX_CONNECTION_AGE_SECONDS = 3600
"""After this a connection is closed gently: a client comes back to the newest certificate, and perhaps
to another replica."""
_HEALTH_SECONDS = 1.0
"""How often gRPC's health service follows readiness."""

_log = get_logger(__name__)


class Service(NamedTuple):
    """A gRPC service to be served."""

    name: str
    """Full name, as in the proto: ``innervate_api.memory.v1.MemoryService``."""
    register: Callable[[grpc.aio.Server], None]
    """Adds the servicer to a server."""


@dataclass(frozen=True)
class Ports:
    """Where a server listens; None where it was not asked to."""

    grpc: int
    health: int | None
    metrics: int | None


class Server:
    """A gRPC service with everything around it, for a program that has its own life cycle.

    Others use `serve()`.

    Parameters
    ----------
    config
        The common part of the configuration.
    services
        What to serve.
    ready
        Why the service is not ready, None when it is. Called often; it must not wait.
    on_start
        Runs when the first certificate is there, before the first call.
    on_drain_begin
        Called when draining begins, while calls are still taken.
    on_drain
        Runs after the last call.
    certificates
        Holds the certificate to serve with, for a program that uses it elsewhere too; with
        `config.identity` it is fetched and renewed.
    authenticate
        Who a token is of; by default verified offline with `config.paths.trust_directory`.
    """

    def __init__(
        self,
        config: ServiceConfig,
        services: Sequence[Service],
        *,
        ready: Callable[[], str | None] = lambda: None,
        on_start: Callable[[], Awaitable[None]] | None = None,
        on_drain_begin: Callable[[], None] = lambda: None,
        on_drain: Callable[[], Awaitable[None]] | None = None,
        certificates: CertificateStore | None = None,
        authenticate: Authenticator | None = None,
    ) -> None:
        self._config = config
        self._services = tuple(services)
        self._ready = ready
        self._on_start = on_start
        self._on_drain_begin = on_drain_begin
        self._on_drain = on_drain
        self._renewal: CertificateRenewal | None = None
        if certificates is None and config.identity is None:
            raise ConfigError("service.identity is missing; add it, so that the service gets a certificate")
        certificates = certificates or CertificateStore()
        if config.identity is not None:
            self._renewal = CertificateRenewal(config.identity, config.paths, certificates)
        self._certificates = certificates
        authenticate = authenticate or TokenVerifier(TrustDirectory(config.paths.trust_directory))
        self._interceptor = CallInterceptor(
            authenticate=authenticate,
            admission=Admission(
                max_concurrent=config.admission.max_concurrent, max_queue=config.admission.max_queue
            ),
            deadline=config.deadline,
        )
        self._state: str | None = "starting"
        self._hooked = False
        self._tasks: list[asyncio.Task[None]] = []
        self._http: list[HttpServer] = []
        self._health = health.aio.HealthServicer()
        self._grpc: grpc.aio.Server | None = None
        self._ports: Ports | None = None

    @property
    def ports(self) -> Ports:
        """Where it listens.

        Raises
        ------
        RuntimeError
            It was not started.
        """
        if self._ports is None:
            raise RuntimeError("the server is not started")
        return self._ports

    def problem(self) -> str | None:
        """Why the service is not ready, None when it is."""
        return self._state or self._certificates.problem() or self._asked()

    async def start(self) -> None:
        """Start probes, certificate renewal and the gRPC server, in this order."""
        config = self._config
        health_port = await self._start_http(
            config.health_listen,
            {"/livez": lambda: Response(200, b"ok\n"), "/readyz": lambda: readiness_response(self.problem())},
        )
        metrics_port = await self._start_http(config.metrics_listen, {"/metrics": metrics_response})
        if self._renewal is not None:
            self._tasks.append(asyncio.create_task(self._renewal.run(), name="certificate-renewal"))
        self._state = "waiting for the first certificate"
        credentials = await server_credentials(self._certificates)
        self._state = "starting"
        # From here on there may be something to close, even where the start itself fails.
        self._hooked = True
        if self._on_start is not None:
            await self._on_start()
        self._grpc = self._build()
        try:
            port = self._grpc.add_secure_port(config.listen, credentials)
        except RuntimeError as error:
            raise ConfigError(f"service.listen = {config.listen!r} cannot be listened on; {error}") from error
        await self._grpc.start()
        self._ports = Ports(port, health_port, metrics_port)
        self._state = None
        await self._publish_health()
        self._tasks.append(asyncio.create_task(self._follow_health(), name="health"))
        _log.info("serving", port=port, services=[service.name for service in self._services])

    async def drain(self) -> None:
        """Stop: say so, wait for clients to notice, finish running calls, then the rest."""
        self._state = "draining"
        if self._grpc is not None:
            _log.info("draining")
            self._on_drain_begin()
            await self._publish_health()
            await asyncio.sleep(self._config.drain.delay_seconds)
            await self._grpc.stop(self._config.drain.grace_seconds)
        if self._on_drain is not None and self._hooked:
            self._hooked = False
            await self._on_drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._http:
            await server.stop()

    def _asked(self) -> str | None:
        try:
            return self._ready()
        except Exception as error:  # noqa: BLE001  a bug there must not end the probes
            _log.exception("readiness cannot be told", error)
            return f"readiness cannot be told: {type(error).__name__}"

    async def _start_http(self, address: str | None, routes: dict[str, Callable[[], Response]]) -> int | None:
        if address is None:
            return None
        server = HttpServer(routes)
        port = await server.start(address)
        self._http.append(server)
        return port

    def _build(self) -> grpc.aio.Server:
        size = self._config.max_message_bytes
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
            # Two processes on one port would share its connections silently.
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ("grpc.max_connection_age_ms", _MAX_CONNECTION_AGE_SECONDS * 1000),
            ("grpc.max_connection_age_grace_ms", int(self._config.deadline.max_seconds * 1000)),
        ]
        server = grpc.aio.server(interceptors=[self._interceptor], options=options)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for service in self._services:
            service.register(server)
        if self._config.reflection:
            names = [service.name for service in self._services]
            reflection.enable_server_reflection(
                [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
            )
        return server

    async def _publish_health(self) -> None:
        serving = health_pb2.HealthCheckResponse.SERVING
        state = serving if self.problem() is None else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *(service.name for service in self._services)):
            await self._health.set(name, state)

    async def _follow_health(self) -> None:
        while True:
            await asyncio.sleep(_HEALTH_SECONDS)
            await self._publish_health()


async def serve(
    config: ServiceConfig,
    services: Sequence[Service],
    *,
    ready: Callable[[], str | None] = lambda: None,
    on_start: Callable[[], Awaitable[None]] | None = None,
    on_drain_begin: Callable[[], None] = lambda: None,
    on_drain: Callable[[], Awaitable[None]] | None = None,
    certificates: CertificateStore | None = None,
    authenticate: Authenticator | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. The parameters are those of `Server`.

    Traces are set up first and flushed last.
    """
    telemetry.configure(config.telemetry)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(
        config,
        services,
        ready=ready,
        on_start=on_start,
        on_drain_begin=on_drain_begin,
        on_drain=on_drain,
        certificates=certificates,
        authenticate=authenticate,
    )
    starting = asyncio.create_task(server.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        # A service that waits for its certificate must still end when told to.
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await stopping
        else:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
    finally:
        stopping.cancel()
        await server.drain()
        await telemetry.shutdown()
