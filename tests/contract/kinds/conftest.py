"""A real API server with our kinds installed, and a plain way to ask it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import yaml
from innervate_kinds.registry import ROOMS
from kubernetes import config

if TYPE_CHECKING:
    from innervate_kinds.api.kind import Kind
    from innervate_local.control_plane import ControlPlane

ROOT = Path(__file__).parents[3]


class Api:
    """Sends manifests to the API server and tells its answer."""

    def __init__(self, kubeconfig: str) -> None:
        self._client = config.new_client_from_config(kubeconfig)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        **query: str,
    ) -> tuple[int, dict[str, Any]]:
        """Status code and JSON answer, whatever the code."""
        response = self._client.call_api(
            method,
            f"{self._client.configuration.host}{path}?{urlencode(query)}",
            header_params={"Content-Type": content_type, "Accept": "application/json"},
            body=body,
        )
        return response.status, json.loads(response.read())

    def collection(self, kind: Kind, namespace: str = "default") -> str:
        return kind.path(namespace if kind.namespaced else None)


@pytest.fixture(scope="session")
def api(api_server: ControlPlane) -> Api:
    api = Api(str(api_server.kubeconfig))
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        code, answer = api.request("POST", base, definition, fieldValidation="Strict")
        assert code in (201, 409), answer["message"]
    for room in ROOMS:
        for _ in range(100):
            if api.request("GET", room.kind.path())[0] == 200:
                break
            time.sleep(0.1)
    return api
