"""The connection to Redis: TLS that follows rotated files, retries until a deadline, errors, spans."""

import asyncio
import hashlib
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from hiredis import pack_command
from opentelemetry import trace
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider

from innervate_service.errors import Exhausted, ServiceError, Unavailable
from innervate_service.redis_url import UrlConnection

Argument = str | bytes | int | float

_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 1.0
_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 20.0
_CONNECTIONS: Final = 32
_tracer: Final = trace.get_tracer("innervate_service")


class PasswordFile(CredentialProvider):
    """Gives the password in a file, read anew for every connection so that it may be rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Read the password."""
        return (self._path.read_text(encoding="utf-8").strip(),)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Read the password; a small local file, so without a thread."""
        return self.get_credentials()


class _CurrentTls:
    """Stands in for redis-py's own context holder, which would keep the first certificate for ever."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._directory / "tls.crt", self._directory / "tls.key")
        return context


class _TlsConnection(SSLConnection):
    """A TLS connection whose certificate and CA are read at the time it connects."""

    def __init__(self, *, identity_directory: Path, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # redis-py's own settings, passed through
        self.ssl_context = _CurrentTls(identity_directory)  # type: ignore[assignment]  # only .get() is used


@dataclass(frozen=True, kw_only=True)
class RedisUse:
    """Whose a Redis is, and what its owner should do: the words of errors."""

    client: str
    """Name under which Redis lists the connections."""
    redis: str
    """What the Redis is called, such as ``the store's Redis``."""
    memory_fix: str
    """What to do once its memory is full."""
    disk_fix: str
    """What to do once its disk is full."""
    repeat: str
    """What to do where the outcome of a write is unknown."""

    def disk_refused(self, words: str) -> Unavailable:
        """Error for a Redis that cannot write to its disk, with its words."""
        return Unavailable(
            f"{self.redis} can't write to its disk, nothing was written; most often the disk is full: "
            f"{self.disk_fix} ({words})",
            reason="REDIS_DISK",
        )

    def refused(self, error: exceptions.ResponseError) -> ServiceError:
        """Error for a command that Redis refused."""
        text = str(error)
        if isinstance(error, exceptions.OutOfMemoryError):
            return Exhausted(
                f"{self.redis} has reached its memory limit, nothing was written: {self.memory_fix}",
                reason="REDIS_FULL",
            )
        if text.startswith("MISCONF"):
            return self.disk_refused(text)
        return Unavailable(f"{self.redis} refused a command: {text}", reason="REDIS_REFUSED")

    def refused_password(self, error: exceptions.AuthenticationError) -> ServiceError:
        """Error for a refused login."""
        return Unavailable(
            f"{self.redis} refused the service's password ({error}): "
            "the Secret and the running Redis differ; restart Redis to take up a rotated one",
            reason="REDIS_LOGIN",
        )

    def unreachable(self, error: Exception, *, writes: bool) -> ServiceError:
        """Error for a Redis that did not answer."""
        reason = f"{self.redis} did not answer in time ({str(error) or type(error).__name__})"
        if writes:
            return Unavailable(
                f"{reason}, so the outcome of this write is unknown; {self.repeat}. "
                "If it goes on, see whether Redis runs and whether its disk is full",
                reason="REDIS_UNREACHABLE",
            )
        return Unavailable(f"{reason}; see whether it runs", reason="REDIS_UNREACHABLE")


@dataclass(frozen=True)
class Script:
    """A Lua script with the name it has in spans."""

    name: str
    text: str

    @cached_property
    def sha(self) -> str:
        """The name by which Redis knows it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection:
    """Connections to one Redis. Nothing is sent before the first command.

    Parameters
    ----------
    use
        Whose it is.
    host, port
        Where Redis listens.
    url_file
        Holds the URL of a Redis that is not the store's own, instead of all else.
    password_file
        Holds the password; None for none.
    identity_directory
        Holds ``tls.crt``, ``tls.key`` and ``ca.crt``; None for plain connections.
    answer_seconds
        After how long without an answer a call tries again. None leaves it at the call's deadline, which
        saves redis-py a task for every command.
    """

    def __init__(
        self,
        *,
        use: RedisUse,
        host: str | None = None,
        port: int = 6379,
        url_file: Path | None = None,
        password_file: Path | None = None,
        identity_directory: Path | None = None,
        answer_seconds: float | None = _ANSWER_SECONDS,
    ) -> None:
        self._use = use
        self._attributes: dict[str, str | int] = {"db.system.name": "redis"}
        settings: dict[str, Any] = {
            "protocol": 2,
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": answer_seconds,
            "retry": Retry(NoBackoff(), 0),  # retrying needs the call's deadline, which only we know
            "client_name": use.client,
        }
        connection_class: type[Connection] = Connection
        if url_file is not None:
            connection_class = UrlConnection
            settings["url_file"] = url_file
        elif host is None:
            raise ValueError("a host or a file with a URL is needed")
        else:
            self._attributes |= {"server.address": host, "server.port": port}
            settings |= {"host": host, "port": port}
            settings["credential_provider"] = None if password_file is None else PasswordFile(password_file)
            if identity_directory is not None:
                connection_class = _TlsConnection
                settings["identity_directory"] = identity_directory
        self._client = Redis(
            connection_pool=BlockingConnectionPool(
                max_connections=_CONNECTIONS, timeout=None, connection_class=connection_class, **settings
            )
        )
        # Replies stay as the protocol has them: nested lists, bytes and integers.
        self._client.response_callbacks.clear()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._client.connection_pool.aclose()

    async def command(self, *arguments: Argument, deadline: float, writes: bool = False) -> Any:
        """Run a command; see `script` for the rest."""

        async def attempt() -> Any:
            return await self._execute(*arguments)

        name = str(arguments[0])
        return await self._call(name, attempt, {"db.operation.name": name}, deadline=deadline, writes=writes)

    async def script(
        self,
        script: Script,
        *,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        deadline: float,
        writes: bool = False,
        traced: bool = True,
    ) -> Any:
        """Run a script, again while the connection fails, until the deadline; one CLIENT span.

        Parameters
        ----------
        script
            What to run. If it writes it must have the same effect when it runs twice.
        keys, arguments
            Given to it.
        deadline
            Time of the running event loop, in seconds.
        writes
            Whether data changes: then a lost answer leaves the outcome unknown.
        traced
            Whether it gets its span: what serves many callers at once belongs to no trace.

        Raises
        ------
        Exhausted
            Redis has reached its memory limit.
        Unavailable
            Redis can't be reached in time, or can't write to its disk.
        """

        async def attempt() -> Any:
            try:
                return await self._execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except exceptions.NoScriptError:
                return await self._execute("EVAL", script.text, len(keys), *keys, *arguments)

        attributes = {"db.operation.name": "EVALSHA", "db.stored_procedure.name": script.name}
        return await self._call(
            f"EVALSHA {script.name}",
            attempt,
            attributes if traced else None,
            deadline=deadline,
            writes=writes,
        )

    async def _execute(self, *arguments: Argument) -> Any:
        # As redis-py's own `execute_command` does it, but written out in C and without its records of itself:
        # a third of the time that a command takes here.
        command = pack_command(arguments)  # type: ignore[arg-type]  # its stub knows one argument only
        pool = self._client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]  # redis-py's
        try:
            await connection.send_packed_command(command)
            return await connection.read_response()
        finally:
            await pool.release(connection)

    async def _call(
        self,
        name: str,
        attempt: Callable[[], Awaitable[Any]],
        attributes: Mapping[str, str] | None,
        *,
        deadline: float,
        writes: bool,
    ) -> Any:
        if attributes is None:
            return await self._attempts(attempt, trace.INVALID_SPAN, deadline=deadline, writes=writes)
        with _tracer.start_as_current_span(
            name, kind=trace.SpanKind.CLIENT, attributes={**self._attributes, **attributes}
        ) as span:
            return await self._attempts(attempt, span, deadline=deadline, writes=writes)

    async def _attempts(
        self, attempt: Callable[[], Awaitable[Any]], span: trace.Span, *, deadline: float, writes: bool
    ) -> Any:
        delay = _FIRST_DELAY
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    reply = await attempt()
            except exceptions.ResponseError as error:
                raise self._use.refused(error) from error
            except exceptions.AuthenticationError as error:
                raise self._use.refused_password(error) from error
            except (exceptions.ConnectionError, exceptions.TimeoutError, OSError) as error:
                _end_if_cancelled()
                span.add_event("retry", {"error.type": type(error).__name__})
                pause = delay * random.uniform(0.5, 1.0)  # noqa: S311  jitter is no secret
                if loop.time() + pause >= deadline:
                    raise self._use.unreachable(error, writes=writes) from error
            else:
                _end_if_cancelled()
                return reply
            await asyncio.sleep(pause)
            delay = min(2 * delay, _LONGEST_DELAY)


def _end_if_cancelled() -> None:
    """End the running task if it is to end.

    redis-py sends within `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes
    at the moment the sending is done; a task would then run on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
