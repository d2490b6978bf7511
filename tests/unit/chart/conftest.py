"""What tests of the chart share: Helm, and the chart rendered with given values."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml
from innervate_local import binaries

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "innervate"
NAMESPACE = "innervate-system"
# Helm built from its module believes in an old Kubernetes unless told.
KUBERNETES = f"--kube-version={binaries.KUBERNETES_VERSION}"


class Helm(Protocol):
    def __call__(
        self, command: str, values: dict[str, Any] | None = None, *arguments: str
    ) -> subprocess.CompletedProcess[str]: ...


class Render(Protocol):
    def __call__(self, values: dict[str, Any] | None = None) -> list[dict[str, Any]]: ...


@pytest.fixture(scope="session")
def chart() -> Path:
    return CHART


@pytest.fixture
def helm(tmp_path) -> Helm:
    """Run `helm template` or `helm lint` with values."""

    def run(command, values=None, *arguments):
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values or {}))
        release = ["innervate"] if command == "template" else []
        return subprocess.run(
            [
                *(str(binaries.path("helm")), command, *release, str(CHART)),
                *(f"--namespace={NAMESPACE}", f"--values={file}", KUBERNETES, *arguments),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def render(helm) -> Render:
    """Every object that the chart makes, hooks included."""

    def rendered(values=None):
        made = helm("template", values)
        assert made.returncode == 0, made.stderr
        return [manifest for manifest in yaml.safe_load_all(made.stdout) if manifest]

    return rendered
