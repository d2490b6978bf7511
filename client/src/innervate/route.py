"""The ways to a store or pool: where it answers, whom to expect there, and how to prove who calls."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

from innervate_kinds.memory_store.names import Names

from innervate import tracing
from innervate.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unavailable
from innervate.forward import PortForward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from innervate.kubectl import Kubectl

TOKEN_FILE = "/var/run/secrets/innervate/token"  # noqa: S105 - a path, not a password
"""Where pods of ours find their token."""
CA_FILE = "/etc/innervate/trust/ca.crt"
"""Where pods of ours find the authorities that services are certified by."""
AUDIENCE = "innervate"
"""Audience of tokens for our services."""
DEFAULT_PORT = 7443
"""Where our services answer gRPC."""
_TOKEN_LIFETIME_S = 600
_RETRY_AFTER_S = 0.5


class Address(NamedTuple):
    """Where to connect to, and whom to expect there."""

    target: str
    """gRPC target."""
    server_name: str
    """Name that the server's certificate must hold."""
    ca: bytes
    """PEM of the authorities to trust."""

    @property
    def authority(self) -> str:
        """Host and port to connect to, as URLs have them."""
        return self.target.removeprefix("dns:///").removeprefix("ipv4:")


class Served(NamedTuple):
    """A kind of resource that answers at an endpoint."""

    kind: str
    plural: str
    trust: Callable[[str], str]
    """Name of the ConfigMap with the authorities that certify a resource of that name."""


MEMORY_STORE = Served("MemoryStore", "memorystores", lambda name: Names.of(name).trust)


class Route(Protocol):
    """A way to a store or pool. Every method may be called from any thread, and may block."""

    store: str
    """What it is called in spans and messages."""

    def warm(self) -> bool:
        """Whether `address` and `token` answer at once now."""

    def address(self) -> Address:
        """Where the store answers now; makes the way if there is none."""

    def token(self) -> str:
        """Token that proves who calls."""

    def renew_token(self) -> None:
        """Have the next `token` be a new one: the last was refused."""

    def lost(self, address: Address) -> None:
        """Make a new way next time: there was no answer on this one."""

    def close(self) -> None:
        """End what was started."""


class Direct:
    """A store or pool that this process can reach by itself, as pods in the cluster can.

    Parameters
    ----------
    endpoint
        ``grpcs://host:port`` or ``https://host:port``, as `status.endpoint` has it.
    ca
        Authorities to trust: a PEM file, read again for each connection, or PEM itself.
    token
        Gives the token for each call; or the file to read it from.
    server_name
        Name to expect in the certificate, where it is not the endpoint's host.
    port
        Another port than the endpoint's.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        ca: str | Path | bytes = CA_FILE,
        token: str | Path | Callable[[], str] = TOKEN_FILE,
        server_name: str | None = None,
        port: int | None = None,
    ) -> None:
        host, port = parse_endpoint(endpoint, port)
        self.store = host
        self._target = f"dns:///{host}:{port}"
        self._server_name = server_name or host
        self._ca = ca
        self._token = token

    def warm(self) -> bool:
        """Both are small files, or functions of the caller's, which must not block."""
        return True

    def address(self) -> Address:
        """Where the store answers."""
        ca = self._ca if isinstance(self._ca, bytes) else _read(Path(self._ca), "authorities to trust")
        return Address(self._target, self._server_name, ca)

    def token(self) -> str:
        """Token that proves who calls."""
        if callable(self._token):
            return self._token()
        return _read(Path(self._token), "token").decode().strip()

    def renew_token(self) -> None:
        """Nothing to do: the kubelet renews the file."""

    def lost(self, address: Address) -> None:
        """Nothing to do: the endpoint stays, and gRPC connects again by itself."""

    def close(self) -> None:
        """Nothing to do."""


class Forwarded:
    """A store or pool in a cluster that this machine reaches through the API server.

    Parameters
    ----------
    kubectl
        How to reach the cluster; its namespace is the resource's.
    store
        Name of the resource.
    service_account
        Account to call as, of that namespace; the person must be allowed to request its tokens.
    served
        What kind of resource it is.
    port
        Another port than its endpoint's.
    """

    def __init__(
        self,
        kubectl: Kubectl,
        store: str,
        service_account: str,
        *,
        served: Served = MEMORY_STORE,
        port: int | None = None,
    ) -> None:
        self._served = served
        self._port = port
        self._kubectl = replace(kubectl, namespace=kubectl.current_namespace())
        self._name = store
        self.store = f"{self._kubectl.namespace}/{store}"
        self._service_account = service_account
        self._forward: PortForward | None = None
        self._address: Address | None = None
        self._was_open = False
        self._forward_lock = threading.Lock()
        self._token = ""
        self._token_until = 0.0
        self._token_lock = threading.Lock()

    def warm(self) -> bool:
        """Whether kubectl runs, and the token is good."""
        forward = self._forward
        return forward is not None and forward.alive and time.time() < self._token_until

    def address(self) -> Address:
        """Local port that leads to the store; makes one if there is none."""
        with self._forward_lock:
            if self._address is None or self._forward is None or not self._forward.alive:
                self._close_forward()
                with self._patience(), tracing.tracer().start_as_current_span(f"connect {self.store}"):
                    self._open()
                self._was_open = True
            if self._address is None:
                raise Unavailable(f"the way to {self.store} was closed")
            return self._address

    def token(self) -> str:
        """Token of the account, requested anew when most of its life is over."""
        with self._token_lock:
            if time.time() >= self._token_until:
                with self._patience():
                    self._request_token()
            return self._token

    def renew_token(self) -> None:
        """Have the next `token` be a new one."""
        with self._token_lock:
            self._token_until = 0.0

    def lost(self, address: Address) -> None:
        """Forward anew next time, to a pod that lives."""
        with self._forward_lock:
            if self._address == address:
                self._close_forward()

    def close(self) -> None:
        """End the forward."""
        with self._forward_lock:
            self._close_forward()

    def _open(self) -> None:
        host, port = parse_endpoint(self._endpoint(), self._port)
        with ThreadPoolExecutor(2) as pool:
            ca = pool.submit(self._authorities)
            # A token asked for now is there when the first call needs it.
            pool.submit(self.token)
            self._forward = PortForward(self._kubectl, host.split(".")[0], port)
            self._address = Address(f"ipv4:127.0.0.1:{self._forward.port}", host, ca.result())

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Make failures of a cluster that worked before worth trying again; a first one is told at once."""
        try:
            yield
        except Unavailable as error:
            if self._was_open and error.retry_after is None:
                error.retry_after = _RETRY_AFTER_S
            raise

    def _close_forward(self) -> None:
        if self._forward is not None:
            self._forward.close()
        self._forward = self._address = None

    def _endpoint(self) -> str:
        kind, plural = self._served.kind, self._served.plural
        path = f"/apis/innervate.dev/v1alpha1/namespaces/{self._kubectl.namespace}/{plural}/{self._name}"
        try:
            resource = self._kubectl.read(path)
        except NotFound as error:
            raise NotFound(
                f"{kind} {self.store}: {error.message}",
                fix=error.fix or f"see which there are: innervate get {kind.lower()} -A",
            ) from None
        status = resource.get("status") or {}
        if not status.get("endpoint"):
            ready: dict[str, str] = next(
                (each for each in status.get("conditions", ()) if each["type"] == "Ready"), {}
            )
            why = ready.get("message") or "it has no endpoint yet"
            raise Unavailable(
                f"{kind} {self.store} is not ready: {why}",
                fix=f"watch it: innervate get {kind.lower()} {self._name} -n {self._kubectl.namespace}",
            )
        return str(status["endpoint"])

    def _authorities(self) -> bytes:
        name = self._served.trust(self._name)
        path = f"/api/v1/namespaces/{self._kubectl.namespace}/configmaps/{name}"
        found = (self._kubectl.read(path).get("data") or {}).get("ca.crt")
        if not found:
            raise Unavailable(
                f"ConfigMap {self._kubectl.namespace}/{name} names no authorities to trust",
                fix=f"see what it says: innervate get {self._served.kind.lower()} {self._name} --tree",
            )
        return str(found).encode()

    def _request_token(self) -> None:
        try:
            answer = json.loads(
                self._kubectl.run(
                    *("create", "token", self._service_account, f"--audience={AUDIENCE}"),
                    *(f"--duration={_TOKEN_LIFETIME_S}s", "--output=json"),
                )
            )
        except NotFound:
            raise NotFound(
                f"ServiceAccount {self._kubectl.namespace}/{self._service_account} is not there",
                field="service_account",
                fix=f"create it: kubectl -n {self._kubectl.namespace} create serviceaccount "
                f"{self._service_account}",
            ) from None
        except PermissionDenied as error:
            raise PermissionDenied(
                error.message,
                fix="have yourself allowed to create serviceaccounts/token there, or name another account",
            ) from None
        status = answer["status"]
        expires = datetime.fromisoformat(status["expirationTimestamp"]).astimezone(UTC).timestamp()
        self._token = str(status["token"])
        self._token_until = time.time() + 0.8 * (expires - time.time())


def parse_endpoint(endpoint: str, port: int | None = None) -> tuple[str, int]:
    """Host and port of ``grpcs://host:port`` or ``https://host:port``.

    Parameters
    ----------
    endpoint
        The URL.
    port
        Another port than that.

    Raises
    ------
    InvalidArgument
        If it is something else.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("grpcs", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise InvalidArgument(
            f"endpoint = {endpoint!r} is not of the form grpcs://host:port or https://host:port",
            field="endpoint",
            fix="take it from the resource's status.endpoint",
        )
    return parts.hostname, port or parts.port or DEFAULT_PORT


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unauthenticated(
            f"the {what} cannot be read: {path}: {error.strerror}",
            fix="mount it there, or name another file; outside the cluster use from_kubernetes",
        ) from None
