"""An API server with our kinds, for tests that let engines die on it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from innervate_kinds.api.kind import Kind, Reference
from innervate_operator import credentials
from innervate_operator.client import Client, Open, Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_local.control_plane import ControlPlane

ROOT = Path(__file__).parents[2]
CRD = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)


async def install(running: ControlPlane) -> None:
    """Bring our definitions, and wait until they are served."""
    transport = Transport(credentials.load(running.kubeconfig))
    client = Client(transport, Open())
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text())
        await client.apply(Reference.of(CRD, manifest), manifest, manager="test")
        names = manifest["spec"]["names"]
        kind = Kind(manifest["spec"]["group"], "v1alpha1", names["kind"], names["plural"])
        await eventually(lambda kind=kind: served(client, kind))
    await transport.close()


async def served(client: Client, kind: Kind) -> bool:
    with contextlib.suppress(Exception):
        async for _ in client.pages(kind):
            return True
    return False


async def eventually(check: Callable[[], Any], *, seconds: float = 90.0) -> Any:
    """The first true result of a check, which may be a coroutine function."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < end, "it did not become true"
        await asyncio.sleep(0.1)
