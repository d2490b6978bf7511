"""What contract tests share: one real API server for the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate_local.control_plane import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real etcd and kube-apiserver: no nodes, no controllers, nothing deletes what tests leave."""
    with ControlPlane(tmp_path_factory.mktemp("api-server")) as plane:
        yield plane
