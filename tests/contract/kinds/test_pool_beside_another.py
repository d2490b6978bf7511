"""The InferencePool of Gateway API's inference extension and ours live in one cluster."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from innervate_kinds.api.kind import Kind
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_local import binaries

if TYPE_CHECKING:
    from innervate_local.control_plane import ControlPlane

    from .conftest import Api

pytestmark = pytest.mark.contract

OTHERS = Kind("inference.networking.k8s.io", "v1", "InferencePool", "inferencepools")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
EXAMPLE = Path(__file__).parents[3] / "deploy/examples/inferencepool/minimal.yaml"
NAME = "assistant"


def theirs() -> dict[str, Any]:
    """A definition of that group and kind, as small as one can be."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{OTHERS.plural}.{OTHERS.group}",
            # The API server asks for this of its own groups.
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test's own"},
        },
        "spec": {
            "group": OTHERS.group,
            "scope": "Namespaced",
            "names": {
                "kind": OTHERS.kind,
                "listKind": "InferencePoolList",
                "plural": OTHERS.plural,
                "singular": "inferencepool",
                "shortNames": ["infpool"],
            },
            "versions": [
                {
                    "name": OTHERS.version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {**anything, "properties": {"spec": anything}}},
                }
            ],
        },
    }


def test_both_are_served_and_told_apart(api: Api, api_server: ControlPlane) -> None:
    definition = theirs()
    code, answer = api.request("POST", DEFINITIONS, definition)
    assert code == 201, answer["message"]
    try:
        deadline = time.monotonic() + 60
        while not served(api):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        pool = {
            "apiVersion": OTHERS.api_version,
            "kind": OTHERS.kind,
            "metadata": {"name": NAME},
            "spec": {"targetPorts": [{"number": 8000}]},
        }
        assert api.request("POST", api.collection(OTHERS), pool)[0] == 201
        ours = yaml.safe_load(EXAMPLE.read_text())
        code, answer = api.request("POST", api.collection(INFERENCE_POOL), ours, fieldValidation="Strict")
        assert code == 201, answer["message"]
        # What people type finds ours: the short name, and the full name of the resource.
        for word in ("ipool", f"{INFERENCE_POOL.plural}.{INFERENCE_POOL.group}"):
            found = kubectl(api_server, "get", word, NAME, "--output=json")
            assert json.loads(found)["spec"]["variants"][0]["engine"] == "LlamaCpp"
        found = kubectl(api_server, "get", f"{OTHERS.plural}.{OTHERS.group}", NAME, "--output=json")
        assert "targetPorts" in json.loads(found)["spec"]
    finally:
        api.request("DELETE", INFERENCE_POOL.path("default", NAME))
        api.request("DELETE", f"{DEFINITIONS}/{definition['metadata']['name']}")


def served(api: Api) -> bool:
    """Whether the API server serves the other kind by now."""
    groups = api.request("GET", "/apis")[1]["groups"]
    if all(group["name"] != OTHERS.group for group in groups):
        return False
    try:
        return api.request("GET", OTHERS.path())[0] == 200
    except ValueError:
        # A path of a group that is announced and not served yet is answered in plain text.
        return False


def kubectl(api_server: ControlPlane, *arguments: str) -> str:
    """Ask as a person would."""
    command = [str(binaries.path("kubernetes")), "kubectl", *arguments]
    return subprocess.run(
        [*command, "--kubeconfig", str(api_server.kubeconfig)], capture_output=True, text=True, check=True
    ).stdout
