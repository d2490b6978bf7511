"""A whole program: serve() under uvloop in a process of its own, ended by a signal."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request

import grpc
import pytest
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc

PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_service.config import ConfigModel, ServiceConfig, config_path, load
from innervate_service.logs import get_logger
from innervate_service.serve import Service, run, serve
from innervate_service.tls import Certificate, CertificateStore

class Config(ConfigModel):
    service: ServiceConfig

class Slow(memory_pb2_grpc.MemoryServiceServicer):
    async def Stats(self, request, context):
        get_logger("program").info("call arrived", loop=type(asyncio.get_running_loop()).__module__)
        while not Path(sys.argv[2]).exists():
            await asyncio.sleep(0.01)
        return memory_pb2.StatsResponse(records=7)

async def main():
    certificates = CertificateStore()
    directory = Path(sys.argv[1])
    certificates.replace(
        Certificate(chain=(directory / "tls.crt").read_bytes(), key=(directory / "tls.key").read_bytes())
    )
    async def closed():
        get_logger("program").info("closed")
    await serve(
        load(config_path(), Config).service,
        [Service("innervate_api.memory.v1.MemoryService",
                 lambda s: memory_pb2_grpc.add_MemoryServiceServicer_to_server(Slow(), s))],
        on_drain=closed,
        certificates=certificates,
    )

run(main)
"""


class Program:
    def __init__(self, process) -> None:
        self.process = process
        self.lines = []

    async def line(self, message):
        """The next log line with this message."""
        while True:
            raw = await self.process.stderr.readline()
            assert raw, self.lines
            line = json.loads(raw)
            self.lines.append(line)
            if line["message"] == message:
                return line


async def launch(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(tmp_path),
        str(tmp_path / "go"),
        env={**os.environ, "INNERVATE_CONFIG": str(tmp_path / "config.json")},
        stderr=asyncio.subprocess.PIPE,
    )
    return Program(process)


async def test_sigterm_drains_and_ends_well(tmp_path, issuer, authority, unused_tcp_port_factory):
    certificate = authority.issue()
    (tmp_path / "tls.crt").write_bytes(certificate.chain)
    (tmp_path / "tls.key").write_bytes(certificate.key)
    health = unused_tcp_port_factory()
    program = await launch(
        tmp_path,
        {
            "service": {
                "listen": "localhost:0",
                "healthListen": f"localhost:{health}",
                "metricsListen": None,
                "drain": {"delaySeconds": 0, "graceSeconds": 60},
                "paths": {"trustDirectory": str(issuer.directory)},
            }
        },
    )
    port = (await program.line("serving"))["port"]
    with await asyncio.to_thread(urllib.request.urlopen, f"http://localhost:{health}/readyz") as answer:
        assert answer.status == 200
    credentials = grpc.ssl_channel_credentials(root_certificates=authority.pem)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        metadata = (("authorization", f"Bearer {issuer.token()}"),)
        call = memory_pb2_grpc.MemoryServiceStub(channel).Stats(memory_pb2.StatsRequest(), metadata=metadata)
        in_flight = asyncio.ensure_future(call.code())
        arrived = await program.line("call arrived")
        assert arrived["loop"].startswith("uvloop")
        assert len(arrived["trace_id"]) == 32
        program.process.send_signal(signal.SIGTERM)
        await program.line("draining")
        (tmp_path / "go").touch()
        assert await in_flight is grpc.StatusCode.OK
    await program.line("closed")
    assert await program.process.wait() == 0


async def test_sigterm_ends_a_program_that_waits_for_its_certificate(tmp_path, unused_tcp_port_factory):
    """With nobody at the authority's address."""
    source = PROGRAM.replace("        certificates=certificates,\n", "")
    assert source != PROGRAM
    port = unused_tcp_port_factory()
    (tmp_path / "tls.crt").write_bytes(b"")
    (tmp_path / "tls.key").write_bytes(b"")
    source = source.replace("    certificates.replace(", "    str(")
    config = {
        "service": {
            "listen": "localhost:0",
            "healthListen": None,
            "metricsListen": None,
            "identity": {"endpoint": f"localhost:{port}", "dnsNames": ["localhost"]},
            "paths": {
                "trustDirectory": str(tmp_path),
                "tokenFile": str(tmp_path / "token"),
                "identityDirectory": str(tmp_path / "identity"),
            },
        }
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        source,
        str(tmp_path),
        "unused",
        env={**os.environ, "INNERVATE_CONFIG": str(tmp_path / "config.json")},
        stderr=asyncio.subprocess.PIPE,
    )
    program = Program(process)
    complaint = await program.line("no certificate from the identity authority")
    assert "token" in complaint["error"]
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [({}, "service is missing; add it"), ({"service": {"listen": 1}}, "service.listen = 1 is refused")],
)
async def test_a_wrong_configuration_ends_the_program_with_a_plain_line(tmp_path, authority, config, message):
    certificate = authority.issue()
    (tmp_path / "tls.crt").write_bytes(certificate.chain)
    (tmp_path / "tls.key").write_bytes(certificate.key)
    program = await launch(tmp_path, config)
    _, text = await program.process.communicate()
    assert program.process.returncode == 2
    assert message in text.decode()
    assert "Traceback" not in text.decode()
