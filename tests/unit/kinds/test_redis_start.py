"""The planned Redis starts as planned: the real server, by the container's own command, files and probe."""

from __future__ import annotations

import asyncio
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from eventually import eventually
from innervate_kinds.api.kind import CONFIG_MAP, STATEFUL_SET
from innervate_kinds.memory_store.model import MemoryStore
from innervate_kinds.memory_store.plan import plan
from innervate_kinds.memory_store.state import Observed
from innervate_local.certificates import Authority
from kinds_cluster import CONFIG
from redis_process import free_port, redis_binary

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = """it's a "strange" \\ password & $HOME"""


class PlannedRedis:
    """The Redis container of a plan, with the pod's paths below a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        manifest = {"name": "support", "namespace": "shop", "uid": "u", "generation": 1}
        store = MemoryStore.model_validate(
            {"apiVersion": "innervate.dev/v1alpha1", "kind": "MemoryStore", "metadata": manifest}
        )
        planned = plan(store, Observed(), CONFIG, datetime(2026, 1, 1, tzinfo=UTC))
        workload = next(child.manifest for child in planned.apply if child.kind == STATEFUL_SET)
        self.container: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
        self.folder = folder
        self.port = free_port()
        files = next(
            child.manifest["data"]
            for child in planned.apply
            if child.kind == CONFIG_MAP and "redis.conf" in child.manifest["data"]
        )
        for mount in self.container["volumeMounts"]:
            self.path(mount["mountPath"]).mkdir(parents=True)
        for name, text in files.items():
            self.path("/etc/innervate/config").joinpath(name).write_text(self.here(text))
        identity = self.path("/var/run/innervate/identity")
        authority = Authority("test")
        authority.issue("redis", addresses=["localhost"]).write(identity, "tls")
        identity.joinpath("ca.crt").write_bytes(authority.root.certificate)
        self.environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": PASSWORD}
        self.process = subprocess.Popen(
            [self.here(word) for word in self.container["command"]],
            env=self.environment,
            stdout=folder.joinpath("log").open("wb"),
            stderr=subprocess.STDOUT,
        )

    def path(self, absolute: str) -> Path:
        return self.folder / absolute.removeprefix("/")

    def here(self, text: str) -> str:
        for mount in self.container["volumeMounts"]:
            text = text.replace(mount["mountPath"], str(self.path(mount["mountPath"])))
        return text.replace("6379", str(self.port))

    def probe(self, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [self.here(word) for word in self.container["readinessProbe"]["exec"]["command"]]
        return subprocess.run(
            command, env=self.environment | environment, capture_output=True, text=True, check=False
        )

    def ask(self, *words: str) -> str:
        """The answer to a command, over the probe's own connection."""
        shell, option, line = self.container["readinessProbe"]["exec"]["command"]
        line = self.here(line).replace(" exists ready", " " + " ".join(words))
        return subprocess.run(
            [shell, option, line], env=self.environment, capture_output=True, text=True, check=True
        ).stdout


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[PlannedRedis]:
    redis_binary()
    running = PlannedRedis(tmp_path)
    try:
        asyncio.run(eventually(lambda: running.probe().returncode == 0))
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=20)


def test_is_configured_as_declared(redis: PlannedRedis) -> None:
    answer = redis.ask("config", "get", "append*", "maxmemory*", "save", "tls-auth-clients", "port")
    words = answer.split("\n")
    found = dict(zip(words[::2], words[1::2], strict=False))
    assert found["appendonly"] == "yes"
    assert found["appendfsync"] == "always"
    assert found["maxmemory"] == str(256 * 2**20)
    assert found["maxmemory-policy"] == "noeviction"
    assert found["tls-auth-clients"] == "yes"
    assert found["port"] == "0"


def test_the_probe_fails_without_the_password(redis: PlannedRedis) -> None:
    assert redis.probe(REDISCLI_AUTH="").returncode != 0


def test_the_password_is_in_no_process_list(redis: PlannedRedis) -> None:
    shown = subprocess.run(
        ["ps", "-o", "args=", "-p", str(redis.process.pid)], capture_output=True, text=True, check=True
    ).stdout
    assert "redis-server" in shown
    assert "strange" not in shown
    environment = Path(f"/proc/{redis.process.pid}/environ").read_bytes()
    assert b"strange" not in environment


def test_a_client_without_a_certificate_is_refused(redis: PlannedRedis) -> None:
    ca = redis.path("/var/run/innervate/identity") / "ca.crt"
    command = ["redis-cli", "-e", "-p", str(redis.port), "--tls", "--cacert", str(ca), "ping"]
    result = subprocess.run(command, env=redis.environment, capture_output=True, text=True, check=False)
    assert "PONG" not in result.stdout
