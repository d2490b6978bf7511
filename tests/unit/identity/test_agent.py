"""The sidecar as a process of its own, beside a real Redis with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from innervate_operator.identity.authority import RotationPolicy, create
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings, run_identity
from innervate_service.auth import Identity
from innervate_service.identity import directory
from innervate_service.identity.redis_reload import RedisReload
from innervate_service.tls import CertificateStore

pytestmark = pytest.mark.timeout(90)

PASSWORD = "made up for the test"
POLICY = RotationPolicy(
    leaf=timedelta(seconds=15),
    publish=timedelta(seconds=15),
    authority=timedelta(days=1),
    replace_before=timedelta(hours=1),
)


async def review(_token):
    return Identity("shop", "redis")


@pytest.fixture
async def authority(tmp_path):
    """A running authority; its port is `authority.port`."""
    served = IdentityAuthority(
        create(datetime.now(UTC), POLICY), IdentitySettings(listen="localhost:0", policy=POLICY)
    )
    port = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_identity(served, review, listening=port.set_result))
    served.port = await port
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "ca.crt").write_text(served.state.bundle)
    (tmp_path / "token").write_text("token")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    yield served
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Agent:
    """The process and its log."""

    def __init__(self, process) -> None:
        self.process = process

    async def line(self, message):
        while True:
            raw = await self.process.stderr.readline()
            assert raw, "the agent ended"
            line = json.loads(raw)
            if line["message"] == message:
                return line


@contextlib.asynccontextmanager
async def agent(tmp_path, authority, health, *more):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "innervate_service.identity.agent",
        f"--endpoint=localhost:{authority.port}",
        "--dns-name=redis.shop.svc",
        "--dns-name=localhost",
        f"--directory={tmp_path / 'identity'}",
        f"--token-file={tmp_path / 'token'}",
        f"--trust-directory={tmp_path / 'trust'}",
        f"--health-listen=localhost:{health}",
        *more,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Agent(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


@contextlib.asynccontextmanager
async def redis(tmp_path, port):
    """Redis as the operator's pods run it: TLS only, client certificates asked for, a password."""
    identity = tmp_path / "identity"
    process = await asyncio.create_subprocess_exec(
        "redis-server",
        *(
            "--port",
            "0",
            "--tls-port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(tmp_path),
        ),
        *("--tls-cert-file", str(identity / "tls.crt"), "--tls-key-file", str(identity / "tls.key")),
        *("--tls-ca-cert-file", str(identity / "ca.crt"), "--tls-auth-clients", "yes"),
        *("--requirepass", PASSWORD),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


async def shown(port, identity):
    """The serial number of the certificate that Redis shows."""
    context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
    context.load_cert_chain(str(identity / "tls.crt"), str(identity / "tls.key"))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    serial = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
    writer.close()
    return int(serial, 16)


async def test_redis_starts_after_the_first_certificate_and_follows_each_later_one(
    tmp_path, authority, unused_tcp_port_factory
):
    port, health = unused_tcp_port_factory(), unused_tcp_port_factory()
    identity = tmp_path / "identity"
    reload = (f"--reload-redis=localhost:{port}", f"--password-file={tmp_path / 'password'}")
    async with agent(tmp_path, authority, health, *reload) as running:
        await running.line("certificate issued")
        assert await asyncio.to_thread(get, health, "/readyz") == 200
        assert await asyncio.to_thread(get, health, "/livez") == 200
        first = directory.read(identity)
        assert first is not None
        async with redis(tmp_path, port):
            # Redis read the first by itself: the agent finds nothing to do.
            assert (await running.line("redis serves with the certificate"))["reloaded"] is False
            assert await shown(port, identity) == first.leaf.serial_number
            assert (await running.line("redis serves with the certificate"))["reloaded"] is True
            second = directory.read(identity)
            assert second is not None
            assert second != first
            assert await shown(port, identity) == second.leaf.serial_number
        running.process.terminate()
        assert await running.process.wait() == 0


async def test_the_agent_is_not_ready_before_the_first_certificate(
    tmp_path, authority, unused_tcp_port_factory
):
    health = unused_tcp_port_factory()
    (tmp_path / "token").unlink()
    async with agent(tmp_path, authority, health) as running:
        await running.line("no certificate from the identity authority")
        assert await asyncio.to_thread(get, health, "/readyz") == 503
        assert await asyncio.to_thread(get, health, "/livez") == 200
        (tmp_path / "token").write_text("token")
        await running.line("certificate issued")
        assert await asyncio.to_thread(get, health, "/readyz") == 200


async def until(condition):
    """Look again and again: what is waited for is in another process."""
    while not await condition():  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0.02)


async def test_a_wrong_password_is_said_and_tried_again(tmp_path, unused_tcp_port_factory, caplog):
    port, identity = unused_tcp_port_factory(), tmp_path / "identity"
    policy = RotationPolicy()
    authority = IdentityAuthority(create(datetime.now(UTC), policy), IdentitySettings())
    old, new = authority.issue_own(), authority.issue_own()
    directory.write(identity, old)
    certificates = CertificateStore()
    reload = RedisReload(
        address=f"localhost:{port}",
        password_file=tmp_path / "password",
        directory=identity,
        certificates=certificates,
    )

    async def serves(certificate):
        try:
            return await shown(port, identity) == certificate.leaf.serial_number
        except ConnectionRefusedError:
            return False

    async def said_wrong():
        fields = [getattr(record, "innervate_fields", {}) for record in caplog.records]
        return any("WRONGPASS" in str(entry.get("error")) for entry in fields)

    async with redis(tmp_path, port):
        await until(lambda: serves(old))
        (tmp_path / "password").write_text("wrong")
        directory.write(identity, new)
        certificates.replace(new)
        task = asyncio.create_task(reload.run())
        try:
            await until(said_wrong)
            assert await serves(old)
            (tmp_path / "password").write_text(PASSWORD)
            await until(lambda: serves(new))
        finally:
            task.cancel()


async def test_a_wrong_flag_is_named(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "innervate_service.identity.agent"),
        *("--endpoint", "nowhere", "--dns-name", "x", "--health-listen", "localhost:0"),
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
    )
    _, text = await process.communicate()
    assert process.returncode == 2
    assert "--endpoint = 'nowhere' is refused" in text.decode()
    assert "Traceback" not in text.decode()
