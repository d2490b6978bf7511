"""How often an account may ask."""

from __future__ import annotations

from datetime import timedelta

import pytest
from innervate_operator.identity.rate import IssueRate
from innervate_service.auth import Identity
from innervate_service.errors import Exhausted

A, B = Identity("shop", "a"), Identity("shop", "b")


def test_a_burst_is_granted_and_then_the_rate():
    now = 0.0
    rate = IssueRate(burst=3, per_second=0.5, clock=lambda: now)
    for _ in range(3):
        rate.take(A)
    with pytest.raises(Exhausted) as refused:
        rate.take(A)
    assert refused.value.retry_after == timedelta(seconds=2)
    rate.take(B)
    now = 2.0
    rate.take(A)
    with pytest.raises(Exhausted):
        rate.take(A)
    now = 1000.0
    for _ in range(3):
        rate.take(A)
    with pytest.raises(Exhausted):
        rate.take(A)


def test_the_number_of_accounts_kept_is_bounded():
    rate = IssueRate(capacity=10)
    for number in range(100):
        rate.take(Identity("shop", f"a{number}"))
    assert len(rate._buckets) == 10
