"""The numbers and names that keep clusters on one machine apart.

Each cluster holds a slot; its addresses and link names follow from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNT = 10
"""How many clusters fit on one machine."""
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class Slot:
    """The addresses and link names of one cluster.

    Parameters
    ----------
    number
        0 to `COUNT` - 1.
    """

    number: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < COUNT:
            raise ValueError(f"a slot is between 0 and {COUNT - 1}, not {self.number}")

    @property
    def bridge(self) -> str:
        """The bridge all nodes of the cluster are linked to."""
        return f"innervate{self.number}"

    @property
    def node_cidr(self) -> str:
        """The range of the nodes' addresses."""
        return f"172.30.{self.number}.0/24"

    @property
    def gateway(self) -> str:
        """The machine's own address on the bridge; the API server listens here."""
        return f"172.30.{self.number}.1"

    @property
    def pod_cidr(self) -> str:
        """The range of all pods' addresses."""
        return f"10.{244 + self.number}.0.0/16"

    @property
    def service_cidr(self) -> str:
        """The range of Service addresses."""
        return f"10.{96 + self.number}.0.0/16"

    @property
    def dns_address(self) -> str:
        """The Service address of the cluster's DNS."""
        return f"10.{96 + self.number}.0.10"

    def node_address(self, index: int) -> str:
        """Give the address of a node.

        Parameters
        ----------
        index
            Which node, from 1.
        """
        return f"172.30.{self.number}.{10 + index}"

    def node_pod_cidr(self, index: int) -> str:
        """Give the range of the addresses of the pods on node `index`, from 1."""
        return f"10.{244 + self.number}.{index}.0/24"

    def link(self, index: int) -> str:
        """Give the name of the machine's end of the link to node `index`, from 1."""
        return f"innervate{self.number}n{index}"


def choose(taken: Iterable[int]) -> Slot:
    """Choose the lowest free slot.

    Parameters
    ----------
    taken
        Numbers that other clusters hold.

    Raises
    ------
    LocalError
        When all are taken.
    """
    free = sorted(set(range(COUNT)) - set(taken))
    if not free:
        raise LocalError(f"this machine already has {COUNT} clusters; take one down first")
    return Slot(free[0])


def check_name(name: str) -> str:
    """Give a cluster's name back if it can be one.

    Parameters
    ----------
    name
        What the user asked for: it becomes part of file, namespace and cgroup names.

    Raises
    ------
    LocalError
        When it cannot.
    """
    if not _NAME.fullmatch(name):
        raise LocalError(
            f"{name!r} cannot name a cluster: 1 to 32 lower-case letters, digits and hyphens, a letter first"
        )
    return name
