"""A context the user names is used as it is, and no other is touched."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from innervate_local import __main__ as command
from innervate_local import places
from innervate_local.context import ContextCluster
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_local.control_plane import ControlPlane

pytestmark = pytest.mark.contract


@pytest.fixture
def users_file(api_server: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's kubeconfig: the real cluster as `mine`, and a current context that must not be used."""
    config = yaml.safe_load(api_server.kubeconfig.read_text())
    config["contexts"][0]["name"], user = "mine", config["users"][0]["name"]
    config["clusters"].append({"name": "other", "cluster": {"server": "https://127.0.0.1:1"}})
    config["contexts"].append({"name": "other", "context": {"cluster": "other", "user": user}})
    config["current-context"] = "other"
    file = tmp_path / "users.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return file


def test_up_uses_the_named_context_alone(users_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = users_file.read_text()
    assert command.main(["up", "--context=mine"]) == 0
    assert command.main(["kubeconfig", "--context=mine"]) == 0
    place = places.choose("innervate", context="mine").place
    assert capsys.readouterr().out.strip() == str(place.kubeconfig)
    assert place.kubeconfig.stat().st_mode & 0o077 == 0
    assert [each["name"] for each in yaml.safe_load(place.kubeconfig.read_text())["contexts"]] == ["mine"]
    assert json.loads(place.kubectl("get", "namespace", "default", "-o", "json"))["kind"] == "Namespace"
    assert command.main(["down", "--context=mine"]) == 0
    assert not place.kubeconfig.exists()
    assert users_file.read_text() == before


@pytest.mark.usefixtures("users_file")
@pytest.mark.parametrize(
    ("context", "said"), [("missing", "cannot locate context"), ("other", "was refused")]
)
def test_a_context_that_does_not_answer_says_so(
    context: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["up", f"--context={context}"]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("users_file")
def test_what_a_context_cannot_do_is_refused(tmp_path: Path) -> None:
    place = ContextCluster("demo", "mine")
    with pytest.raises(LocalError, match="push them to a registry"):
        place.load(tmp_path / "image.tar")
    with pytest.raises(LocalError, match="not ours to cut off"):
        place.cut_edge()
