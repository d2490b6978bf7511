"""What a call can fail with. A service's core raises these; `status` turns them into gRPC statuses.

Nothing here imports grpc: `code` is the name of a `google.rpc.Code`, and `details()` are the standard
messages of `google.rpc.error_details`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no py.typed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

DOMAIN = "innervate.dev"
"""Domain of every `ErrorInfo`."""

_SHOWN = 200
"""How many characters of a refused value are repeated to the caller."""


class ServiceError(Exception):
    """A failure that the caller is told about.

    Everything else that a handler raises is a bug: the caller sees INTERNAL and a trace id.
    """

    code: ClassVar[str] = "UNKNOWN"
    """Name of the `google.rpc.Code`."""

    def details(self) -> Sequence[Message]:
        """Messages of `google.rpc.error_details` for programs."""
        return ()


class InvalidArgument(ServiceError):
    """A field of the request is wrong.

    Parameters
    ----------
    field
        Path in the request, as in ``records[3].text``.
    value
        What was sent; a long one is cut.
    fix
        What would be right, as in ``must be at most 64 KiB``.
    """

    code = "INVALID_ARGUMENT"

    def __init__(self, field: str, value: object, fix: str) -> None:
        shown = repr(value)
        if len(shown) > _SHOWN:
            shown = shown[:_SHOWN] + "…"
        super().__init__(f"{field} = {shown}: {fix}")
        self.field = field
        self.fix = fix

    def details(self) -> Sequence[Message]:
        """One `BadRequest` with the field."""
        violation = error_details_pb2.BadRequest.FieldViolation(field=self.field, description=str(self))
        return (error_details_pb2.BadRequest(field_violations=[violation]),)


class _ResourceError(ServiceError):
    """About one named thing."""

    _said: ClassVar[str]

    def __init__(self, resource_type: str, name: str, fix: str = "") -> None:
        super().__init__(f"{resource_type} {name!r} {self._said}" + (f": {fix}" if fix else ""))
        self.resource_type = resource_type
        self.name = name

    def details(self) -> Sequence[Message]:
        """One `ResourceInfo`."""
        return (
            error_details_pb2.ResourceInfo(
                resource_type=self.resource_type, resource_name=self.name, description=str(self)
            ),
        )


class NotFound(_ResourceError):
    """A named thing is not there (for this caller)."""

    code = "NOT_FOUND"
    _said = "is not there"


class AlreadyExists(_ResourceError):
    """A name is taken by something else."""

    code = "ALREADY_EXISTS"
    _said = "is already there"


class _ReasonError(ServiceError):
    """About who asks."""

    _reason: ClassVar[str]

    def __init__(self, message: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.metadata = dict(metadata or {})

    def details(self) -> Sequence[Message]:
        """One `ErrorInfo`."""
        return (error_details_pb2.ErrorInfo(reason=self._reason, domain=DOMAIN, metadata=self.metadata),)


class Unauthenticated(_ReasonError):
    """The caller did not prove who it is."""

    code = "UNAUTHENTICATED"
    _reason = "UNAUTHENTICATED"


class PermissionDenied(_ReasonError):
    """The caller is known and may not."""

    code = "PERMISSION_DENIED"
    _reason = "PERMISSION_DENIED"


class FailedPrecondition(ServiceError):
    """The state of something must change before this can work; trying again does not help.

    Parameters
    ----------
    kind
        Type of the precondition, CamelCase.
    subject
        What is in that state.
    message
        What, why and what to do.
    """

    code = "FAILED_PRECONDITION"

    def __init__(self, kind: str, subject: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.subject = subject

    def details(self) -> Sequence[Message]:
        """One `PreconditionFailure`."""
        violation = error_details_pb2.PreconditionFailure.Violation(
            type=self.kind, subject=self.subject, description=str(self)
        )
        return (error_details_pb2.PreconditionFailure(violations=[violation]),)


class _RetryableError(ServiceError):
    """Worth trying again, after a while.

    Parameters
    ----------
    message
        What, why and what to do.
    retry_after
        When it is worth it.
    reason
        Word for programs, as in ``REDIS_LOGIN``; empty where the code says enough.
    """

    def __init__(
        self, message: str, *, retry_after: timedelta = timedelta(seconds=1), reason: str = ""
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reason = reason

    def details(self) -> Sequence[Message]:
        """One `RetryInfo`, and an `ErrorInfo` where there is a reason."""
        delay = Duration()
        delay.FromTimedelta(self.retry_after)
        retry = error_details_pb2.RetryInfo(retry_delay=delay)
        if not self.reason:
            return (retry,)
        return (retry, error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN))


class Exhausted(_RetryableError):
    """Too many calls, or a limit is reached."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(_RetryableError):
    """Something that this call needs does not answer now."""

    code = "UNAVAILABLE"


class Aborted(_RetryableError):
    """Another call changed the same thing at the same time; trying again helps."""

    code = "ABORTED"


class DeadlineExceeded(ServiceError):
    """The call's time is over; whether it took effect is not known."""

    code = "DEADLINE_EXCEEDED"
