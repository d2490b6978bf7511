"""When a failed call is tried again, and when its time is over."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innervate.errors import InnervateError

_SHORTEST_ATTEMPT = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How patient a client is. All calls are safe to repeat, so all are retried alike.

    Parameters
    ----------
    timeout
        Seconds until a call fails for good, all attempts together.
    attempt_timeout
        Seconds until one attempt is taken for lost: what a network that swallows packets costs.
    first_delay, longest_delay
        Seconds between attempts: doubled from the first to the longest, each shortened at random
        by up to a half, so that callers do not return all at once.
    """

    timeout: float = 30.0
    attempt_timeout: float = 10.0
    first_delay: float = 0.05
    longest_delay: float = 2.0


class Attempts:
    """The attempts of one call.

    Parameters
    ----------
    retry
        How patient to be.
    what
        What the call was to do, for the message when time is over.
    """

    def __init__(self, retry: Retry, what: str) -> None:
        self._retry = retry
        self._what = what
        self._deadline = time.monotonic() + retry.timeout
        self._token_renewed = False
        self.number = 1
        """Number of the current attempt."""

    def timeout(self) -> float:
        """Seconds that the current attempt may take."""
        return min(self.left(), self._retry.attempt_timeout)

    def left(self) -> float:
        """Seconds until the call fails for good."""
        return max(_SHORTEST_ATTEMPT, self._deadline - time.monotonic())

    def renew_token(self) -> bool:
        """Whether a refused token is worth renewing: once per call."""
        first = not self._token_renewed
        self._token_renewed = True
        return first

    def after(self, error: InnervateError) -> float:
        """Seconds to wait before the next attempt.

        Raises
        ------
        InnervateError
            The error itself when it is final; of the same type, telling of all attempts, when the
            time is over.
        """
        if error.retry_after is None:
            raise error
        backoff: float = min(self._retry.longest_delay, self._retry.first_delay * 2.0 ** (self.number - 1))
        # Spreading load needs no cryptography.
        delay: float = max(error.retry_after, backoff * random.uniform(0.5, 1.0))  # noqa: S311
        if time.monotonic() + delay >= self._deadline:
            raise type(error)(
                f"{self._what} failed after {self.number} attempts in {self._retry.timeout:g} s: "
                f"{error.message}",
                field=error.field,
                fix=error.fix,
            ) from error
        self.number += 1
        return delay
