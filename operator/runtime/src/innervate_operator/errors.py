"""What can go wrong between us and the API server."""

from __future__ import annotations


class ApiError(Exception):
    """The API server refused, or could not be reached.

    Parameters
    ----------
    status
        HTTP status; 0 when there was no answer.
    reason
        The server's CamelCase reason, such as ``NotFound``.
    message
        The server's words.
    retry_after
        Seconds the server asks to wait; 0 when it does not say.
    """

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class LeadershipLost(Exception):
    """A replica may not write any more; its process ends and another takes over."""


class StartupError(Exception):
    """The operator cannot start; the message names the cause and the fix."""
