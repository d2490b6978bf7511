"""Follow the objects of one kind through the API server, over a connection of the standard library.

A client library would cost each process that follows something tens of megabytes,
and the cluster a second of its start.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Object = dict[str, Any]
"""A Kubernetes object as JSON."""


class Key(NamedTuple):
    """A namespaced name."""

    namespace: str
    name: str


_WATCH_S = 240
"""The API server ends a watch after this many seconds; the next one begins where it ended."""
_CONNECT_S = 3.0
_RETRY_S = 0.5
_KEEPALIVE = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 2, socket.TCP_KEEPCNT: 3}
"""A silent connection through a cut link is given up after 11 seconds, so that a healed
link is used at once and not when the other end happens to try again."""
_log = logging.getLogger(__name__)


class Access(NamedTuple):
    """How the API server is reached."""

    host: str
    port: int
    tls: ssl.SSLContext


def access(kubeconfig: Path) -> Access:
    """Read a kubeconfig that identifies its user by a certificate.

    Parameters
    ----------
    kubeconfig
        The file; its current context counts.
    """
    content = yaml.safe_load(kubeconfig.read_text())
    context = _named(content["contexts"], content["current-context"])["context"]
    cluster = _named(content["clusters"], context["cluster"])["cluster"]
    user = _named(content["users"], context["user"])["user"]
    tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    _present(tls, kubeconfig.with_suffix(".identity"), user)
    url = urlsplit(cluster["server"])
    return Access(url.hostname or "", url.port or 443, tls)


class Watched:
    """The objects of one kind as they are now.

    Parameters
    ----------
    access
        How the API server is reached.
    path
        The kind's collection, for instance ``/api/v1/pods``.
    changed
        Set whenever something changed.
    """

    def __init__(self, access: Access, path: str, changed: threading.Event) -> None:
        self._access = access
        self._path = path
        self._changed = changed
        self._objects: dict[Key, Object] = {}
        self._lock = threading.Lock()
        self.synced = threading.Event()
        """Set once the objects have been listed."""

    def start(self) -> None:
        """Follow from now on, in a thread that ends with the program."""
        threading.Thread(target=self._follow, name=self._path, daemon=True).start()

    def objects(self) -> list[Object]:
        """Give the objects."""
        with self._lock:
            return list(self._objects.values())

    def _follow(self) -> None:
        version = ""
        while True:
            try:
                version = self._watch(version) if version else self._list()
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                # Listing again is always right: a version may have been forgotten meanwhile.
                _log.warning("following %s broke off, listing again: %s", self._path, error)
                version = ""
                time.sleep(_RETRY_S)

    def _list(self) -> str:
        response = json.loads(b"".join(self._get({}, timeout_s=30)))
        with self._lock:
            self._objects = {_key(item): item for item in response["items"]}
        self.synced.set()
        self._changed.set()
        return str(response["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_S),
        }
        for line in self._get(query, timeout_s=_WATCH_S + 30):
            event = json.loads(line)
            item = event["object"]
            if event["type"] == "ERROR":
                raise ValueError(item.get("message", "the watch ended with an error"))
            version = item["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            with self._lock:
                if event["type"] == "DELETED":
                    self._objects.pop(_key(item), None)
                else:
                    self._objects[_key(item)] = item
            self._changed.set()
        return version

    def _get(self, query: dict[str, str], *, timeout_s: float) -> Iterator[bytes]:
        connection = http.client.HTTPSConnection(
            self._access.host, self._access.port, context=self._access.tls, timeout=_CONNECT_S
        )
        try:
            connection.connect()
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE.items():
                connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
            connection.sock.settimeout(timeout_s)
            connection.request("GET", f"{self._path}?{urlencode(query)}")
            response = connection.getresponse()
            if response.status != http.client.OK:
                raise ValueError(f"{response.status} {response.reason}")
            yield from iter(response.readline, b"")
        finally:
            connection.close()


def _present(tls: ssl.SSLContext, file: Path, user: Object) -> None:
    """Give a context the user's certificate; it takes one only from a file."""
    file.touch(mode=0o600)
    try:
        parts = (user["client-certificate-data"], user["client-key-data"])
        file.write_bytes(b"".join(map(base64.b64decode, parts)))
        tls.load_cert_chain(file)
    finally:
        file.unlink()


def _named(items: list[Object], name: str) -> Object:
    return next(item for item in items if item["name"] == name)


def _key(item: Object) -> Key:
    metadata = item["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])
