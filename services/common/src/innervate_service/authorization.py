"""Who may do what in which space: rules evaluated in one place, without any input or output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from innervate_service.config import ConfigModel
from innervate_service.errors import InvalidArgument, PermissionDenied

if TYPE_CHECKING:
    from innervate_service.auth import Identity

ANY = "*"
"""Matches every account of a namespace, or every space."""
BELOW = "/*"
"""Ends a pattern that matches the spaces below another, not that one itself."""
MAX_SPACE_BYTES = 512
"""Longest name of a space, UTF-8."""


class Permission(StrEnum):
    """What a rule can allow."""

    READ = "Read"
    WRITE = "Write"


def space_problem(space: str) -> str | None:
    """Why a text cannot name a space, or None when it can.

    A space is one or more segments joined by ``/``: no empty segment, none that is ``.`` or ``..``, no
    ``*``, no control character, no white space at either end of a segment.
    """
    segments = space.split("/")
    checks = (
        (not space, "must not be empty"),
        (
            len(space.encode("utf-8", "surrogatepass")) > MAX_SPACE_BYTES,
            f"must be at most {MAX_SPACE_BYTES} bytes",
        ),
        (not space.isprintable(), "must hold printable characters only"),
        (not all(segments), "must not start or end with '/', or hold '//'"),
        (ANY in space, "must not hold '*'"),
        (not {".", ".."}.isdisjoint(segments), "must have no segment '.' or '..'"),
        (any(s != s.strip() for s in segments), "must have no white space around a segment"),
    )
    return next((problem for wrong, problem in checks if wrong), None)


class AccountPattern(ConfigModel):
    """A service account, or every one of a namespace."""

    namespace: Annotated[str, Field(min_length=1, max_length=63)]
    """Its namespace; there is no wildcard for namespaces."""
    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Its name, or ``*`` for each of the namespace."""

    def matches(self, identity: Identity) -> bool:
        """Whether the identity is meant."""
        return self.namespace == identity.namespace and self.name in {ANY, identity.account}


class AccessRule(ConfigModel):
    """These accounts have these permissions in these spaces."""

    service_accounts: Annotated[tuple[AccountPattern, ...], Field(min_length=1, max_length=64)]
    """Whom it is about."""
    spaces: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    """A space; a space followed by ``/*`` for those below it; or ``*`` for all."""
    permissions: Annotated[tuple[Permission, ...], Field(min_length=1, max_length=2)]
    """What they may do."""

    @field_validator("spaces")
    @classmethod
    def _patterns(cls, spaces: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in spaces:
            if pattern == ANY:
                continue
            problem = space_problem(pattern.removesuffix(BELOW))
            if problem:
                raise ValueError(f"{pattern!r} {problem}; write a space, a space and '/*', or '*'")
        return spaces


def covers(pattern: str, space: str) -> bool:
    """Whether a pattern of a rule matches a space."""
    if pattern == ANY:
        return True
    if pattern.endswith(BELOW):
        return space.startswith(pattern.removesuffix(ANY))
    return pattern == space


@dataclass(frozen=True, kw_only=True)
class Access:
    """The rules of one store.

    Without rules, each account of the store's own namespace owns the space named as the account and
    those below it. With rules, only they count.

    Parameters
    ----------
    namespace
        The store's namespace.
    rules
        What the store's owner declared.
    operator
        The operator's account: it may count the whole store, and nothing else.
    """

    namespace: str
    rules: tuple[AccessRule, ...] = ()
    operator: Identity | None = None

    def space(self, identity: Identity, requested: str, *, field: str = "space") -> str:
        """The space meant by a request: an empty one is the caller's own.

        Raises
        ------
        InvalidArgument
            The text cannot name a space.
        """
        if not requested:
            return identity.account
        problem = space_problem(requested)
        if problem:
            raise InvalidArgument(field, requested, problem)
        return requested

    def allows(self, identity: Identity, space: str, permission: Permission) -> bool:
        """Whether the identity has the permission in the space."""
        if identity == self.operator:
            return False
        if not self.rules:
            own = identity.account
            return identity.namespace == self.namespace and (space == own or space.startswith(f"{own}/"))
        return any(
            permission in rule.permissions
            and any(pattern.matches(identity) for pattern in rule.service_accounts)
            and any(covers(pattern, space) for pattern in rule.spaces)
            for rule in self.rules
        )

    def require(self, identity: Identity, requested: str, permission: Permission) -> str:
        """The space meant by a request, once the permission is checked.

        The refusal is the same whether or not the space exists.

        Raises
        ------
        InvalidArgument
            The text cannot name a space.
        PermissionDenied
            No rule allows it; the message says which would.
        """
        space = self.space(identity, requested)
        if not self.allows(identity, space, permission):
            raise PermissionDenied(
                f"service account {identity} has no {permission} permission in space {space!r}; it needs "
                f"an access rule of the store with this account, a space pattern that covers {space!r}, "
                f"and the permission {permission}",
                {
                    "caller": str(identity),
                    "space": space,
                    "permission": permission,
                },
            )
        return space

    def allows_whole_store(self, identity: Identity, permission: Permission) -> bool:
        """Whether the identity has the permission in every space."""
        return identity != self.operator and any(
            permission in rule.permissions
            and ANY in rule.spaces
            and any(pattern.matches(identity) for pattern in rule.service_accounts)
            for rule in self.rules
        )

    def require_statistics(self, identity: Identity) -> None:
        """Check that the identity may count the whole store.

        Raises
        ------
        PermissionDenied
            It is neither the operator nor allowed to read every space.
        """
        if identity == self.operator or self.allows_whole_store(identity, Permission.READ):
            return
        raise PermissionDenied(
            f"service account {identity} may not count the whole store; name a space, or add an access "
            f"rule of the store with this account, the space pattern {ANY!r} and the permission "
            f"{Permission.READ}",
            {"caller": str(identity), "space": ANY, "permission": Permission.READ},
        )
