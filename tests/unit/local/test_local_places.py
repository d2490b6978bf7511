"""Where to run is decided as documented, and slots are claimed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate_local import __main__ as command
from innervate_local import places, state
from innervate_local.cluster import Cluster
from innervate_local.context import ContextCluster
from innervate_local.process import Identity
from innervate_local.state import State

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_local.slots import Slot


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep state here, and have no Docker engine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.delenv(places.CONTEXT_VARIABLE, raising=False)
    return tmp_path


def free(_: Slot) -> bool:
    return False


def test_a_named_context_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    state.write("demo", State(slot=0))
    monkeypatch.setenv(places.CONTEXT_VARIABLE, "from-environment")
    chosen = places.choose("demo").place
    assert isinstance(chosen, ContextCluster)
    assert chosen.context == "from-environment"
    chosen = places.choose("demo", context="from-option").place
    assert isinstance(chosen, ContextCluster)
    assert chosen.context == "from-option"


def test_without_an_engine_it_is_this_machine() -> None:
    assert isinstance(places.choose("demo").place, Cluster)


def test_clusters_get_different_slots_and_keep_them() -> None:
    first, second = (state.claim_slot(name, in_use=free) for name in ("one", "two"))
    assert first != second
    assert state.claim_slot("one", in_use=free) == first


def test_addresses_in_use_by_others_are_left_to_them() -> None:
    assert state.claim_slot("one", in_use=lambda slot: slot.number < 3).number == 3


def test_state_is_read_as_it_was_written() -> None:
    written = State(slot=4, ready=True, processes={"etcd": Identity(1, 2, "boot")})
    state.write("demo", written)
    assert state.read("demo") == written
    assert state.names() == ["demo"]
    assert state.read("other") is None


def test_what_is_not_up_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["kubeconfig", "--name=demo"]) == 1
    assert "cluster demo is not up" in capsys.readouterr().err
    assert command.main(["edge", "cut", "--name=demo"]) == 1
    assert "there is no cluster 'demo'" in capsys.readouterr().err


def test_where_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["where", "--context=mine"]) == 0
    assert capsys.readouterr().out == "the context mine, as named\n"
