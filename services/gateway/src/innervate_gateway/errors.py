"""What a request can be refused with, in the shape that OpenAI's clients know."""

from typing import Final, NamedTuple

import orjson

PHRASES: Final = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
}
_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    502: "engine_error",
    503: "unavailable_error",
    504: "timeout_error",
}


class Refusal(NamedTuple):
    """An answer that is an error."""

    status: int
    code: str
    """Word for programs."""
    message: str
    """What, why and what to do."""
    param: str | None = None
    """The field or header that is wrong."""
    retry_after: int | None = None
    """Seconds after which trying again makes sense."""

    def body(self) -> bytes:
        """The error as OpenAI's clients read it."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "api_error")
        return orjson.dumps(
            {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}
        )


class Refused(Exception):
    """Ends a request with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
