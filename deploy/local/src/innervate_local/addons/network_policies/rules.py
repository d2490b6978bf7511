"""NetworkPolicies as iptables rules: pure, so that they can be compared with what is expected."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from innervate_local.addons.network_policies.model import Pod, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from innervate_local.addons.watching import Key, Object

ROOT = "INNERVATE"
"""The chain that forwarded packets pass; every other chain is below it."""
PREFIX = "INV-"
"""What the names of all other chains begin with."""
_INGRESS, _EGRESS = "Ingress", "Egress"


class Side(NamedTuple):
    """One direction, as iptables and NetworkPolicies call its parts."""

    kind: str
    """The policy type."""
    rules: str
    """The field of the policy's spec."""
    peers: str
    """The field of a rule."""
    own: str
    """The flag that matches the isolated pod."""
    other: str
    """The flag that matches its peer."""


SIDES = (
    Side(_EGRESS, "egress", "to", "-s", "-d"),
    Side(_INGRESS, "ingress", "from", "-d", "-s"),
)


class World(NamedTuple):
    """All that the rules of a node depend on."""

    pods: Sequence[Pod]
    namespaces: Mapping[str, Mapping[str, str]]
    """Name to labels."""
    policies: Sequence[Object]


def chains(world: World, node: str) -> dict[str, list[str]]:
    """Give the chains of a node with their rules.

    Parameters
    ----------
    world
        The cluster.
    node
        The node's name: only its own pods are isolated here, so that each packet
        is judged once for either end.

    Returns
    -------
    dict of str to list of str
        Chain to rules, as ``iptables-restore`` reads them after the chain's name.
    """
    root = ["-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
    result = {ROOT: root}
    for pod in sorted(world.pods, key=lambda each: each.key):
        if pod.node != node:
            continue
        for side in SIDES:
            selecting = [policy for policy in world.policies if _isolates(policy, pod, side)]
            if not selecting:
                continue
            name = _chain(pod.key, side)
            root.append(f"{side.own} {pod.address}/32 -j {name}")
            allowed = {f"{side.other} {pod.address}/32 -j RETURN"}  # itself, through a Service
            for policy in selecting:
                allowed.update(_allowed(policy, pod, side, world))
            result[name] = [*sorted(allowed), "-j DROP"]
    return result


def restore(wanted: Mapping[str, Sequence[str]], existing: Iterable[str]) -> str:
    """Render chains for ``iptables-restore --noflush``, which applies them all at once.

    Parameters
    ----------
    wanted
        What `chains` gave.
    existing
        The chains of the table; those of the enforcer that are no longer wanted go.
    """
    stale = sorted(name for name in existing if name.startswith(PREFIX) and name not in wanted)
    lines = ["*mangle"]
    lines += [f":{name} - [0:0]" for name in (*wanted, *stale)]
    lines += [f"-A {name} {rule}" for name, rules in wanted.items() for rule in rules]
    lines += [f"-X {name}" for name in stale]
    return "\n".join([*lines, "COMMIT", ""])


def _chain(key: Key, side: Side) -> str:
    digest = hashlib.sha256(f"{key.namespace}/{key.name}".encode()).hexdigest()[:16]
    return f"{PREFIX}{side.kind[0]}-{digest}"


def _isolates(policy: Object, pod: Pod, side: Side) -> bool:
    spec = policy["spec"]
    kinds = spec.get("policyTypes") or [_INGRESS, *([_EGRESS] if spec.get("egress") else [])]
    return (
        side.kind in kinds
        and policy["metadata"]["namespace"] == pod.key.namespace
        and matches(spec.get("podSelector") or {}, pod.labels)
    )


def _allowed(policy: Object, pod: Pod, side: Side, world: World) -> Iterator[str]:
    for rule in policy["spec"].get(side.rules) or ():
        networks = list(_networks(rule.get(side.peers) or (), policy, world))
        ports = rule.get("ports") or ()
        if not ports:
            yield from (_rule(side, network, "") for network in networks)
        for port in ports:
            yield from _with_port(port, networks, pod, side, world.pods)


def _with_port(
    port: Object, networks: Sequence[ipaddress.IPv4Network], pod: Pod, side: Side, pods: Sequence[Pod]
) -> Iterator[str]:
    protocol = port.get("protocol") or "TCP"
    wanted = port.get("port")
    if not isinstance(wanted, str):
        match = f"-p {protocol.lower()}"
        if wanted is not None:
            end = port.get("endPort")
            match += f" --dport {wanted}:{end}" if end else f" --dport {wanted}"
        yield from (_rule(side, network, match) for network in networks)
    elif side.kind == _INGRESS:
        for number in _numbers(pod, wanted, protocol):
            match = f"-p {protocol.lower()} --dport {number}"
            yield from (_rule(side, network, match) for network in networks)
    else:
        # A name means whatever port each pod at the other end has under it.
        for network in networks:
            for other in pods:
                if ipaddress.IPv4Address(other.address) in network:
                    for number in _numbers(other, wanted, protocol):
                        address = ipaddress.IPv4Network(other.address)
                        yield _rule(side, address, f"-p {protocol.lower()} --dport {number}")


def _numbers(pod: Pod, name: str, protocol: str) -> set[int]:
    return {port.number for port in pod.ports if (port.name, port.protocol) == (name, protocol)}


def _networks(peers: Sequence[Object], policy: Object, world: World) -> Iterator[ipaddress.IPv4Network]:
    if not peers:
        yield ipaddress.IPv4Network("0.0.0.0/0")
    for peer in peers:
        if block := peer.get("ipBlock"):
            yield from _block(block)
        else:
            for pod in world.pods:
                if _selects(peer, policy["metadata"]["namespace"], pod, world):
                    yield ipaddress.IPv4Network(pod.address)


def _selects(peer: Object, own_namespace: str, pod: Pod, world: World) -> bool:
    by_namespace = peer.get("namespaceSelector")
    if by_namespace is None:
        if pod.key.namespace != own_namespace:
            return False
    elif not matches(by_namespace, world.namespaces.get(pod.key.namespace, {})):
        return False
    return matches(peer.get("podSelector") or {}, pod.labels)


def _block(block: Object) -> list[ipaddress.IPv4Network]:
    """Give an address block as networks without its exceptions: a rule can hold no list of them."""
    whole = ipaddress.ip_network(block["cidr"], strict=False)
    left = [whole] if isinstance(whole, ipaddress.IPv4Network) else []
    for text in block.get("except") or ():
        hole = ipaddress.ip_network(text, strict=False)
        if isinstance(hole, ipaddress.IPv4Network):
            left = [part for network in left for part in _without(network, hole)]
    return left


def _without(network: ipaddress.IPv4Network, hole: ipaddress.IPv4Network) -> Iterable[ipaddress.IPv4Network]:
    if network.subnet_of(hole):
        return ()
    return network.address_exclude(hole) if hole.subnet_of(network) else (network,)


def _rule(side: Side, network: ipaddress.IPv4Network, port: str) -> str:
    peer = f"{side.other} {network}" if network.prefixlen else ""
    return " ".join(filter(None, (peer, port, "-j RETURN")))
