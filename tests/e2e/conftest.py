"""What end-to-end tests share: a real cluster of their own, with the chart installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command import command
from innervate import setup_tracing
from innervate_local import binaries, images
from innervate_local.cluster import Cluster

from tests.e2e.lab import OBSERVABILITY, SYSTEM, Lab, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Innervate

ROOT = Path(__file__).resolve().parents[2]
NAME = os.environ.get("INNERVATE_TEST_CLUSTER", "innervate-test")
"""Name of the cluster: another one lets two runs go on side by side."""
OTLP = f"http://innervate-telemetry.{OBSERVABILITY}.svc:4317"
KEEP = "INNERVATE_KEEP_CLUSTER"
"""Set to 1, the cluster stays up after the tests, for the next run or a look."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of the tests' own, never one that a user names."""
    cluster = Cluster(NAME)
    os.environ["INNERVATE_KUBECTL"] = f"{binaries.path('kubernetes')} kubectl"
    cluster.up()
    images.load(images.build(), cluster.nodes)
    yield cluster
    if os.environ.get(KEEP) != "1":
        cluster.down()


@pytest.fixture(scope="session")
def lab(cluster: Cluster) -> Lab:
    """The cluster with the chart installed."""
    lab = Lab(cluster)
    lab.helm(
        *("upgrade", "--install", "innervate", str(ROOT / "charts/innervate")),
        *("--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "120s"),
        *("--set", f"telemetry.otlpEndpoint={OTLP}"),
    )
    return lab


@pytest.fixture(scope="session")
def tracing(lab: Lab) -> Iterator[Callable[[], None]]:
    """Send the test's own client spans to the cluster's collector; gives what flushes them."""
    with lab.forward(OBSERVABILITY, "innervate-telemetry", 4317) as forward:
        end = setup_tracing(f"http://127.0.0.1:{forward.port}")
        yield end
        end()


@pytest.fixture(scope="session")
def shop(lab: Lab) -> Iterator[str]:
    """Namespace with a store named `support`, Ready, and two accounts."""
    with lab.namespace("shop") as namespace:
        accounts = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
            for name in ("agent", "stranger")
        ]
        lab.apply(*accounts, store("support", namespace, reclaimPolicy="Delete"))
        lab.ready("memorystore", "support", namespace)
        yield namespace


@pytest.fixture
def innervate(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Innervate]:
    """Run the command as the cluster's administrator."""
    with command(monkeypatch, capsys, str(lab.cluster.kubeconfig)) as run:
        yield run
