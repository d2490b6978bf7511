"""What rooms may read while they observe: caches and probe results, never the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from innervate_kinds.api.kind import Kind, Reference


class Reader(Protocol):
    """The operator's caches. What it returns must not be changed."""

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """Object as cached, or None."""

    def owned(self, kind: Kind, uid: str) -> Sequence[Mapping[str, Any]]:
        """Objects of a kind that carry the owner label with this UID."""

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Mapping[str, Any]]:
        """All cached objects of a kind, of one namespace or of all."""

    def available(self, kind: Kind) -> bool:
        """Whether the cluster serves the kind."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to a running service; runtime asks it in the background.

    Parameters
    ----------
    name
        Key of the result in `observe`.
    target
        ``host:port`` of a gRPC service with a certificate of our authority.
    method
        Full gRPC method, ``/package.Service/Method``.
    request
        Serialised request.
    decode
        Turns the serialised response into plain values.
    interval_seconds
        Time between two questions.
    server_name
        DNS name that the certificate must hold, where it is not the target's own.
    """

    name: str
    target: str
    method: str
    request: bytes
    decode: Callable[[bytes], Mapping[str, Any]] = field(compare=False)
    interval_seconds: float = 15.0
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    """A page to read from a pod by plain HTTP: what a run tells of itself on the way.

    For pods that run to an end, which are no service: nothing but our own NetworkPolicy says who may
    read, nothing proves who answers, and no token is sent. So the answer is told and never acted on.

    Parameters
    ----------
    name
        Key of the result in `observe`.
    address
        IP address of the pod.
    port
        Port of the page.
    path
        Path of the page; its content is one JSON object of at most 64 KiB.
    decode
        Turns the object into plain values; whatever it raises makes a failure of the answer.
    interval_seconds
        Time between two questions.
    """

    name: str
    address: str
    port: int
    path: str
    decode: Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(compare=False)
    interval_seconds: float = 15.0

    @property
    def target(self) -> str:
        """URL of the page."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}{self.path}"


AnyProbe = Probe | HttpProbe
"""A question of either way of asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The last answer to a probe, or why there is none.

    Parameters
    ----------
    time
        When it came.
    value
        Decoded answer; None on failure.
    code
        gRPC status name on failure (``UNAVAILABLE``), for a page too, else empty.
    reason
        Reason of the `google.rpc.ErrorInfo` detail on failure, where there is one.
    message
        The service's words on failure.
    """

    time: datetime
    value: Mapping[str, Any] | None = None
    code: str = ""
    reason: str = ""
    message: str = ""
