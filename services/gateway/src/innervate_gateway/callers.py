"""Who calls: the token of a request, verified offline, and whether its account may use the pool."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from innervate_service.auth import Identity, TokenVerifier, bearer_token
from innervate_service.errors import PermissionDenied, Unauthenticated, Unavailable

from innervate_gateway.errors import Refusal, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_gateway.config import PoolAccessRule


class Access:
    """Who may use the pool.

    Parameters
    ----------
    namespace
        The pool's.
    rules
        What its owner declared; with none every account of the namespace may.
    operator
        The operator's account: it may ask for routes and counts, and nothing else.
    """

    def __init__(
        self, *, namespace: str, rules: Sequence[PoolAccessRule], operator: Identity | None = None
    ) -> None:
        self._namespace = namespace
        self._patterns = [pattern for rule in rules for pattern in rule.service_accounts]
        self._operator = operator

    def allows(self, identity: Identity) -> bool:
        """Whether the account may use the pool."""
        if not self._patterns:
            return identity.namespace == self._namespace
        return any(pattern.matches(identity) for pattern in self._patterns)

    def is_operator(self, identity: Identity) -> bool:
        """Whether it is the operator's account."""
        return identity == self._operator

    def require(self, identity: Identity) -> None:
        """Check that the account may use the pool.

        Raises
        ------
        PermissionDenied
            It may not; the message says what would allow it.
        """
        if not self.allows(identity):
            raise PermissionDenied(
                f"service account {identity} may not use this pool; it needs an access rule of the "
                "InferencePool that names it",
                {"caller": str(identity)},
            )


_RECENT_SECONDS: Final = 1.0
"""How long a caller is taken for who it was; the verifier itself looks for new keys as often."""
_MOST_RECENT: Final = 1024


class Callers:
    """Tells callers by their tokens, at next to no cost for a token that was seen before.

    Parameters
    ----------
    verifier
        Verifies a new token.
    access
        Who may.
    """

    def __init__(self, verifier: TokenVerifier, access: Access) -> None:
        self._verifier = verifier
        self._access = access
        self._recent: dict[str, Identity] = {}
        self._since = float("-inf")

    def identify(self, authorization: str) -> Identity:
        """Who sends this ``authorization`` header, once it is checked that they may.

        Raises
        ------
        Refused
            401 without a good token, 403 where no rule names the account, 503 while nobody can be told.
        """
        now = time.monotonic()
        if now - self._since >= _RECENT_SECONDS or len(self._recent) >= _MOST_RECENT:
            self._recent.clear()
            self._since = now
        identity = self._recent.get(authorization)
        if identity is None:
            identity = self._recent[authorization] = self._identify(authorization)
        return identity

    def _identify(self, authorization: str) -> Identity:
        try:
            token = bearer_token({"authorization": authorization})
            identity = self._verifier.known(token) or self._verifier.verify(token)
            self._access.require(identity)
        except Unauthenticated as error:
            raise Refused(Refusal(401, "unauthenticated", str(error))) from None
        except PermissionDenied as error:
            raise Refused(Refusal(403, "permission_denied", str(error))) from None
        except Unavailable as error:
            raise Refused(Refusal(503, "unavailable", str(error), retry_after=1)) from None
        return identity
