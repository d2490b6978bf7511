"""Tokens verified offline, with keys made here."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from innervate_service.auth import (
    Identity,
    TokenVerifier,
    TrustDirectory,
    bearer_token,
    current_identity,
)
from innervate_service.errors import Unauthenticated, Unavailable


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def verifier(issuer, clock):
    return TokenVerifier(TrustDirectory(issuer.directory, clock=clock))


@pytest.mark.parametrize("curve", [False, True])
async def test_a_good_token_gives_its_account(issuer, verifier, curve):
    issuer.add_key("other", curve=curve)
    issuer.publish()
    assert await verifier(issuer.token("shop", "agent", kid="other")) == Identity("shop", "agent")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aud": ["https://kubernetes.default.svc"]}, "another audience"),
        ({"aud": None}, "aud"),
        ({"iss": "https://elsewhere"}, "another issuer"),
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"exp": None}, "exp"),
        ({"nbf": int(time.time()) + 3600}, "not yet valid"),
        ({"sub": "system:node:worker"}, "not a service account"),
        ({"sub": "system:serviceaccount:shop"}, "not a service account"),
        ({"sub": "system:serviceaccount::agent"}, "not a service account"),
        ({"sub": "system:serviceaccount:shop:agent:more"}, "not a service account"),
        ({"sub": None}, "sub"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(issuer, verifier, changes, message):
    with pytest.raises(Unauthenticated, match=message):
        await verifier(issuer.token(**changes))


async def test_a_token_just_expired_is_good_within_the_leeway(issuer, verifier):
    now = int(time.time())
    assert await verifier(issuer.token(exp=now - 5, iat=now - 600, nbf=now - 600)) == Identity(
        "shop", "agent"
    )


async def test_a_key_that_is_not_published_signs_nothing(issuer, verifier):
    issuer.add_key("unpublished")
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier(issuer.token(kid="unpublished"))


async def test_another_key_under_a_published_name_signs_nothing(issuer, verifier):
    published = issuer.keys["first"]
    issuer.add_key("first")
    assert issuer.keys["first"] is not published
    with pytest.raises(Unauthenticated, match="Signature verification failed"):
        await verifier(issuer.token())


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_an_unsigned_token_is_refused(issuer, verifier):
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    unsigned = f"{part({'alg': 'none', 'kid': 'first'})}.{part(claims)}."
    with pytest.raises(Unauthenticated):
        await verifier(unsigned)


async def test_a_public_key_cannot_be_used_as_a_shared_secret(issuer, verifier):

    public = (
        issuer.keys["first"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    signed = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims)}"
    mac = hmac.new(public, signed.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthenticated):
        await verifier(f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}")


async def test_a_symmetric_key_in_the_trust_is_left_out(issuer, verifier):
    document = json.loads((issuer.directory / "jwks.json").read_text())
    secret = base64.urlsafe_b64encode(b"s" * 32).rstrip(b"=").decode()
    document["keys"].append({"kty": "oct", "kid": "shared", "k": secret, "alg": "HS256"})
    (issuer.directory / "jwks.json").write_text(json.dumps(document))
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    forged = jwt.encode(claims, b"s" * 32, algorithm="HS256", headers={"kid": "shared"})
    with pytest.raises(Unauthenticated, match="does not publish"):
        await verifier(forged)
    assert await verifier(issuer.token()) == Identity("shop", "agent")


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "é.ü.ß", "." * 100])
async def test_what_is_no_token_is_refused(verifier, token):
    with pytest.raises(Unauthenticated):
        await verifier(token)


async def test_new_keys_are_read_without_a_restart_and_removed_ones_take_their_tokens_along(
    issuer, verifier, clock
):
    old = issuer.token()
    assert await verifier(old) == Identity("shop", "agent")
    issuer.add_key("second")
    new = issuer.token(kid="second")
    with pytest.raises(Unauthenticated):
        await verifier(new)
    issuer.publish()
    clock.now += 2
    assert await verifier(new) == Identity("shop", "agent")
    assert await verifier(old) == Identity("shop", "agent")
    del issuer.keys["first"]
    issuer.publish()
    clock.now += 2
    assert await verifier(new) == Identity("shop", "agent")
    with pytest.raises(Unauthenticated):
        await verifier(old)


@pytest.mark.parametrize(
    "content", ["", "{", '{"keys": []}', "[]", '{"keys": [{"kty": "RSA"}]}', '{"keys": 3}']
)
async def test_damaged_trust_leaves_the_last_good_one_in_force(issuer, verifier, clock, content):
    token = issuer.token()
    assert await verifier(token) == Identity("shop", "agent")
    (issuer.directory / "jwks.json").write_text(content)
    clock.now += 2
    assert await verifier(token) == Identity("shop", "agent")
    assert await verifier(issuer.token(account="other")) == Identity("shop", "other")


async def test_without_any_trust_the_service_is_unavailable(tmp_path):
    with pytest.raises(Unavailable, match=r"jwks\.json"):
        await TokenVerifier(TrustDirectory(tmp_path))("a.b.c")


async def test_the_trust_is_found_when_it_comes_later(issuer, tmp_path, clock):
    directory = tmp_path / "later"
    verifier = TokenVerifier(TrustDirectory(directory, clock=clock))
    with pytest.raises(Unavailable):
        await verifier(issuer.token())
    issuer.directory = directory
    issuer.publish()
    clock.now += 2
    assert await verifier(issuer.token()) == Identity("shop", "agent")


async def test_a_remembered_token_expires(issuer, clock):
    now = time.time()
    verifier = TokenVerifier(TrustDirectory(issuer.directory, clock=clock), now=lambda: now)
    verified = []
    verify = verifier._verify
    verifier._verify = lambda *arguments: verified.append(arguments) or verify(*arguments)
    token = issuer.token(exp=int(now) + 600)
    for _ in range(3):
        assert await verifier(token) == Identity("shop", "agent")
    assert len(verified) == 1
    now += 600 + 31
    # Our clock is past its end, the library's is not: it is asked again, which is what counts.
    await verifier(token)
    assert len(verified) == 2


async def test_the_memory_of_tokens_is_bounded(issuer, clock):
    verifier = TokenVerifier(TrustDirectory(issuer.directory, clock=clock), capacity=3)
    for number in range(10):
        await verifier(issuer.token(account=f"a{number}"))
    assert len(verifier._verified) == 3
    assert await verifier(issuer.token(account="a0")) == Identity("shop", "a0")


def test_no_caller_is_known_outside_a_call():
    with pytest.raises(Unauthenticated):
        current_identity()


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", b"Bearer abc", "Bearer  abc "])
def test_a_bearer_token_is_found(value):
    assert bearer_token({"authorization": value}) == "abc"
