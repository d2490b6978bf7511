"""Enforce NetworkPolicies on one node: ``python -m innervate_local.addons.network_policies``.

Runs in the node's network namespace until it is ended; its rules go with the namespace.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import subprocess
import threading
from pathlib import Path

from innervate_local.addons.network_policies import model, rules
from innervate_local.addons.network_policies.addresses import Addresses
from innervate_local.addons.watching import Key, Watched, access

_POLL_S = 0.1
"""How often, in seconds, the directory of given addresses is looked at: a stat, no more."""
_log = logging.getLogger("innervate_local.network_policies")


class _Table:
    """The node's iptables, written only when something changed."""

    def __init__(self) -> None:
        self._written: dict[str, list[str]] | None = None

    def write(self, wanted: dict[str, list[str]]) -> None:
        if wanted == self._written:
            return
        listed = _iptables("iptables", "-S").splitlines()
        existing = [line.split()[1] for line in listed if line.startswith("-N ")]
        _iptables("iptables-restore", "--noflush", text=rules.restore(wanted, existing))
        if f"-A FORWARD -j {rules.ROOT}" not in listed:
            _iptables("iptables", "-I", "FORWARD", "1", "-j", rules.ROOT)
        self._written = wanted
        _log.info("wrote %d rules in %d chains", sum(map(len, wanted.values())), len(wanted))


def main() -> None:
    """Run the enforcer of one node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node", required=True, help="the node whose pods are isolated here")
    parser.add_argument(
        "--pods", type=ipaddress.IPv4Network, required=True, help="the range of pods' addresses"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    changed = threading.Event()
    server = access(options.kubeconfig)
    pods = Watched(server, "/api/v1/pods", changed)
    namespaces = Watched(server, "/api/v1/namespaces", changed)
    policies = Watched(server, "/apis/networking.k8s.io/v1/networkpolicies", changed)
    for watched in (pods, namespaces, policies):
        watched.start()
    for watched in (pods, namespaces, policies):
        watched.synced.wait()

    addresses = Addresses(options.pods)
    table = _Table()
    while True:
        if changed.wait(_POLL_S) | addresses.refresh():
            changed.clear()
            world = _world(pods, namespaces, policies, addresses)
            try:
                table.write(rules.chains(world, options.node))
            except subprocess.CalledProcessError as error:
                _log.error("%s failed, trying again: %s", error.cmd[0], error.stderr.strip())
                changed.set()


def _world(pods: Watched, namespaces: Watched, policies: Watched, addresses: Addresses) -> rules.World:
    given = addresses.by_pod()
    found = []
    for raw in pods.objects():
        key = Key(raw["metadata"]["namespace"], raw["metadata"]["name"])
        if pod := model.pod(raw, address=given.get(key)):
            found.append(pod)
    labels = {raw["metadata"]["name"]: raw["metadata"].get("labels") or {} for raw in namespaces.objects()}
    ordered = sorted(
        policies.objects(), key=lambda raw: (raw["metadata"]["namespace"], raw["metadata"]["name"])
    )
    return rules.World(found, labels, ordered)


def _iptables(program: str, *arguments: str, text: str | None = None) -> str:
    command = [program, "--wait", *(() if text is not None else ("--table", "mangle")), *arguments]
    finished = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return finished.stdout


if __name__ == "__main__":
    main()
