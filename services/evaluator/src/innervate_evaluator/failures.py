"""Why a run ends without a result."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the runner, which the Job's failure policy reads."""

    DONE = 0
    """There is a result."""
    REFUSED = 2
    """Something only a person can mend: another try would end the same."""
    TROUBLED = 3
    """The infrastructure failed: another try goes on from here."""


class RunFailed(Exception):
    """The run ends without a result.

    Parameters
    ----------
    reason
        CamelCase word for the condition.
    message
        What, why, and what to do.
    permanent
        Whether another try would end the same.
    """

    def __init__(self, reason: str, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit = Exit.REFUSED if permanent else Exit.TROUBLED
