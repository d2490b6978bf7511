"""A tiny HTTP server for probes and metrics: GET only, one answer a connection.

It runs in the event loop on purpose: a loop that is stuck fails its liveness probe.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HEAD_LIMIT = 16 * 1024
_HEAD_SECONDS = 5.0
"""A client that sends its request slower is cut off."""
_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Response(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 host may stand in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def metrics_response() -> Response:
    """The process's Prometheus metrics."""
    return Response(200, generate_latest(REGISTRY), CONTENT_TYPE_LATEST)


def readiness_response(problem: str | None) -> Response:
    """200 when there is no problem, else 503 with it."""
    return Response(200, b"ok\n") if problem is None else Response(503, f"{problem}\n".encode())


class HttpServer:
    """Answers GET requests by path.

    Parameters
    ----------
    routes
        What answers each path; called in the event loop, so it must not wait.
    """

    def __init__(self, routes: Mapping[str, Callable[[], Response]]) -> None:
        self._routes = dict(routes)
        self._server: asyncio.Server | None = None

    async def start(self, address: str) -> int:
        """Listen; returns the port, which the system chose where the address has port 0."""
        host, port = split_address(address)
        self._server = await asyncio.start_server(self._connection, host, port, limit=_HEAD_LIMIT)
        listening: int = self._server.sockets[0].getsockname()[1]
        return listening

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                response = self._respond(head)
                writer.write(_render(response))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # A port scan, or a prober that went away: nobody is left to be told.
            pass
        finally:
            writer.close()

    def _respond(self, head: bytes) -> Response:
        request_line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(request_line) != 3 or request_line[0] != "GET":
            return Response(405, b"GET only\n")
        route = self._routes.get(request_line[1].split("?", 1)[0])
        return Response(404, b"not found\n") if route is None else route()


def _render(response: Response) -> bytes:
    head = (
        f"HTTP/1.1 {response.status} {_PHRASES[response.status]}\r\n"
        f"Content-Type: {response.content_type}\r\n"
        f"Content-Length: {len(response.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + response.body
