"""A Redis that is not the store's own, found by a URL in a file that may come late and change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from innervate_api.memory.v1 import memory_pb2 as pb
from innervate_local.certificates import Authority
from innervate_memory.connection import RedisConnection
from innervate_service.errors import Unavailable
from memory_process import Cluster, memory_config, running_memory
from redis_process import RedisProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisProcess]:
    """A Redis with a certificate that the system trusts, and users by password."""
    tls = tmp_path / "tls"
    tls.mkdir()
    authority = Authority("system")
    authority.issue("redis", addresses=["localhost"]).write(tls, "tls")
    (tls / "ca.crt").write_bytes(authority.root.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tls / "ca.crt"))
    process = RedisProcess(tmp_path, tls=tls, options=("--tls-auth-clients", "no"), password="s@fe/word")
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(url_file=tmp_path / "url")
    yield connection
    await connection.close()


def deadline(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_follows_the_url_as_it_comes_and_changes(
    server: RedisProcess, connection: RedisConnection, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="No such file") as absent:
        await connection.command("PING", deadline=deadline(0.5))
    assert absent.value.reason == "REDIS_UNREACHABLE"
    url = tmp_path / "url"
    url.write_text(f"rediss://:wrong@localhost:{server.port}/0\n")
    with pytest.raises(Unavailable) as refused:
        await connection.command("PING", deadline=deadline(5))
    assert refused.value.reason == "REDIS_LOGIN"
    url.write_text(f"rediss://default:s%40fe%2Fword@localhost:{server.port}/3\n")
    assert await connection.command("PING", deadline=deadline(5)) == b"PONG"
    await connection.command("SET", "key", "value", deadline=deadline(5), writes=True)
    url.write_text(f"rediss://:s%40fe%2Fword@localhost:{server.port}/0\n")
    again = RedisConnection(url_file=url)
    assert await again.command("EXISTS", "key", deadline=deadline(5)) == 0
    await again.close()


@pytest.mark.parametrize(
    "text", ["", "redis://:secret@localhost:1/0", "rediss://:secret@:1/0", "rediss://:secret@host:port/0"]
)
async def test_refuses_any_other_url_without_repeating_it(
    connection: RedisConnection, tmp_path: Path, text: str
) -> None:
    (tmp_path / "url").write_text(text)
    with pytest.raises(Unavailable, match="the URL of Redis") as refused:
        await connection.command("PING", deadline=deadline(0.5))
    assert "secret" not in str(refused.value)


async def test_a_certificate_of_a_stranger_is_refused(
    server: RedisProcess, connection: RedisConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "stranger.crt"
    stranger.write_bytes(Authority("stranger").root.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger))
    (tmp_path / "url").write_text(f"rediss://:s%40fe%2Fword@localhost:{server.port}/0\n")
    with pytest.raises(Unavailable, match="certificate"):
        await connection.command("PING", deadline=deadline(1))


async def test_a_service_that_is_not_ready_says_why(tmp_path: Path) -> None:
    """The operator asks for the counts with a deadline, and is told the reason before it passes."""
    cluster = Cluster(tmp_path / "cluster")
    config = memory_config(
        cluster, port=1, password_file=tmp_path, tls=True, redis={"urlFile": str(tmp_path / "url")}
    )
    operator = cluster.metadata("innervate-operator", "innervate-system")
    async with running_memory(config, cluster) as running, running.stub() as stub:
        assert running.server.problem() is not None
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Stats(pb.StatsRequest(), metadata=operator, timeout=2)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    status = status_pb2.Status()
    status.ParseFromString(dict(refused.value.trailing_metadata())["grpc-status-details-bin"])
    reasons = []
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reasons.append(info.reason)
    assert reasons == ["REDIS_UNREACHABLE"]
