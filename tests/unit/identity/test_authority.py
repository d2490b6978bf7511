"""Rotation: at every moment everyone trusts every certificate that is in use."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from innervate_operator.identity.authority import (
    AuthorityStateError,
    RotationPolicy,
    advance,
    create,
    from_secret,
    rotate,
    to_secret,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_new_authority_signs_at_once(state, clock):
    (only,) = state.authorities
    assert state.signer(clock.now) is only
    certificate = only.certificate
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    certificate.verify_directly_issued_by(certificate)


def test_nothing_changes_until_something_is_due(state, clock, policy):
    assert advance(state, clock.pass_(days=300), policy) is state


def test_a_successor_is_trusted_before_it_signs_and_the_old_one_after(state, clock, policy):
    (old,) = state.authorities
    published = advance(state, clock.pass_(days=306), policy)
    (_, new) = published.authorities
    assert published.signer(clock.now) is old
    assert published.bundle.count("BEGIN CERTIFICATE") == 2
    assert advance(published, clock.pass_(hours=25), policy) is published
    assert published.signer(clock.now) is old
    assert published.signer(clock.pass_(hours=2)) is new
    assert advance(published, clock.now, policy) is published
    retired = advance(published, clock.pass_(hours=25), policy)
    assert retired.authorities == (new,)


@settings(max_examples=60)
@given(
    st.lists(st.floats(min_value=0.1, max_value=24.0), min_size=50, max_size=400),
    st.lists(st.integers(min_value=0, max_value=400), max_size=3),
)
def test_every_workload_trusts_every_certificate_in_use(steps, forced):
    """Workloads learn whom to trust when they renew, at the latest when their certificate ends."""
    policy = RotationPolicy(
        leaf=timedelta(hours=24),
        publish=timedelta(hours=26),
        authority=timedelta(days=20),
        replace_before=timedelta(days=5),
    )
    now = START
    state = create(now, policy)
    # (certificate's signer, its end, whom its holder trusts), of everyone who may still be connected
    in_use = [(state.signer(now), now + policy.leaf, state.authorities)]
    for number, hours in enumerate(steps):
        now += hours * HOUR
        state = advance(state, now, policy)
        if number in forced:
            state = rotate(state, now, policy)
        in_use = [entry for entry in in_use if entry[1] > now]
        signer = state.signer(now)
        in_use.append((signer, min(now + policy.leaf, signer.not_after), state.authorities))
        trusted_by_all = [trusted for _, _, trusted in in_use]
        for holder, end, _ in in_use:
            assert holder.not_after >= end
            assert all(any(holder is known for known in trusted) for trusted in trusted_by_all)
        assert len(state.authorities) <= 6


def test_an_installation_that_slept_too_long_begins_anew(state, clock, policy):
    later = advance(state, clock.pass_(days=400), policy)
    assert later.authorities != state.authorities
    assert later.signer(clock.now).not_after > clock.now


def test_an_installation_that_slept_long_replaces_in_a_hurry(state, clock, policy):
    later = advance(state, clock.pass_(days=364, hours=12), policy)
    assert len(later.authorities) == 2
    assert later.signer(clock.now) is later.authorities[-1]


def test_the_state_survives_its_secret(state, clock, policy):
    state = rotate(state, clock.pass_(days=1), policy)
    data = to_secret(state)
    read = from_secret(data)
    assert to_secret(read) == data
    assert [a.certificate for a in read.authorities] == [a.certificate for a in state.authorities]
    assert [a.signs_from for a in read.authorities] == [a.signs_from for a in state.authorities]
    assert data["ca.crt"].decode() == state.bundle
    assert len(x509.load_pem_x509_certificates(data["ca.crt"])) == 2


def damaged(change):
    data = to_secret(create(START, RotationPolicy()))
    entries = json.loads(data["authorities.json"])
    change(entries)
    return {**data, "authorities.json": json.dumps(entries).encode()}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"authorities.json": b""},
        {"authorities.json": b"{}"},
        {"authorities.json": b"[]"},
        {"authorities.json": b"[1]"},
        damaged(lambda entries: entries[0].pop("key")),
        damaged(lambda entries: entries[0].update(certificate="x")),
        damaged(lambda entries: entries[0].update(signsFrom="2026-01-01T00:00:00")),
        damaged(
            lambda entries: entries[0].update(
                key=json.loads(to_secret(create(START, RotationPolicy()))["authorities.json"])[0]["key"]
            )
        ),
    ],
)
def test_a_damaged_secret_is_named_and_its_key_is_not_shown(data):
    with pytest.raises(AuthorityStateError, match="Secret") as refused:
        from_secret(data)
    assert "PRIVATE KEY" not in str(refused.value)


def test_keys_do_not_show_in_representations(state):
    assert "key=" not in repr(state)


@pytest.mark.parametrize(
    "changes",
    [
        {"publish": timedelta(hours=1)},
        {"replace_before": timedelta(hours=30)},
        {"authority": timedelta(days=30)},
    ],
)
def test_life_times_that_cannot_overlap_are_refused(policy, changes):
    with pytest.raises(ValueError, match="must"):
        dataclasses.replace(policy, **changes)
