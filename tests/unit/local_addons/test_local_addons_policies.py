import ipaddress
import json
import os

import pytest
from innervate_local.addons.network_policies import model, rules
from innervate_local.addons.network_policies.addresses import Addresses
from innervate_local.addons.watching import Key

PODS = ipaddress.IPv4Network("10.244.0.0/16")


def test_chains_that_are_no_longer_wanted_are_removed_and_others_are_not_touched():
    existing = ["FORWARD", "KUBE-FORWARD", rules.ROOT, "INV-I-old", "INV-I-kept"]
    text = rules.restore({rules.ROOT: [], "INV-I-kept": ["-j DROP"]}, existing)
    assert text.splitlines() == [
        "*mangle",
        f":{rules.ROOT} - [0:0]",
        ":INV-I-kept - [0:0]",
        ":INV-I-old - [0:0]",
        "-A INV-I-kept -j DROP",
        "-X INV-I-old",
        "COMMIT",
    ]


def test_names_of_chains_fit_and_differ_by_pod_and_direction():
    long = "x" * 253
    keys = [Key("a", long), Key("b", long), Key("a", long[:-1] + "y")]
    names = {rules._chain(key, side) for key in keys for side in rules.SIDES}
    assert len(names) == 6
    assert max(map(len, names)) <= 28  # what the kernel takes


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "1", "b": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["0", "1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ],
)
def test_selectors(selector, expected):
    assert model.matches(selector, {"a": "1"}) is expected


def _record(directory, name, address, *, container, when):
    path = directory / f"innervate-core-{container * 64}-eth0"
    path.write_text(
        json.dumps(
            {
                "cniArgs": [
                    ["IgnoreUnknown", "1"],
                    ["K8S_POD_NAMESPACE", "shop"],
                    ["K8S_POD_NAME", name],
                ],
                "result": {"ips": [{"address": f"{address}/24"}]},
            }
        )
    )
    os.utime(path, (when, when))
    return path


def test_addresses_are_known_from_the_network_plugins_records(tmp_path):
    addresses = Addresses(PODS, tmp_path)
    assert addresses.by_pod() == {}
    first = _record(tmp_path, "redis-0", "10.244.1.2", container="a", when=1)
    _record(tmp_path, "elsewhere", "10.245.1.2", container="b", when=1)
    assert addresses.refresh()
    assert addresses.by_pod() == {Key("shop", "redis-0"): "10.244.1.2"}
    assert not addresses.refresh()

    _record(tmp_path, "redis-0", "10.244.1.3", container="c", when=2)
    assert addresses.refresh()
    assert addresses.by_pod() == {Key("shop", "redis-0"): "10.244.1.3"}
    first.unlink()
    addresses.refresh()
    assert addresses.by_pod() == {Key("shop", "redis-0"): "10.244.1.3"}


def test_a_record_that_is_not_written_yet_is_read_again(tmp_path):
    path = tmp_path / "innervate-core-00-eth0"
    path.write_text("")
    addresses = Addresses(PODS, tmp_path)
    addresses.refresh()
    assert addresses.by_pod() == {}
    complete = _record(tmp_path, "redis-0", "10.244.1.2", container="a", when=1).read_text()
    path.write_text(complete)
    assert addresses.refresh()
    assert addresses.by_pod() == {Key("shop", "redis-0"): "10.244.1.2"}


def test_no_records_yet_is_no_error(tmp_path):
    addresses = Addresses(PODS, tmp_path / "none")
    assert not addresses.refresh()
