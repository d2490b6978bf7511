"""Who may use an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_service.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_service.auth import Identity

    from innervate_environments.config import AccessRule


class Access:
    """The rules of one environment.

    Parameters
    ----------
    namespace
        The Environment's.
    rules
        What its owner declared; with none every account of the namespace may use it.
    operator
        The operator's account: it may ask what the environment is, and nothing else.
    """

    def __init__(
        self, *, namespace: str, rules: Sequence[AccessRule], operator: Identity | None = None
    ) -> None:
        self._namespace = namespace
        self._patterns = [pattern for rule in rules for pattern in rule.service_accounts]
        self._operator = operator

    def allows(self, identity: Identity) -> bool:
        """Whether the account may use the environment."""
        if not self._patterns:
            return identity.namespace == self._namespace
        return any(pattern.matches(identity) for pattern in self._patterns)

    def require(self, identity: Identity) -> None:
        """Check that the account may use the environment.

        Raises
        ------
        PermissionDenied
            It may not; the message says what would allow it.
        """
        if not self.allows(identity):
            raise PermissionDenied(
                f"service account {identity} may not use this environment; it needs an access rule of the "
                "Environment that names it",
                {"caller": str(identity)},
            )

    def require_description(self, identity: Identity) -> None:
        """Check that the account may ask what the environment is.

        Raises
        ------
        PermissionDenied
            It may not; the message says what would allow it.
        """
        if identity != self._operator:
            self.require(identity)
