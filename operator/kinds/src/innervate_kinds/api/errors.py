"""Why a reconcile could not go on. The type decides whether and how it is tried again."""

from __future__ import annotations


class Retryable(Exception):
    """Something that passes by itself: tried again with backoff.

    Parameters
    ----------
    reason
        CamelCase word for the condition.
    message
        What, why, and the next command.
    after
        Seconds to wait instead of the backoff's own.
    """

    def __init__(self, reason: str, message: str, *, after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.after = after


class Rejected(Exception):
    """Something only a changed resource can mend: reported as `Stalled`, never tried in a loop.

    Parameters
    ----------
    reason
        CamelCase word for the condition.
    message
        Names the field, the value and the fix.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
