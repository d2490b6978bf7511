"""Listening for callers: TLS with the certificate of now, time limits, and a gentle end."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Final, cast

import orjson
from innervate_service.probes import split_address

from innervate_gateway import metrics, wire
from innervate_gateway.connection import ClientConnection
from innervate_gateway.errors import Refusal, Refused
from innervate_gateway.exchange import Exchange
from innervate_gateway.request import MODELS

if TYPE_CHECKING:
    from innervate_service.tls import Certificate, CertificateStore

    from innervate_gateway.core import Core
    from innervate_gateway.request import Request

_SWEEP_SECONDS: Final = 0.1
"""How exactly time limits are kept: one timer for all connections instead of one for each."""
_BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0


class Listener:
    """Takes connections and does their requests.

    Parameters
    ----------
    core
        What they share.
    certificates
        The certificate to serve with; None for plain HTTP, which is for tests and measurements.
    """

    def __init__(self, core: Core, certificates: CertificateStore | None) -> None:
        self._core = core
        self._certificates = certificates
        self._connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, address: str) -> int:
        """Listen; returns the port."""
        core = self._core
        context: ssl.SSLContext | None = None
        if self._certificates is not None:
            context = _context(await self._certificates.first())
            serving = context
            self._certificates.subscribe(lambda certificate: _load(serving, certificate))
        host, port = split_address(address)
        self._server = await core.loop.create_server(
            lambda: cast("asyncio.Protocol", ClientConnection(core, self._connections, self._begin)),
            host,
            port,
            ssl=context,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_SECONDS,
            backlog=_BACKLOG,
        )
        self._sweeper = core.loop.create_task(self._sweep(), name="sweep")
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    def begin_drain(self) -> None:
        """Close each connection after its next answer, while new ones are still taken."""
        self._core.draining = True

    async def stop(self, grace_seconds: float) -> None:
        """Take no more connections, let requests end for so long, then cut what is left."""
        self._core.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        end = self._core.loop.time() + grace_seconds
        while self._connections and self._core.loop.time() < end:  # noqa: ASYNC110  rare, and it ends
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        # What was cut is told to the exchanges in the loop's next turn.
        await asyncio.sleep(0)

    def _begin(self, connection: ClientConnection, request: Request) -> None:
        name = wire.id_header(request.request_id)
        try:
            if request.path == MODELS:
                connection.answer(200, wire.JSON + name, self._models())
            else:
                Exchange(self._core, connection, request).begin()
        except Refused as error:
            metrics.REFUSED.labels(str(error.refusal.status)).inc()
            connection.refuse(error.refusal, name)

    def _models(self) -> bytes:
        routes = self._core.routes.current
        if routes is None:
            message = f"no request can be routed: {self._core.routes.problem()}"
            raise Refused(Refusal(503, "not_ready", message, retry_after=1))
        model = {
            "id": routes.pool.model,
            "object": "model",
            "created": self._core.created,
            "owned_by": "innervate",
        }
        return orjson.dumps({"object": "list", "data": [model]})

    async def _sweep(self) -> None:
        core, turns = self._core, 0
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = core.loop.time()
            for connection in [each for each in self._connections if each.due <= now]:
                connection.on_due()
            turns += 1
            if turns % 10 == 0:
                core.tick()
            metrics.RUNNING.set(core.admission.running)
            metrics.QUEUE.set(core.admission.waiting)
            metrics.BUFFERED.set(core.buffered)


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, certificate)
    return context


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Serve every new connection with this certificate; open ones keep theirs."""
    # OpenSSL reads files only; this one is memory, so the key touches no disk.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate.key + b"\n" + certificate.chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
