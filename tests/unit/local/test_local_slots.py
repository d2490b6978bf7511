"""Slots keep clusters on one machine apart."""

from __future__ import annotations

import ipaddress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_local import network, slots
from innervate_local.errors import LocalError
from innervate_local.slots import COUNT, Slot

LONGEST_LINK_NAME = 15
NODES = (1, 2)


def networks(slot: Slot) -> list[ipaddress.IPv4Network]:
    return [ipaddress.ip_network(each) for each in (slot.node_cidr, slot.pod_cidr, slot.service_cidr)]


def test_no_two_ranges_overlap() -> None:
    every = [network for number in range(COUNT) for network in networks(Slot(number))]
    assert len(every) == 3 * COUNT
    assert not [pair for pair in combinations(every, 2) if pair[0].overlaps(pair[1])]


def test_link_names_are_unique_and_short_enough() -> None:
    found = [slot.bridge for slot in map(Slot, range(COUNT))]
    found += [Slot(number).link(node) for number in range(COUNT) for node in NODES]
    assert len(set(found)) == len(found)
    assert max(map(len, found)) <= LONGEST_LINK_NAME


@given(st.integers(0, COUNT - 1), st.sampled_from(NODES))
def test_every_address_lies_in_its_range(number: int, node: int) -> None:
    slot = Slot(number)
    nodes, pods, services = networks(slot)
    assert ipaddress.ip_address(slot.gateway) in nodes
    assert ipaddress.ip_address(slot.node_address(node)) in nodes
    assert slot.node_address(node) != slot.gateway
    assert ipaddress.ip_network(slot.node_pod_cidr(node)).subnet_of(pods)
    assert ipaddress.ip_address(slot.dns_address) in services


@given(st.sets(st.integers(0, COUNT - 1), max_size=COUNT - 1))
def test_the_lowest_free_slot_is_chosen(taken: set[int]) -> None:
    chosen = slots.choose(taken).number
    assert chosen not in taken
    assert set(range(chosen)) <= taken


def test_a_full_machine_says_so() -> None:
    with pytest.raises(LocalError, match="already has 10 clusters"):
        slots.choose(range(COUNT))


@pytest.mark.parametrize("number", [-1, COUNT])
def test_there_are_no_other_slots(number: int) -> None:
    with pytest.raises(ValueError, match="a slot is between"):
        Slot(number)


@pytest.mark.parametrize(
    ("route", "in_the_way"),
    [
        ({"dst": "default", "gateway": "192.0.2.1"}, False),
        ({"dst": "10.0.0.0/8", "gateway": "192.0.2.1"}, False),
        ({"dst": "192.0.2.0/24", "dev": "eth0"}, False),
        ({"dst": "172.31.0.0/16", "dev": "docker0"}, False),
        ({"dst": "172.30.0.0/16", "dev": "docker0"}, True),
        ({"dst": "172.30.3.0/24", "dev": "innervate3"}, True),
        ({"dst": "10.247.9.9", "gateway": "192.0.2.1"}, True),
    ],
)
def test_only_routes_to_a_slots_own_addresses_are_in_its_way(route: dict[str, str], in_the_way: bool) -> None:
    assert network.conflict(Slot(3), [route]) == in_the_way


@pytest.mark.parametrize("name", ["innervate", "innervate-test", "a", "a1", "x" * 32])
def test_names_that_are_fine(name: str) -> None:
    assert slots.check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "1a", "a/b", "..", "a b", "ü", "x" * 33, "a\n"])
def test_names_that_would_do_harm(name: str) -> None:
    with pytest.raises(LocalError, match="cannot name a cluster"):
        slots.check_name(name)
