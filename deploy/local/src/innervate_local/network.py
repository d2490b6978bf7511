"""The cluster's wires: a bridge, and for each node a network namespace linked to it.

Every node has a namespace of its own, the first one too. The kube-proxies of
two clusters then never meet in one set of iptables rules, the machine's own
rules are never touched, and all that a node sets up goes with its namespace.
Namespaces have no default route: pods reach the cluster and nothing else.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innervate_local import process

if TYPE_CHECKING:
    from innervate_local.slots import Slot

_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # Without it traffic between two pods on one bridge passes by the Service rules.
    "net/bridge/bridge-nf-call-iptables": "1",
}


def entering(namespace: Path) -> tuple[str, ...]:
    """Give the command prefix that runs the rest in a network namespace.

    Not ``ip netns exec``: that mounts another /sys, without the control groups.

    Parameters
    ----------
    namespace
        The file that stands for it.
    """
    return ("nsenter", f"--net={namespace}", "--")


def create_bridge(slot: Slot) -> None:
    """Make the cluster's bridge and give the machine its address on it."""
    _ip("link", "add", slot.bridge, "type", "bridge")
    _ip("address", "add", f"{slot.gateway}/24", "dev", slot.bridge)
    _ip("link", "set", slot.bridge, "up")


def create_node(slot: Slot, *, namespace: Path, index: int) -> None:
    """Make a node's namespace and its link to the bridge.

    Parameters
    ----------
    slot
        The cluster's slot; its bridge exists.
    namespace
        The file that will stand for the namespace: what is mounted on it is the
        namespace, so that unmounting it removes it.
    index
        Which node, from 1.
    """
    link, address = slot.link(index), slot.node_address(index)
    namespace.touch()
    process.run(["unshare", f"--net={namespace}", "true"])
    _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(namespace))
    _ip("link", "set", link, "master", slot.bridge, "up")
    _ip_in(namespace, "link", "set", "lo", "up")
    _ip_in(namespace, "address", "add", f"{address}/24", "dev", "eth0")
    _ip_in(namespace, "link", "set", "eth0", "up")
    for name, value in _SYSCTLS.items():
        write = ["sh", "-c", f"echo {value} >/proc/sys/{name}"]
        process.run([*entering(namespace), *write])


def connect_pods(slot: Slot, *, namespaces: list[Path]) -> None:
    """Route every node's pods, and Services, from everywhere in the cluster.

    Parameters
    ----------
    slot
        The cluster's slot.
    namespaces
        The files of the nodes' namespaces, in the order of their indices.
    """
    for index in range(1, len(namespaces) + 1):
        route = (slot.node_pod_cidr(index), "via", slot.node_address(index))
        _ip("route", "add", *route, "dev", slot.bridge)
        for other, namespace in enumerate(namespaces, start=1):
            if other != index:
                _ip_in(namespace, "route", "add", *route)
    for namespace in namespaces:
        # Never taken: the Service rules change the destination on the way out.
        # But without a route there would be no way out.
        _ip_in(namespace, "route", "add", slot.service_cidr, "dev", "eth0")
    # The machine has no kube-proxy: the first node resolves Services for it.
    _ip("route", "add", slot.service_cidr, "via", slot.node_address(1), "dev", slot.bridge)


def set_link(slot: Slot, index: int, *, up: bool) -> None:
    """Cut the link of node `index`, or join it again."""
    _ip("link", "set", slot.link(index), "up" if up else "down")


def is_link_up(slot: Slot, index: int) -> bool:
    """Tell whether the link of node `index` is joined."""
    shown = json.loads(_ip("-json", "link", "show", "dev", slot.link(index)))
    return "UP" in shown[0]["flags"]


def remove(slot: Slot, *, nodes: int) -> None:
    """Remove the cluster's links, those that exist.

    Parameters
    ----------
    slot
        The cluster's slot.
    nodes
        How many nodes it has.
    """
    for link in (*map(slot.link, range(1, nodes + 1)), slot.bridge):
        if Path("/sys/class/net", link).exists():
            _ip("link", "delete", link)


def is_in_use(slot: Slot) -> bool:
    """Tell whether something on this machine already uses a slot's addresses or links."""
    links = {each["ifname"] for each in json.loads(_ip("-json", "link", "show"))}
    return slot.bridge in links or conflict(slot, json.loads(_ip("-json", "route", "show")))


def conflict(slot: Slot, routes: list[dict[str, Any]]) -> bool:
    """Tell whether routes lead to addresses of a slot.

    Parameters
    ----------
    slot
        The slot.
    routes
        What ``ip -json route show`` lists. A wide one through a gateway, a
        company's 10.0.0.0/8, is in nobody's way: ours are narrower. One to a
        link, a network of some containers, is.
    """
    ours = [ipaddress.ip_network(each) for each in (slot.node_cidr, slot.pod_cidr, slot.service_cidr)]
    for route in routes:
        if route["dst"] == "default":
            continue
        network = ipaddress.ip_network(route["dst"])
        for each in ours:
            if network.overlaps(each) and (network.prefixlen >= each.prefixlen or "gateway" not in route):
                return True
    return False


def _ip(*arguments: str) -> str:
    return process.run(["ip", *arguments])


def _ip_in(namespace: Path, *arguments: str) -> str:
    return process.run([*entering(namespace), "ip", *arguments])
