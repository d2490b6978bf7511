"""When to renew and when to try again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from innervate_service.identity.renewal import renewal_time, retry_seconds

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
JITTER = st.floats(min_value=0, max_value=1)


@given(st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=400)), JITTER)
def test_renewal_is_at_two_thirds_or_up_to_a_tenth_before(lifetime, jitter):
    share = (renewal_time(ISSUED, ISSUED + lifetime, jitter=jitter) - ISSUED) / lifetime
    assert 0.599 < share < 0.667


@given(st.integers(min_value=1, max_value=10_000), JITTER)
def test_tries_come_soon_at_first_and_never_less_often_than_twice_a_minute(failures, jitter):
    seconds = retry_seconds(failures, jitter=jitter)
    assert 0.1 < seconds <= 30
    assert retry_seconds(failures + 1, jitter=jitter) >= seconds
    assert retry_seconds(1, jitter=jitter) <= 0.25
