"""What a call can fail with: every message names what was wrong and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import (  # type: ignore[import-untyped]  # ships no py.typed
    error_details_pb2,
    status_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.any_pb2 import Any as AnyMessage

_DETAILS = "grpc-status-details-bin"


class InnervateError(Exception):
    """Base of everything that the SDK and the command raise.

    Parameters
    ----------
    message
        What is wrong and why.
    field
        The field of the request that is wrong, where there is one, such as ``records[3].text``.
    fix
        What to do next, where it is known.
    retry_after
        Seconds after which trying again makes sense; None where it does not.
    """

    def __init__(
        self, message: str, *, field: str = "", fix: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.fix = fix
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}" if self.fix else self.message


class InvalidArgument(InnervateError, ValueError):
    """A field of the request is wrong; `field` names it."""


class NotFound(InnervateError, LookupError):
    """A named thing is not there, for this caller."""


class Conflict(InnervateError):
    """The request contradicts what is there, such as a key put again with another content."""


class Unauthenticated(InnervateError):
    """The caller could not prove who it is."""


class PermissionDenied(InnervateError):
    """The caller is known and may not do this."""


class Exhausted(InnervateError):
    """The store is full, or too busy for longer than the call could wait."""


class DeadlineExceeded(InnervateError, TimeoutError):
    """The call's time is over; whether it took effect is not known. Trying again with the key is safe."""


class Unavailable(InnervateError, ConnectionError):
    """The service did not answer, for longer than the call could wait."""


class ServiceFailed(InnervateError):
    """The service failed in a way it did not foresee."""


class ToolMissing(InnervateError):
    """A program that is needed, kubectl or helm, is not installed."""


class ClusterRefused(InnervateError):
    """The Kubernetes API server, or kubectl on the way to it, refused."""


_BY_CODE: dict[grpc.StatusCode, type[InnervateError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exhausted,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
}
_CHANNEL_LOST = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def from_rpc(error: grpc.RpcError) -> tuple[InnervateError, bool]:
    """Turn a failed call into one of ours.

    Parameters
    ----------
    error
        What grpc raised, in either of its forms, blocking and asyncio.

    Returns
    -------
    InnervateError
        The error, with field and time to wait where the service told them.
    bool
        Whether the connection itself is in doubt: nothing shows that the service answered at all.
    """
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    message = (error.details() if hasattr(error, "details") else None) or code.name
    field, retry_after, answered = "", None, False
    for detail in _details(error):
        answered = True
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            field = bad.field_violations[0].field if bad.field_violations else ""
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    doubtful = code in _CHANNEL_LOST and not answered
    if doubtful:
        retry_after = 0.0
    made = _BY_CODE.get(code, ServiceFailed)(message, field=field, retry_after=retry_after)
    return made, doubtful


def _details(error: grpc.RpcError) -> Iterator[AnyMessage]:
    metadata: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    # Pairs in the blocking form, a mapping of the like in the other; both iterate as pairs.
    pairs: Iterable[tuple[str, str | bytes]] = metadata or ()
    for key, value in pairs:
        if key == _DETAILS and isinstance(value, bytes):
            yield from status_pb2.Status.FromString(value).details
