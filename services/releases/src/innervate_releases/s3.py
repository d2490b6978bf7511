"""A store in S3, or in anything that speaks like it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions
from obstore.store import S3Store as Bucket

from innervate_releases.digests import CHUNK
from innervate_releases.errors import NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from innervate_releases.location import Location
    from innervate_releases.store import Key

_PART = 8 << 20
"""Bytes of one part of an upload; S3 wants at least 5 MiB."""
_PARTS = 9_000
"""S3 takes at most 10,000 parts."""
_SMALL = 4 << 20
_RETRIES = re.compile(r" in [0-9.]+\S*s, after [0-9]+ retries,.*?retry_timeout: \S+ +-")
_ERRORS = (exceptions.BaseError, OSError)


class S3Store:
    """Objects below a prefix of a bucket; an object appears when its upload is complete."""

    def __init__(self, uri: str, bucket: Bucket) -> None:
        self._uri = uri
        self._bucket = bucket

    @classmethod
    def open(cls, uri: str, location: Location, environment: Mapping[str, str]) -> S3Store:
        """Open a bucket with the ``AWS_*`` settings of the environment, such as ``AWS_ENDPOINT_URL``.

        Raises
        ------
        StoreError
            The settings do not fit together.
        """
        endpoint = environment.get("AWS_ENDPOINT_URL", "")
        try:
            bucket = Bucket(
                location.host,
                prefix=location.path or None,
                # Everything else is read from the environment by the library.
                client_options={"allow_http": endpoint.startswith("http://")},
            )
        except _ERRORS as error:
            raise StoreError(uri, f"{uri} cannot be opened: {_say(error)}") from error
        return cls(uri, bucket)

    @property
    def uri(self) -> str:
        """Where it is, for messages."""
        return self._uri

    def size(self, key: Key) -> int | None:
        """Bytes held under a key; None where there is nothing."""
        try:
            return obstore.head(self._bucket, key.path)["size"]
        except FileNotFoundError:
            return None
        except _ERRORS as error:
            raise self._refused("cannot be read", error) from error

    def read(self, key: Key, offset: int = 0) -> Iterator[bytes]:
        """Give the bytes under a key, from an offset on, in pieces."""
        try:
            options: obstore.GetOptions = {"range": {"offset": offset}} if offset else {}
            for chunk in obstore.get(self._bucket, key.path, options=options).stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except FileNotFoundError:
            message = f"{key.part.lower()} {key.digest} is not in {self._uri}"
            raise NotFoundError(key.part, key.digest, message) from None
        except _ERRORS as error:
            raise self._refused("cannot be read", error) from error

    def write(self, key: Key, content: Iterable[bytes], size: int) -> None:
        """Put bytes under a key: wholly or not at all, replacing what was there."""
        try:
            if size <= _SMALL:
                obstore.put(self._bucket, key.path, b"".join(content), use_multipart=False)
                return
            obstore.put(
                self._bucket,
                key.path,
                content,
                use_multipart=True,
                chunk_size=max(_PART, -(-size // _PARTS)),
                max_concurrency=2,
            )
        except _ERRORS as error:
            raise self._refused("cannot be written", error) from error

    def _refused(self, what: str, error: Exception) -> StoreError:
        return StoreError(self._uri, f"{self._uri} {what}: {_say(error)}")


def _say(error: Exception) -> str:
    """The first line of an error, which may be pages long, without what differs each time."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _RETRIES.sub(":", line)[:300]
