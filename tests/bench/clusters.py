"""A cluster of a bench's own, with the chart installed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from innervate_local import binaries, images
from innervate_local.cluster import Cluster
from report import ROOT

from tests.e2e.lab import SYSTEM, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def cluster(name: str, *, keep: bool) -> Iterator[Lab]:
    """Bring a cluster up, and take it down in the end unless it is to be kept."""
    made = Cluster(name)
    os.environ["INNERVATE_KUBECTL"] = f"{binaries.path('kubernetes')} kubectl"
    try:
        made.up()
        images.load(images.build(), made.nodes)
        lab = Lab(made)
        lab.helm(
            *("upgrade", "--install", "innervate", str(ROOT / "charts/innervate")),
            *("--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "300s"),
        )
        yield lab
    finally:
        if not keep:
            made.down()
