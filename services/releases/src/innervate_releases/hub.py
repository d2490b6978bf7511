"""A store in a repository of a model hub, for reading: ``hf://organisation/name[@revision][/path]``.

The repository holds the same paths as a directory does (``innervate release push`` to a
``file://`` address makes them); who publishes it uploads the directory with the hub's own tools.
Files are read as the hub serves them, at ``/<repository>/resolve/<revision>/<path>``.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote

import httpx

from innervate_releases.digests import CHUNK
from innervate_releases.errors import NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from innervate_releases.location import Location
    from innervate_releases.store import Key

ENDPOINT = "HF_ENDPOINT"
"""Environment variable with the hub's address, for mirrors."""
TOKEN = "HF_TOKEN"  # noqa: S105  the name of a variable
"""Environment variable with an access token, for repositories that are not public."""
_PUBLIC = "https://huggingface.co"
_REVISION = "main"
_TIMEOUT = httpx.Timeout(30, read=300)


class HubStore:
    """Files of one revision of a repository."""

    def __init__(self, uri: str, base: str, token: str) -> None:
        self._uri = uri
        self._base = base
        # The token stays with the hub: a redirect to another host goes without.
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers=headers)

    @classmethod
    def open(cls, uri: str, location: Location, environment: Mapping[str, str]) -> HubStore:
        """Open a repository.

        Raises
        ------
        StoreError
            The address names no repository.
        """
        name, _, path = location.path.partition("/")
        name, _, revision = name.partition("@")
        if not name:
            raise StoreError(uri, f"{uri!r} names no repository; it is hf://organisation/name[@revision]")
        endpoint = (environment.get(ENDPOINT) or _PUBLIC).rstrip("/")
        base = f"{endpoint}/{location.host}/{quote(name)}/resolve/{quote(revision or _REVISION)}"
        prefix = f"{base}/{quote(path)}" if path else base
        return cls(uri, prefix, environment.get(TOKEN, ""))

    @property
    def uri(self) -> str:
        """Where it is, for messages."""
        return self._uri

    def size(self, key: Key) -> int | None:
        """Bytes held under a key; None where there is nothing."""
        # Compressed on the way, it would have another length.
        with self._request("HEAD", key, {"accept-encoding": "identity"}) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            return int(response.headers.get("content-length", 0))

    def read(self, key: Key, offset: int = 0) -> Iterator[bytes]:
        """Give the bytes under a key, from an offset on, in pieces."""
        headers = {"range": f"bytes={offset}-"} if offset else {}
        with self._request("GET", key, headers) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                message = f"{key.part.lower()} {key.digest} is not in {self._uri}"
                raise NotFoundError(key.part, key.digest, message)
            # A server may ignore the range.
            skip = offset if response.status_code == httpx.codes.OK else 0
            for chunk in response.iter_bytes(CHUNK):
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    def write(self, key: Key, content: Iterable[bytes], size: int) -> NoReturn:
        """Refuse: a hub is written to with its own tools."""
        del content, size
        message = (
            f"{self._uri} is read only: {key.part.lower()} {key.digest} cannot be written there; "
            "push to a file:// directory, and upload that with the hub's own tools"
        )
        raise StoreError(self._uri, message)

    @contextmanager
    def _request(self, method: str, key: Key, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(method, f"{self._base}/{key.path}", headers=headers) as response:
                if response.is_error and response.status_code != httpx.codes.NOT_FOUND:
                    status = f"{response.status_code} {response.reason_phrase}"
                    raise StoreError(self._uri, f"{self._uri} refuses: {status}")
                yield response
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise StoreError(self._uri, f"{self._uri} does not answer: {error}") from error
