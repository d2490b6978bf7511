"""A gateway's routes follow a real API server: its own pool, and the EndpointSlices of its engines alone."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from eventually import eventually
from gateway_cluster import POOL, arm, pool_document, slice_document
from innervate_gateway.config import KubernetesConfig
from innervate_gateway.endpoints import Endpoint
from innervate_gateway.kubernetes import ApiServer, PoolFollower
from innervate_gateway.routes import RouteBook
from innervate_local import binaries

if TYPE_CHECKING:
    from innervate_local.control_plane import ControlPlane

pytestmark = pytest.mark.contract
ROOT = Path(__file__).parents[3]
NAMESPACE = "gateway-follows"
ACCOUNT = {"kind": "ServiceAccount", "name": "gateway", "namespace": NAMESPACE}
RULES = [
    {
        "apiGroups": ["innervate.dev"],
        "resources": ["inferencepools"],
        "resourceNames": [POOL],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
]
RBAC = "rbac.authorization.k8s.io"


class Cluster:
    """kubectl as the administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.server = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        program = [str(binaries.path("kubernetes")), "kubectl", f"--kubeconfig={self._plane.kubeconfig}"]
        finished = await asyncio.to_thread(
            subprocess.run, [*program, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    async def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        text = await self.kubectl("apply", "-o", "json", "-f", "-", stdin=json.dumps(document))
        return json.loads(text)


@pytest.fixture
async def cluster(api_server: ControlPlane) -> Cluster:
    cluster = Cluster(api_server)
    await cluster.kubectl("apply", "-f", str(ROOT / "crds" / "inferencepools.innervate.dev.yaml"))
    await cluster.kubectl(
        "wait", "--for=condition=Established", "--timeout=60s", "crd/inferencepools.innervate.dev"
    )
    metadata = {"name": "gateway", "namespace": NAMESPACE}
    for document in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": RULES},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "gateway"},
            "subjects": [ACCOUNT],
        },
    ):
        await cluster.apply(document)
    return cluster


def here(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"]["namespace"] = NAMESPACE
    for name in ("uid", "generation"):
        document["metadata"].pop(name, None)
    return document


def engine(name: str, *, port: int, uid: str) -> dict[str, Any]:
    return here(slice_document(name, release="first", port=port, uid=uid, addresses=("10.99.0.1",)))


async def test_routes_follow_the_pool_and_its_engines_with_no_more_rights_than_that(
    cluster: Cluster, api_server: ControlPlane, tmp_path: Path
) -> None:
    config = yaml.safe_load(api_server.kubeconfig.read_text())["clusters"][0]["cluster"]
    authority = tmp_path / "ca.crt"
    if "certificate-authority" in config:
        authority = Path(config["certificate-authority"])
    else:
        await asyncio.to_thread(authority.write_text, _decoded(config["certificate-authority-data"]))
    token = tmp_path / "token"
    token.write_text(await cluster.kubectl("create", "token", "gateway", "-n", NAMESPACE))
    book = RouteBook(lambda replica: Endpoint(replica, key=lambda: "", connect_seconds=1))
    kubernetes = KubernetesConfig(server=cluster.server, token_file=token, ca_file=authority)
    async with ApiServer(kubernetes) as server:
        follower = PoolFollower(
            server,
            namespace=NAMESPACE,
            name=POOL,
            see_pool=book.see_pool,
            see_slices=book.see_slices,
        )
        following = asyncio.create_task(follower.run())
        try:
            pool = await cluster.apply(here(pool_document()))
            uid = pool["metadata"]["uid"]
            await eventually(lambda: book.state.seen_generation == 1, seconds=60)
            assert book.current is None
            # Neither another pool's engines nor another pool are seen.
            await cluster.apply(engine("foreign", port=1, uid="other"))
            await cluster.apply(engine("own", port=2, uid=uid))
            await eventually(lambda: book.current is not None, seconds=60)
            assert book.current is not None
            assert [e.replica.port for e in book.current.endpoints["stable"]] == [2]
            traffic = [arm("stable-1", "first", 100), arm("candidate-1", "second", 0, "Candidate")]
            await cluster.apply(here(pool_document(traffic=traffic)))
            await eventually(lambda: book.current.pool.generation == 2, seconds=60)
            assert [each.name for each in book.current.pool.arms] == ["stable-1", "candidate-1"]
            await cluster.kubectl("delete", "endpointslice", "own", "-n", NAMESPACE)
            await eventually(lambda: not book.current.endpoints["stable-1"], seconds=60)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


def _decoded(text: str) -> str:

    return base64.b64decode(text).decode()
