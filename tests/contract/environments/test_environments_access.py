"""Who may use an environment: real TLS, real tokens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from innervate_environments.client import Credentials, EnvironmentRefused, VectorEnvironment
from innervate_environments.config import ServerConfig
from innervate_environments.service import EnvironmentService, service_config
from innervate_service.serve import Server
from innervate_service.tls import CertificateStore
from memory_process import Cluster


@asynccontextmanager
async def _serving(cluster: Cluster, **changes: Any) -> AsyncIterator[str]:
    document = {
        "service": {
            "listen": "localhost:0",
            "healthListen": None,
            "metricsListen": None,
            "drain": {"delaySeconds": 0, "graceSeconds": 5},
            "paths": {
                "trustDirectory": str(cluster.trust),
                "identityDirectory": str(cluster.identity),
            },
        },
        "environment": {
            "namespace": "shop",
            "name": "cart",
            "source": {"gymnasium": {"id": "CartPole-v1", "options": {}}},
            "capacity": 2,
        },
        "operator": {"namespace": "innervate-system", "name": "innervate-operator"},
    } | changes
    config = ServerConfig.model_validate_json(json.dumps(document))
    certificates = CertificateStore()
    certificates.replace(cluster.authority.issue())
    service = EnvironmentService(config)
    server = Server(
        service_config(config),
        [service.grpc_service],
        ready=service.ready,
        on_start=service.start,
        on_drain=service.stop,
        certificates=certificates,
    )
    await server.start()
    try:
        yield f"grpcs://localhost:{server.ports.grpc}"
    finally:
        await server.drain()


def _credentials(cluster: Cluster, directory: Path, namespace: str, account: str) -> Credentials:
    token = directory / f"{namespace}-{account}"
    (_, header), *_ = cluster.metadata(account, namespace)
    token.write_text(header.removeprefix("Bearer "))
    return Credentials(cluster.trust / "ca.crt", token)


def _use(endpoint: str, credentials: Credentials) -> None:
    with VectorEnvironment.open(endpoint, slots=1, credentials=credentials) as environment:
        assert not environment.reset().errors


async def test_accounts_of_the_own_namespace_may(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    own = _credentials(cluster, tmp_path, "shop", "trainer")
    foreign = _credentials(cluster, tmp_path, "bank", "trainer")
    operator = _credentials(cluster, tmp_path, "innervate-system", "innervate-operator")
    async with _serving(cluster) as endpoint:
        await asyncio.to_thread(_use, endpoint, own)
        with pytest.raises(EnvironmentRefused, match=r"PERMISSION_DENIED.*bank/trainer may not use"):
            await asyncio.to_thread(_use, endpoint, foreign)
        # The operator is told what it is, and no more.
        with pytest.raises(EnvironmentRefused, match=r"PERMISSION_DENIED.*innervate-operator may not use"):
            await asyncio.to_thread(_use, endpoint, operator)


async def test_rules_say_who_else_may(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "cluster")
    named = _credentials(cluster, tmp_path, "bank", "trainer")
    rest = _credentials(cluster, tmp_path, "bank", "clerk")
    rule = {"serviceAccounts": [{"namespace": "bank", "name": "trainer"}]}
    async with _serving(cluster, access=[rule]) as endpoint:
        await asyncio.to_thread(_use, endpoint, named)
        with pytest.raises(EnvironmentRefused, match=r"PERMISSION_DENIED.*bank/clerk"):
            await asyncio.to_thread(_use, endpoint, rest)
