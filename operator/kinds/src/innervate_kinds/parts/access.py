"""Who may use a service, as users write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from innervate_kinds.api.resource import Model
from innervate_kinds.api.scheduling import NamespaceName

if TYPE_CHECKING:
    from collections.abc import Iterable


class ServiceAccountSubject(Model):
    """A service account that a rule is about."""

    namespace: NamespaceName | None = None
    """Namespace of the account; left out, the resource's own."""
    name: Annotated[
        str,
        Field(
            pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$",
            max_length=253,
        ),
    ]
    """Name of the account; `*` means every account of the namespace."""


def accounts(subjects: Iterable[ServiceAccountSubject], namespace: str) -> list[dict[str, str]]:
    """Accounts as services read them, each with its namespace.

    Parameters
    ----------
    subjects
        As declared.
    namespace
        The resource's own.
    """
    return [{"namespace": subject.namespace or namespace, "name": subject.name} for subject in subjects]
