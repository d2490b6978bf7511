"""Where to run: a cluster the user names, else kind, else this machine itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from innervate_local import kind, state
from innervate_local.cluster import Cluster
from innervate_local.context import ContextCluster
from innervate_local.kind import KindCluster

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT_VARIABLE = "INNERVATE_CONTEXT"


class Place(Protocol):
    """What can be done with a cluster, wherever it is."""

    name: str

    @property
    def kubeconfig(self) -> Path:
        """How it is reached; never the user's own file."""

    def up(self) -> None:
        """Make it ready for use; nothing happens if it is."""

    def down(self) -> None:
        """Remove what `up` made."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; give what it printed."""

    def status(self) -> str:
        """Describe it for a person."""

    def load(self, *archives: Path) -> None:
        """Give image archives to every node."""

    def cut_edge(self) -> None:
        """Cut the edge node off."""

    def heal_edge(self) -> None:
        """Join the edge node again."""


class Choice(NamedTuple):
    """A place, and why it was chosen."""

    place: Place
    reason: str


def known() -> list[Place]:
    """List the clusters that were made here, on this machine itself or by kind."""
    made: list[Place] = [Cluster(name) for name in state.names()]
    return made + [KindCluster(name) for name in kind.names()]


def choose(name: str, *, context: str | None = None) -> Choice:
    """Find where to run.

    Parameters
    ----------
    name
        The cluster's name.
    context
        A context the user named; the environment variable `CONTEXT_VARIABLE`
        speaks where this does not.

    Returns
    -------
    Choice
        Nothing has been started yet.
    """
    if context := context or os.environ.get(CONTEXT_VARIABLE):
        return Choice(ContextCluster(name, context), f"the context {context}, as named")
    if state.read(name) is not None:
        return Choice(Cluster(name), "this machine, which has a cluster of that name")
    if kind.engine_answers():
        return Choice(KindCluster(name), "kind, as a Docker engine answers")
    return Choice(Cluster(name), "this machine itself, as no context is named and no Docker engine answers")
