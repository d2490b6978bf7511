"""What the client does when things go wrong: services that die, tokens that expire, nobody at home."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from innervate import InvalidArgument, MemoryClient, Retry, Unauthenticated, Unavailable
from innervate.retry import Attempts
from redis_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.client.conftest import Service


def test_calls_outlive_a_restart(connect: Callable[..., MemoryClient], service: Service) -> None:
    client = connect()
    client.put("before")
    service.stop()
    done: list[object] = []
    call = threading.Thread(target=lambda: done.append(client.put("during")))
    call.start()
    time.sleep(0.3)
    assert not done
    service.start()
    call.join()
    assert [record.text for record in client.list()] == ["before", "during"]


def test_calls_outlive_a_restart_of_redis(connect: Callable[..., MemoryClient], service: Service) -> None:
    client = connect()
    client.put("before")
    service.redis.kill()
    done: list[object] = []
    call = threading.Thread(target=lambda: done.append(client.put("during")))
    call.start()
    time.sleep(0.3)
    service.redis.start()
    call.join()
    assert [record.text for record in client.list()] == ["before", "during"]


def test_nobody_at_home_is_told_after_the_deadline(service: Service) -> None:
    with (
        MemoryClient.connect(
            f"grpcs://localhost:{free_port()}",
            ca=service.cluster.authority.pem,
            token=service.token,
            retry=Retry(timeout=1.0),
        ) as client,
        pytest.raises(Unavailable, match=r"Search on localhost failed after \d+ attempts in 1 s"),
    ):
        client.search("anything")


def test_a_server_of_another_authority_is_not_trusted(service: Service, tmp_path: Path) -> None:
    other = type(service.cluster)(tmp_path)
    with (
        MemoryClient.connect(
            service.endpoint, ca=other.authority.pem, token=service.token, retry=Retry(timeout=1.0)
        ) as client,
        pytest.raises(Unavailable),
    ):
        client.search("anything")


def test_a_server_of_another_name_is_not_trusted(service: Service) -> None:
    with (
        MemoryClient.connect(
            service.endpoint,
            ca=service.cluster.authority.pem,
            token=service.token,
            server_name="memory.other.svc",
            retry=Retry(timeout=1.0),
        ) as client,
        pytest.raises(Unavailable),
    ):
        client.search("anything")


def test_an_expired_token_is_replaced_once(service: Service) -> None:
    tokens = ["expired", service.token("renewer")]
    with MemoryClient.connect(
        service.endpoint, ca=service.cluster.authority.pem, token=lambda: tokens.pop(0)
    ) as client:
        assert client.put("x").created
    assert tokens == []


def test_a_bad_token_is_refused_at_once(service: Service) -> None:
    asked: list[float] = []

    def bad() -> str:
        asked.append(time.monotonic())
        return "bad"

    with (
        MemoryClient.connect(service.endpoint, ca=service.cluster.authority.pem, token=bad) as client,
        pytest.raises(Unauthenticated),
    ):
        client.search("x")
    assert len(asked) == 2


def test_files_are_read_where_pods_have_them(service: Service, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(service.token("filer") + "\n")
    (tmp_path / "ca.crt").write_bytes(service.cluster.authority.pem)
    with MemoryClient.connect(
        service.endpoint, ca=str(tmp_path / "ca.crt"), token=tmp_path / "token"
    ) as client:
        assert client.put("from a pod").created


def test_a_missing_file_is_named(service: Service, tmp_path: Path) -> None:
    with (
        MemoryClient.connect(service.endpoint, ca=tmp_path / "ca.crt", token=service.token) as client,
        pytest.raises(Unauthenticated, match=r"ca\.crt"),
    ):
        client.search("x")


@pytest.mark.parametrize("endpoint", ["http://x:1", "x:7443", "grpcs://", "grpcs://x/y"])
def test_a_wrong_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(InvalidArgument, match="grpcs://host:port"):
        MemoryClient.connect(endpoint)


def test_waits_grow_to_a_limit_and_obey_the_service() -> None:
    attempts = Attempts(Retry(timeout=1000, first_delay=0.1, longest_delay=1), "x")
    waits = [attempts.after(Unavailable("", retry_after=0)) for _ in range(8)]
    bounds = [0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1]
    assert all(0.5 * bound <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))
    assert attempts.after(Unavailable("", retry_after=7)) == 7
