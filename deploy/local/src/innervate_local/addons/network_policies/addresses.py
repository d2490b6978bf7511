"""Pods' addresses from the network plugin's own records.

A pod's object says its address up to seconds after the pod began to use it. Until
then a peer would drop its packets, and it would not be isolated itself. All nodes
of the cluster are on this machine, and so are the records of all of them.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

from innervate_local.addons.watching import Key

RECORDS = Path("/var/lib/cni/results")
"""Where the container network library keeps what each plugin call gave."""


class Addresses:
    """The addresses given to the pods of one cluster.

    Parameters
    ----------
    pods
        The range of the cluster's pods: the records of other clusters lie beside its own.
    records
        The directory of the records.
    """

    def __init__(self, pods: ipaddress.IPv4Network, records: Path = RECORDS) -> None:
        self._pods = pods
        self._records = records
        self._seen = 0
        self._known: dict[Path, tuple[Key, str] | None] = {}

    def refresh(self) -> bool:
        """Read what is new; tell whether anything changed."""
        try:
            modified = self._records.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        # A record that was found half-written changes without its directory.
        if modified == self._seen and None not in self._known.values():
            return False
        self._seen = modified
        before = self._known
        self._known = {path: before.get(path) or _read(path) for path in self._records.iterdir()}
        return self._known != before

    def by_pod(self) -> dict[Key, str]:
        """Give the address of each pod that has one."""
        # Of a pod that was started anew the later record counts.
        dated = sorted(filter(None, (self._dated(path) for path in self._known)))
        return {key: address for _, key, address in dated if ipaddress.IPv4Address(address) in self._pods}

    def _dated(self, path: Path) -> tuple[int, Key, str] | None:
        known = self._known[path]
        try:
            return (path.stat().st_mtime_ns, *known) if known else None
        except FileNotFoundError:
            return None


def _read(path: Path) -> tuple[Key, str] | None:
    try:
        record = json.loads(path.read_text())
        arguments = dict(record["cniArgs"])
        address = record["result"]["ips"][0]["address"].partition("/")[0]
        return Key(arguments["K8S_POD_NAMESPACE"], arguments["K8S_POD_NAME"]), address
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
