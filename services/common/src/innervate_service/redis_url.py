"""Connections to a Redis that is not the service's own: its URL stands in a file that may change."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio import SSLConnection
from redis.credentials import CredentialProvider

_SCHEME = "rediss"
_PORT = 6379


class Address(NamedTuple):
    """What a URL says."""

    host: str
    port: int
    database: int
    credentials: tuple[str] | tuple[str, str] | None


def read_url(path: Path) -> Address:
    """Read ``rediss://user:password@host:port/database``.

    Raises
    ------
    redis.exceptions.ConnectionError
        There is no such URL in the file. It is a connection error because the file may be mended.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
        url = urlsplit(text)
        port = url.port or _PORT
        database = int(url.path.strip("/") or 0)
    except OSError as error:
        raise exceptions.ConnectionError(
            f"the URL of Redis cannot be read: {error.strerror or error}"
        ) from error
    except ValueError:
        # The words of the error would repeat the URL, and with it the password.
        raise exceptions.ConnectionError("the URL of Redis is malformed") from None
    if url.scheme != _SCHEME or not url.hostname:
        raise exceptions.ConnectionError(f"the URL of Redis must be {_SCHEME}://user:password@host:port/0")
    if url.password is None:
        return Address(url.hostname, port, database, None)
    password = unquote(url.password)
    credentials = (unquote(url.username), password) if url.username else (password,)
    return Address(url.hostname, port, database, credentials)


class UrlCredentials(CredentialProvider):
    """Gives the user and password of the URL, read anew for every connection so that it may be rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Read user and password."""
        return read_url(self._path).credentials or ("",)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Read user and password; a small local file, so without a thread."""
        return self.get_credentials()


class UrlConnection(SSLConnection):
    """A TLS connection to where the file says at the time it connects; the system's CAs are trusted."""

    def __init__(self, *, url_file: Path, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]  # redis-py's own settings, passed through
        self._url_file = url_file

    async def _connect(self) -> None:
        address = read_url(self._url_file)
        self.host, self.port, self.db = address.host, address.port, address.database
        self.credential_provider = UrlCredentials(self._url_file) if address.credentials else None
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py's
