"""Reads a JSON page from a pod by plain HTTP: bounded in time and size, whoever may answer there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.reader import HttpProbe

_MAX_BYTES = 64 * 1024
_OK = 200


class PageUnread(Exception):
    """There is no page, or it is not as it must be.

    Parameters
    ----------
    code
        gRPC status name that says the same.
    message
        What is wrong, in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Pages:
    """Reads pages, one connection each: pods that run to an end are soon gone.

    Parameters
    ----------
    timeout_seconds
        For one page, connection included.
    """

    def __init__(self, *, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def read(self, probe: HttpProbe) -> Mapping[str, Any]:
        """Read the page that a probe names.

        Raises
        ------
        PageUnread
            Nobody answers in time, or the answer is no JSON object of the size allowed.
        """
        url = probe.target
        try:
            # Not followed: an answer must not send the operator elsewhere.
            async with self._open().get(url, allow_redirects=False) as response:
                content = await response.content.read(_MAX_BYTES + 1)
                while not response.content.at_eof() and len(content) <= _MAX_BYTES:
                    content += await response.content.read(_MAX_BYTES + 1 - len(content))
        except TimeoutError as error:
            raise PageUnread("DEADLINE_EXCEEDED", f"{url} took too long") from error
        except (aiohttp.ClientError, OSError) as error:
            raise PageUnread("UNAVAILABLE", f"{url} cannot be read: {error}") from error
        if response.status != _OK:
            raise PageUnread("UNAVAILABLE", f"{url} answers with status {response.status}")
        if len(content) > _MAX_BYTES:
            raise PageUnread("RESOURCE_EXHAUSTED", f"{url} holds more than {_MAX_BYTES} bytes")
        return _object(url, content)

    async def close(self) -> None:
        """End what is under way."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        # Made where an event loop runs, and only where pages are read at all.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
            )
        return self._session


def _object(url: str, content: bytes) -> Mapping[str, Any]:
    try:
        # A loss that is not a number is written as NaN, which is no JSON: it counts as missing.
        found = json.loads(content, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise PageUnread("UNKNOWN", f"{url} holds no JSON: {error}") from error
    if not isinstance(found, dict):
        raise PageUnread("UNKNOWN", f"{url} holds no JSON object")
    return found
