"""One engine as the gateway sees it: its connections, its load, its failures, and the time it worked."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, Protocol, cast

from innervate_gateway import metrics, tallies
from innervate_gateway.upstream import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from innervate_gateway.pool import Replica
    from innervate_gateway.upstream import Answer

_FIRST_EJECTION_SECONDS: Final = 0.5
_LONGEST_EJECTION_SECONDS: Final = 30.0
_HOUR: Final = 3600.0


class KeySource(Protocol):
    """Where an engine's key comes from."""

    def __call__(self) -> str:
        """The key; empty for none."""
        ...


class Endpoint:
    """An engine replica.

    Parameters
    ----------
    replica
        Where it is.
    key
        What it asks for.
    connect_seconds
        Time limit of a new connection.
    """

    def __init__(self, replica: Replica, *, key: KeySource, connect_seconds: float) -> None:
        self.replica = replica
        self.slots = replica.slots
        self.in_flight = 0
        """Requests that are with it now."""
        self.ejected_until = 0.0
        """Event loop time until which it gets no requests."""
        self._failures = 0
        self._key = key
        self._connect_seconds = connect_seconds
        self._idle: list[UpstreamConnection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False
        self.tally = tallies.variant(replica.variant)
        """What its variant did."""
        self._price = float(replica.cost_per_hour or 0) / _HOUR
        # Processor sharing: every request gets 1/n of each moment in which n are with the engine.
        self._share = 0.0
        self._shared_at = 0.0
        self._tls: ssl.SSLContext | None = None
        if replica.tls:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        host = f"[{replica.host}]" if ":" in replica.host else replica.host
        default = 443 if replica.tls else 80
        self._host = host if replica.port == default else f"{host}:{replica.port}"

    def __repr__(self) -> str:
        return f"<Endpoint {self._host} of {self.replica.variant}>"

    def head(self) -> str:
        """The headers that every request to it has, after the request line."""
        key = self._key()
        authorization = f"authorization: Bearer {key}\r\n" if key else ""
        return f"host: {self._host}\r\n{authorization}content-type: application/json\r\n"

    def begin(self, now: float) -> float:
        """Note that a request goes to it; returns the mark that `end` wants."""
        self._advance(now)
        self.in_flight += 1
        return self._share

    def end(self, mark: float, now: float) -> float:
        """Note that the request is over; returns the seconds of the engine's time that were its."""
        self._advance(now)
        self.in_flight -= 1
        return self._share - mark

    def cost(self, seconds: float) -> float | None:
        """Price of the engine's time; None where its pool has none."""
        return seconds * self._price if self.replica.cost_per_hour else None

    def succeeded(self) -> None:
        """Note that it answered."""
        self._failures = 0
        self.ejected_until = 0.0

    def failed(self, now: float) -> None:
        """Leave it alone for a while, longer with each failure in a row."""
        seconds = min(_LONGEST_EJECTION_SECONDS, _FIRST_EJECTION_SECONDS * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self.ejected_until = now + seconds
        metrics.EJECTIONS.labels(self.replica.variant).inc()
        # Whatever broke one connection has likely broken those that wait.
        self._drop_idle()

    def take(self, now: float) -> UpstreamConnection | None:
        """An idle connection, the one used last; None where there is none."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable(now):
                return connection
            connection.close()
        return None

    def give(self, connection: UpstreamConnection) -> None:
        """Take a connection back that can carry another request."""
        if self._closed or len(self._idle) >= max(self.slots, 1):
            connection.close()
        else:
            self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget an idle connection that the engine closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    def connect(self, answer: Answer, ready: Callable[[UpstreamConnection], None]) -> None:
        """Open a connection; `ready` gets it, or the answer's `on_failed` the reason."""
        task = asyncio.get_running_loop().create_task(self._connect(answer, ready))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        """Close idle connections, and busy ones once they are done."""
        self._closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    async def _connect(self, answer: Answer, ready: Callable[[UpstreamConnection], None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: cast("asyncio.Protocol", UpstreamConnection(self)),
                    self.replica.host,
                    self.replica.port,
                    ssl=self._tls,
                    server_hostname=self.replica.host if self._tls else None,
                )
        except TimeoutError:
            answer.on_failed(f"no connection within {self._connect_seconds:g} s", fresh=True)
        except OSError as error:
            answer.on_failed(f"no connection: {error.strerror or error}", fresh=True)
        except UnicodeError as error:
            # What the resolver says of a name that no server can have, such as one with two dots in a row.
            answer.on_failed(
                f"no connection: {self.replica.host!r} is no name of a host: {error}", fresh=True
            )
        else:
            ready(cast("UpstreamConnection", connection))

    def _advance(self, now: float) -> None:
        if self.in_flight:
            self._share += (now - self._shared_at) / self.in_flight
        self._shared_at = now


class FileKey:
    """A key in a file that may be rotated; looked at again at most once a second.

    Parameters
    ----------
    path
        The file; None for no key.
    clock
        Monotonic seconds.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._read = float("-inf")
        self._key = ""

    def __call__(self) -> str:
        """The key; the last good one while the file cannot be read."""
        now = self._clock()
        if self._path is not None and now - self._read >= 1:
            self._read = now
            try:
                key = self._path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError):
                return self._key
            # It goes into a header: whatever could end one must not.
            self._key = key if key.isascii() and key.isprintable() else ""
        return self._key
