"""Tokens of a real API server: verified offline, reviewed online, turned into certificates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import kubernetes
import pytest
from cryptography import x509
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_operator.identity.authority import RotationPolicy, create
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings, run_identity
from innervate_service.auth import AUDIENCE, Identity, TokenVerifier, TrustDirectory, current_identity
from innervate_service.config import DrainConfig, IdentityConfig, PathsConfig, ServiceConfig
from innervate_service.errors import Unauthenticated
from innervate_service.serve import Server, Service

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_local.control_plane import ControlPlane

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180)]


class Cluster:
    """What the tests ask of the API server."""

    def __init__(self, plane: ControlPlane) -> None:
        self.client = kubernetes.config.new_client_from_config(str(plane.kubeconfig))
        self.core = kubernetes.client.CoreV1Api(self.client)
        self.authentication = kubernetes.client.AuthenticationV1Api(self.client)
        self.namespace = f"shop-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": self.namespace}})

    def account(self, name):
        self.core.create_namespaced_service_account(self.namespace, {"metadata": {"name": name}})

    def token(self, account, *audiences):
        body = {"spec": {"audiences": list(audiences), "expirationSeconds": 600}}
        request = self.core.create_namespaced_service_account_token(account, self.namespace, body)
        return request.status.token

    def raw(self, path):
        answer = self.client.call_api("GET", f"{self.client.configuration.host}{path}")
        return answer.read().decode()

    def publish(self, directory: Path) -> None:
        """What the operator puts into the trust of every service."""
        directory.mkdir(exist_ok=True)
        discovery = json.loads(self.raw("/.well-known/openid-configuration"))
        (directory / "issuer").write_text(discovery["issuer"])
        (directory / "jwks.json").write_text(self.raw("/openid/v1/jwks"))

    async def review(self, token):
        body = {"spec": {"token": token, "audiences": [AUDIENCE]}}
        review = await asyncio.to_thread(self.authentication.create_token_review, body)
        if not review.status.authenticated:
            raise Unauthenticated(f"the token is not good: {review.status.error}")
        return Identity.from_subject(review.status.user.username)


@pytest.fixture(scope="module")
def cluster(api_server):
    cluster = Cluster(api_server)
    cluster.account("agent")
    cluster.account("memory")
    return cluster


@pytest.fixture
def verifier(cluster, tmp_path):
    cluster.publish(tmp_path / "trust")
    return TokenVerifier(TrustDirectory(tmp_path / "trust"))


async def test_a_token_for_us_is_verified_without_the_api_server(cluster, verifier):
    token = cluster.token("agent", AUDIENCE)
    assert await verifier(token) == Identity(cluster.namespace, "agent")
    assert await cluster.review(token) == Identity(cluster.namespace, "agent")


@pytest.mark.parametrize("audiences", [(), ("https://kubernetes.default.svc.cluster.local",), ("another",)])
async def test_a_token_for_others_is_refused_both_ways(cluster, verifier, audiences):
    token = cluster.token("agent", *audiences)
    with pytest.raises(Unauthenticated, match="audience"):
        await verifier(token)
    with pytest.raises(Unauthenticated):
        await cluster.review(token)


async def test_a_changed_token_is_refused_both_ways(cluster, verifier):
    header, claims, signature = cluster.token("agent", AUDIENCE).split(".")
    flipped = ("A" if signature[10] != "A" else "B").join((signature[:10], signature[11:]))
    for token in (f"{header}.{claims}.{flipped}", f"{header}.{claims}."):
        with pytest.raises(Unauthenticated):
            await verifier(token)
        with pytest.raises(Unauthenticated):
            await cluster.review(token)


async def test_an_account_that_is_gone_gets_no_certificate_though_its_token_still_verifies(cluster, verifier):
    cluster.account("leaver")
    token = cluster.token("leaver", AUDIENCE)
    cluster.core.delete_namespaced_service_account("leaver", cluster.namespace)
    with pytest.raises(Unauthenticated):
        await cluster.review(token)
    assert await verifier(token) == Identity(cluster.namespace, "leaver")


class WhoAmI(memory_pb2_grpc.MemoryServiceServicer):
    """Stats answers the caller's name."""

    async def Stats(self, _request, _context):  # noqa: N802  named by the proto
        return memory_pb2.StatsResponse(durability=str(current_identity()))


@contextlib.asynccontextmanager
async def identity_endpoint(cluster):
    authority = IdentityAuthority(
        create(datetime.now(UTC), RotationPolicy()), IdentitySettings(listen="localhost:0")
    )
    port = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_identity(authority, cluster.review, listening=port.set_result))
    try:
        yield authority, await port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_from_a_token_to_a_certificate_to_an_authenticated_call(cluster, tmp_path):
    """The whole way: the service gets its certificate by its token, the caller is known by his."""
    async with identity_endpoint(cluster) as (authority, port):
        paths = PathsConfig(
            trust_directory=tmp_path / "trust",
            token_file=tmp_path / "token",
            identity_directory=tmp_path / "identity",
        )
        cluster.publish(paths.trust_directory)
        (paths.trust_directory / "ca.crt").write_text(authority.state.bundle)
        paths.token_file.write_text(cluster.token("memory", AUDIENCE))
        config = ServiceConfig(
            listen="localhost:0",
            health_listen=None,
            metrics_listen=None,
            identity=IdentityConfig(
                endpoint=f"localhost:{port}", dns_names=(f"memory.{cluster.namespace}.svc", "localhost")
            ),
            drain=DrainConfig(delay_seconds=0, grace_seconds=1),
            paths=paths,
        )
        server = Server(
            config,
            [
                Service(
                    "innervate_api.memory.v1.MemoryService",
                    lambda s: memory_pb2_grpc.add_MemoryServiceServicer_to_server(WhoAmI(), s),
                )
            ],
        )
        await server.start()
        try:
            leaf = x509.load_pem_x509_certificate((paths.identity_directory / "tls.crt").read_bytes())
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
                f"spiffe://innervate.local/ns/{cluster.namespace}/sa/memory"
            ]
            credentials = grpc.ssl_channel_credentials(authority.state.bundle.encode())
            async with grpc.aio.secure_channel(f"localhost:{server.ports.grpc}", credentials) as channel:
                stub = memory_pb2_grpc.MemoryServiceStub(channel)
                good = (("authorization", f"Bearer {cluster.token('agent', AUDIENCE)}"),)
                answer = await stub.Stats(memory_pb2.StatsRequest(), metadata=good)
                assert answer.durability == f"{cluster.namespace}/agent"
                bad = (("authorization", f"Bearer {cluster.token('agent')}"),)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.Stats(memory_pb2.StatsRequest(), metadata=bad)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        finally:
            await server.drain()
