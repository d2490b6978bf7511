"""Who is calling: ServiceAccount tokens verified offline, with the cluster's own keys.

Offline means that a token stays good until it expires even when its pod is gone meanwhile; kubelet
issues them for an hour.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jwt

from innervate_service.errors import Unauthenticated, Unavailable
from innervate_service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

AUDIENCE = "innervate"
"""Audience of every token that our services accept."""
LEEWAY_SECONDS = 30
"""How far clocks may be apart."""
MAX_TOKEN_BYTES = 6 * 1024
"""A ServiceAccount token is about 1 KiB; from 8 KiB of metadata on gRPC refuses calls by itself."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""What an API server may sign with; never a symmetric one."""
_RECHECK_SECONDS = 1.0
"""How often the trust files are looked at, at most."""
_SUBJECT = "system:serviceaccount:"

_log = get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """A service account."""

    namespace: str
    account: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.account}"

    @classmethod
    def from_subject(cls, subject: str) -> Identity:
        """Read ``system:serviceaccount:<namespace>:<account>``.

        Raises
        ------
        ValueError
            It is not a service account.
        """
        parts = subject.removeprefix(_SUBJECT).split(":")
        if not subject.startswith(_SUBJECT) or len(parts) != 2 or not all(parts):
            raise ValueError(f"{subject!r} is not a service account")
        return cls(*parts)


_identity: ContextVar[Identity] = ContextVar("innervate_identity")


def current_identity() -> Identity:
    """The caller of the running call.

    Raises
    ------
    Unauthenticated
        There is none: the code does not run within an authenticated call.
    """
    try:
        return _identity.get()
    except LookupError:
        raise Unauthenticated("no caller is known here") from None


def set_identity(identity: Identity) -> None:
    """Make the caller known to the rest of the running task."""
    _identity.set(identity)


class Authenticator(Protocol):
    """Turns a token into an identity."""

    async def __call__(self, token: str) -> Identity:
        """Who the token is of.

        Raises
        ------
        Unauthenticated
            The token proves nothing.
        Unavailable
            It cannot be verified now.
        """
        ...


def bearer_token(metadata: Mapping[str, str | bytes]) -> str:
    """The token of ``authorization: Bearer <token>``.

    Raises
    ------
    Unauthenticated
        There is none.
    """
    value = metadata.get("authorization", "")
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    scheme, _, token = value.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "no token: send 'authorization: Bearer <ServiceAccount token with audience "
            f"{AUDIENCE}>' with the call"
        )
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(f"the token is longer than {MAX_TOKEN_BYTES} bytes")
    return token


class _Trust(NamedTuple):
    keys: dict[str | None, jwt.PyJWK]
    issuer: str


class TrustDirectory:
    """The cluster's token keys and issuer, read again whenever the files change.

    Parameters
    ----------
    directory
        Holds ``jwks.json`` and ``issuer``.
    clock
        Monotonic seconds.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = (directory / "jwks.json", directory / "issuer")
        self._clock = clock
        self._trust: _Trust | None = None
        self._seen: object = None
        self._checked = float("-inf")
        self.version = 0
        """Grows with every change."""

    def current(self) -> _Trust:
        """The trust of now; a file that turned unreadable leaves the last good one in force.

        Raises
        ------
        Unavailable
            No readable trust was ever there.
        """
        now = self._clock()
        if now - self._checked >= _RECHECK_SECONDS:
            self._checked = now
            self._refresh()
        if self._trust is None:
            raise Unavailable(
                f"callers cannot be verified: {self._files[0]} or {self._files[1]} is missing or unreadable"
            )
        return self._trust

    def _refresh(self) -> None:
        try:
            seen = [(s.st_mtime_ns, s.st_ino, s.st_size) for s in (path.stat() for path in self._files)]
            if seen == self._seen:
                return
            trust = _Trust(_read_keys(self._files[0]), self._files[1].read_text(encoding="utf-8").strip())
        except (OSError, ValueError, jwt.PyJWTError) as error:
            _log.error("trust cannot be read", directory=str(self._files[0].parent), error=str(error))
            return
        self._seen = seen
        if trust.issuer and trust.keys:
            self._trust = trust
            self.version += 1
        else:
            _log.error("trust holds no key or no issuer", directory=str(self._files[0].parent))


def _read_keys(path: Path) -> dict[str | None, jwt.PyJWK]:
    document = json.loads(path.read_bytes())
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path} is no JSON Web Key Set")
    keys: dict[str | None, jwt.PyJWK] = {}
    for entry in entries:
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError as error:
            # A cluster may publish a key type that this version does not know: the others still count.
            _log.warning("a token key is left out", kid=str(entry.get("kid")), error=str(error))
            continue
        if key.algorithm_name in _ALGORITHMS:
            keys[key.key_id] = key
    return keys


class TokenVerifier:
    """Verifies ServiceAccount tokens, and remembers the verified until they expire.

    Parameters
    ----------
    trust
        Keys and issuer.
    capacity
        How many verified tokens are remembered at most.
    now
        Seconds since the epoch.
    """

    def __init__(
        self, trust: TrustDirectory, *, capacity: int = 4096, now: Callable[[], float] = time.time
    ) -> None:
        self._trust = trust
        self._capacity = capacity
        self._now = now
        self._verified: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._version = -1

    async def __call__(self, token: str) -> Identity:
        """See `Authenticator`. Verification is some 50 µs of work and waits for nothing."""
        identity = self.known(token)
        if identity is None:
            identity = self.verify(token)
            # Verification never waits: let other calls run between many fresh tokens.
            await asyncio.sleep(0)
        return identity

    def known(self, token: str) -> Identity | None:
        """Who a token is of that was verified before and is still good; None for every other.

        Raises
        ------
        Unavailable
            Nothing can be verified now.
        """
        self._trust.current()
        if self._version != self._trust.version:
            # A key that left the trust takes its tokens with it.
            self._verified.clear()
            self._version = self._trust.version
        digest = hashlib.sha256(token.encode()).digest()
        found = self._verified.get(digest)
        if found is None:
            return None
        identity, expiry = found
        if self._now() < expiry:
            self._verified.move_to_end(digest)
            return identity
        del self._verified[digest]
        return None

    def verify(self, token: str) -> Identity:
        """Verify a token, and remember it.

        Raises
        ------
        Unauthenticated
            The token proves nothing.
        Unavailable
            It cannot be verified now.
        """
        identity, expiry = self._verify(token, self._trust.current())
        self._verified[hashlib.sha256(token.encode()).digest()] = (identity, expiry)
        while len(self._verified) > self._capacity:
            self._verified.popitem(last=False)
        return identity

    def _verify(self, token: str, trust: _Trust) -> tuple[Identity, float]:
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = trust.keys.get(key_id)
            if key is None:
                raise Unauthenticated(
                    f"the token is signed with a key that this cluster does not publish (kid {key_id!r})"
                )
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=AUDIENCE,
                issuer=trust.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("the token has expired; request a new one") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated(
                f"the token is for another audience; request one with audience {AUDIENCE!r}"
            ) from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated("the token is from another issuer than this cluster") from None
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is refused: {error}") from None
        try:
            identity = Identity.from_subject(str(claims["sub"]))
        except ValueError as error:
            raise Unauthenticated(f"the token's subject {error}") from None
        return identity, float(claims["exp"]) + LEEWAY_SECONDS
