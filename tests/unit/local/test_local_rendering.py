"""Rendered configuration holds what the components must be told."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from innervate_local import containerd, kind, kubelet, mounts

CRI = "io.containerd.grpc.v1.cri"
PATHS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).map(
    lambda name: Path("/", name)
)


@given(PATHS)
def test_containerd_reads_back_any_path(path: Path) -> None:
    text = containerd.configuration(
        root=path, state=path / "s", socket=path / "c.sock", networks=path / "n", plugins=path / "p"
    )
    read = tomllib.loads(text)
    assert read["root"] == str(path)
    assert read["grpc"]["address"] == str(path / "c.sock")
    plugin = read["plugins"][CRI]
    assert plugin["cni"] == {"bin_dir": str(path / "p"), "conf_dir": str(path / "n")}
    assert plugin["restrict_oom_score_adj"] is True
    assert plugin["netns_mounts_under_state_dir"] is True
    assert plugin["sandbox_image"] == containerd.PAUSE_IMAGE


def test_pod_addresses_come_from_the_nodes_range() -> None:
    text = containerd.pod_network(name="net", subnet="10.244.1.0/24", leases=Path("/leases"))
    bridge, portmap = json.loads(text)["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    assert bridge["ipam"]["dataDir"] == "/leases"
    # Pods keep their own address on the way out: policies and logs see who it was.
    assert not bridge.get("ipMasq")
    assert portmap["type"] == "portmap"


def test_a_kubelet_keeps_to_its_directory_and_group() -> None:
    directory = Path("/node")
    read = yaml.safe_load(
        kubelet.kubelet_configuration(
            directory=directory,
            group="innervate-x/core",
            address="172.30.0.11",
            dns_address="10.96.0.10",
            root_certificate=Path("/ca.crt"),
            serving=(Path("/k.crt"), Path("/k.key")),
            containerd_socket=Path("/c.sock"),
        )
    )
    assert read["cgroupRoot"] == "/innervate-x/core"
    assert read["clusterDNS"] == ["10.96.0.10"]
    assert read["authentication"]["anonymous"] == {"enabled": False}
    assert read["failCgroupV1"] is False
    assert Path(read["podLogsDir"]).is_relative_to(directory)
    assert Path(read["volumePluginDir"]).is_relative_to(directory)


def test_kube_proxy_leaves_connection_tracking_alone() -> None:
    text = kubelet.proxy_configuration(
        node="core", address="172.30.0.11", pod_cidr="10.244.0.0/16", kubeconfig=Path("/k")
    )
    conntrack = yaml.safe_load(text)["conntrack"]
    assert set(conntrack.values()) == {0, "0s"}


def test_kind_gets_the_same_pools() -> None:
    nodes = yaml.safe_load(kind.configuration())["nodes"]
    assert [node["labels"]["innervate.dev/pool"] for node in nodes] == ["cpu", "edge"]


MOUNTINFO = """\
22 1 254:0 / / rw - ext4 /dev/root rw
30 22 0:5 / /run/a rw - tmpfs none rw
31 30 0:6 / /run/a/with\\040space rw shared:1 - overlay none rw
32 22 0:7 / /run/ab rw - tmpfs none rw
"""


@pytest.mark.parametrize(
    ("directory", "found"),
    [("/run/a", ["/run/a", "/run/a/with space"]), ("/run/ab", ["/run/ab"]), ("/run/abc", [])],
)
def test_mounts_of_a_directory_are_not_its_neighbours(directory: str, found: list[str]) -> None:
    assert mounts.parse(MOUNTINFO, Path(directory)) == [Path(each) for each in found]
