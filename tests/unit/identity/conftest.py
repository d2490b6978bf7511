"""Clock, authority and reading of certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from innervate_operator.identity.authority import RotationPolicy, create

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """Goes when told to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **duration: float) -> datetime:
        self.now += timedelta(**duration)
        return self.now


@pytest.fixture
def clock():
    return Clock(START)


@pytest.fixture
def policy():
    return RotationPolicy()


@pytest.fixture
def state(clock, policy):
    return create(clock.now, policy)
