"""What tests on an API server share; each folder has a `plane` of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from innervate_kinds.api.kind import NAMESPACE, Reference
from innervate_operator import credentials
from innervate_operator.client import Client, Open, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from innervate_local.control_plane import ControlPlane


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Client]:
    """An administrator."""
    transport = Transport(credentials.load(plane.kubeconfig))
    yield Client(transport, Open())
    await transport.close()


@pytest.fixture
def namespace(admin: Client) -> Callable[[str], Any]:
    """Makes a namespace."""

    async def make(name: str) -> str:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await admin.create(Reference.of(NAMESPACE, manifest), manifest, manager="test")
        return name

    return make
