"""The operator's life: start, be elected, work, drain."""

from __future__ import annotations

import asyncio
import signal
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.plan import Config
from innervate_service import telemetry
from innervate_service.config import TelemetryConfig
from innervate_service.logs import get_logger
from innervate_service.probes import HttpServer
from opentelemetry import trace

from innervate_operator import credentials, metrics, versions
from innervate_operator.client import Client, Open, Transport
from innervate_operator.clock import SystemClock
from innervate_operator.elector import Elector
from innervate_operator.engine import Engine
from innervate_operator.errors import ApiError, LeadershipLost
from innervate_operator.health import Health
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings, run_identity
from innervate_operator.trust import TrustKeeper, secret_reference
from innervate_operator.watching import registry, watch

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from innervate_kinds.api.room import Room

    from innervate_operator.clock import Clock
    from innervate_operator.settings import Settings

_SERVER_SECONDS = 2.0
_FLUSH_SECONDS = 3.0

_log = get_logger(__name__)


class Operator:
    """One replica.

    Parameters
    ----------
    settings
        What the administrator decided.
    rooms
        The kinds to look after.
    clock
        Time.
    handle_signals
        Whether SIGTERM and SIGINT stop it; else whoever holds it does.
    """

    def __init__(
        self,
        settings: Settings,
        rooms: Sequence[Room[Any, Any]],
        *,
        clock: Clock | None = None,
        handle_signals: bool = False,
    ) -> None:
        self.settings = settings
        self._handles_signals = handle_signals
        self.clock: Clock = clock or SystemClock()
        self._credentials = credentials.load(settings.kubeconfig, settings.context)
        self._transport = Transport(self._credentials)
        identity = f"{settings.pod_name}_{uuid.uuid4().hex[:8]}"
        base = Client(self._transport, Open(), timeout=settings.request_seconds, on_write=metrics.count_write)
        self.elector = Elector(
            base.ungated(timeout=2.0),
            namespace=settings.namespace,
            name=settings.lease_name,
            identity=identity,
            clock=self.clock,
        )
        self.client = replace(base, gate=self.elector)
        telemetry_config = TelemetryConfig(
            otlp_endpoint=settings.otlp_endpoint,
            service_name="innervate-operator",
            resource_attributes={
                "service.version": settings.version,
                "k8s.namespace.name": settings.namespace,
                "k8s.pod.name": settings.pod_name,
            },
        )
        tracer = None
        if telemetry.endpoint_of(telemetry_config) is not None:
            telemetry.configure(telemetry_config)
            tracer = trace.get_tracer("innervate_operator")
        self.engine = Engine(
            self.client, rooms, settings, clock=self.clock, config=lambda: self._config, tracer=tracer
        )
        identity_settings = IdentitySettings(
            listen=settings.identity_listen,
            namespace=settings.namespace,
            account=settings.service_account,
            service=settings.identity_service,
            trust_domain=settings.trust_domain,
            cluster_domain=settings.cluster_domain,
        )
        self._identity_settings = identity_settings
        self.trust = TrustKeeper(
            self.client,
            secret=secret_reference(settings.namespace, settings.ca_secret),
            policy=identity_settings.policy,
            leads=lambda: self.elector.leads,
            clock=self.clock,
            on_change=self._trust_changed,
        )
        self.health = Health(
            self.engine.queue, self.engine.caches, self.clock, stuck_seconds=settings.stuck_seconds
        )
        self.engine.on_finished = self.health.finished
        self._authority: IdentityAuthority | None = None
        self._known_config: Config | None = None
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._stop = asyncio.Event()
        self.ports: dict[str, int] = {}
        """Where it listens: ``health``, ``metrics``, ``identity``."""

    @property
    def _config(self) -> Config:
        if self._known_config is None:
            settings = self.settings
            self._known_config = Config(
                version=settings.version,
                namespace=settings.namespace,
                service_account=settings.service_account,
                trust_domain=settings.trust_domain,
                identity_endpoint=settings.identity_endpoint,
                trust=self.trust.trust,
                registry=settings.registry,
                images=settings.images,
                image_pull_policy=settings.image_pull_policy,
                image_pull_secrets=settings.image_pull_secrets,
                otlp_endpoint=settings.otlp_endpoint,
            )
        return self._known_config

    def stop(self) -> None:
        """Drain and end."""
        self._stop.set()

    async def run(self) -> None:
        """Live until stopped, or until leadership is lost.

        Raises
        ------
        StartupError
            If the cluster is too old.
        LeadershipLost
            If the lease was lost.
        """
        servers = [HttpServer(self.health.routes()), HttpServer({"/metrics": self.health.metrics})]
        self._take_signals()
        try:
            self.ports["health"] = await servers[0].start(self.settings.health_listen)
            self.ports["metrics"] = await servers[1].start(self.settings.metrics_listen)
            self._spawn("start", self._start())
            self._spawn("stop", self._stop.wait())
            await self._ended()
        finally:
            await self._drain()
            for server in servers:
                await server.stop()

    async def _ended(self) -> None:
        while True:
            await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
            for task in self._tasks.values():
                if task.done() and (error := task.exception()) is not None:
                    self.health.failure = str(error)
                    raise _plain(error)
            ended = {name for name, task in self._tasks.items() if task.done()}
            if "stop" in ended:
                return
            for name in ended:
                del self._tasks[name]

    async def _start(self) -> None:
        while True:
            try:
                found = await versions.check(self.client)
                break
            except ApiError as error:
                self.health.starting = "the API server cannot be reached"
                _log.warning("the API server cannot be reached yet", error=error.message)
                await self.clock.sleep(_SERVER_SECONDS)
        _log.info("starting", kubernetes=str(found), version=self.settings.version)
        if self.settings.compute_pools is not None:
            self.engine.load_static(self.settings.compute_pools)
        self.health.starting = "our kinds are not listed yet"
        self._spawn("elector", self.elector.run())
        self._spawn("reflectors", self.engine.reflect())
        await self.engine.fill()
        kinds = tuple(self.engine.caches.own)
        handlers = registry(self.engine.own, kinds, self._credentials)
        self._spawn(
            "kopf",
            watch(handlers, namespaces=self.settings.watch_namespaces, on_started=self._take_signals),
        )
        self._spawn("confirm", self.engine.own.repeat(self.settings.confirm_seconds))
        self.health.starting = "the certificate authority is not there yet"
        await self.trust.start()
        self._authority = IdentityAuthority(self.trust.state, self._identity_settings, now=self.clock.now)
        self._spawn("trust", self.trust.run())
        self.health.starting = "the identity endpoint does not listen yet"
        self._spawn("identity", run_identity(self._authority, self.trust.review, listening=self._listening))
        self._spawn("events", self.engine.events.run())
        self._spawn("workers", self._lead())

    async def _lead(self) -> None:
        await self.elector.leading.wait()
        await self.engine.synced()
        self.health.work_started()
        await self.engine.work()

    async def _drain(self) -> None:
        self.health.starting = "draining"
        self.engine.queue.close()
        if "workers" in self._tasks and self.elector.leading.is_set():
            await asyncio.wait([self._tasks["workers"]], timeout=self.settings.drain_seconds)
        # Whatever else writes must have ended before the lease is given up.
        await self._cancel("start", "workers", "trust", "events", "elector")
        await self.engine.events.flush(_FLUSH_SECONDS)
        await self.elector.release()
        await self.engine.prober.close()
        await self._cancel(*self._tasks)
        await self._transport.close()
        await telemetry.shutdown(seconds=_FLUSH_SECONDS)
        _log.info("ended")

    async def _cancel(self, *names: str) -> None:
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=name)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            if self._handles_signals:
                loop.add_signal_handler(number, self.stop)
            else:
                loop.remove_signal_handler(number)

    def _listening(self, port: int) -> None:
        self.ports["identity"] = port
        self.health.starting = None

    def _trust_changed(self) -> None:
        self._known_config = None
        if self._authority is not None:
            self._authority.replace(self.trust.state)
        self.engine.requeue_all()


async def run(settings: Settings, rooms: Sequence[Room[Any, Any]], *, handle_signals: bool = True) -> None:
    """Run one replica of the operator for these rooms until SIGTERM or SIGINT.

    Raises
    ------
    StartupError
        If the operator cannot start; the message names the cause and the fix.
    LeadershipLost
        If the lease was lost: the process is to end, and another replica goes on.
    """
    await Operator(settings, rooms, handle_signals=handle_signals).run()


def _plain(error: BaseException) -> BaseException:
    """The one error inside groups of one; lost leadership before everything else."""
    while isinstance(error, BaseExceptionGroup):
        lost, _ = error.split(LeadershipLost)
        error = (lost or error).exceptions[0]
    return error
