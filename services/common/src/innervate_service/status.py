"""The one place where failures become gRPC statuses with `google.rpc` details."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no py.typed

from innervate_service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

_DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata that carries a `google.rpc.Status`."""
_MAX_MESSAGE = 1024
"""Characters of a message: together with the details it must stay below 8 KiB of trailing metadata."""


class CallStatus(NamedTuple):
    """What a failed call is answered with."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def status_of(error: Exception, *, trace_id: str) -> CallStatus:
    """The status that a failure is answered with.

    Parameters
    ----------
    error
        What the handler raised. Anything but a `ServiceError` is a bug: the caller gets INTERNAL and
        the trace id, and nothing that the exception says.
    trace_id
        Hexadecimal.
    """
    if isinstance(error, ServiceError):
        return _status(grpc.StatusCode[error.code], str(error), error.details())
    request = error_details_pb2.RequestInfo(request_id=trace_id)
    return _status(grpc.StatusCode.INTERNAL, f"internal error; trace {trace_id} leads to its log", [request])


def _status(code: grpc.StatusCode, message: str, details: Sequence[Message]) -> CallStatus:
    if len(message) > _MAX_MESSAGE:
        message = message[:_MAX_MESSAGE] + "…"
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return CallStatus(code, message, ((_DETAILS_KEY, status.SerializeToString()),))
