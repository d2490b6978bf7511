"""A real S3 server and a real container registry on loopback."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from innervate_local import binaries
from innervate_local.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START_SECONDS = 60
_PASSWORD = "open-sesame-1"
_HASHED = "$2b$04$rWI0PUO2BC2XPddDcxCkyeQXrqJY0RNY4lIH/keWAfGWVS.S0KsrS"
"""The password as bcrypt hashes it: the only form that the registry takes."""


@dataclass(frozen=True)
class Server:
    """A server, its files, and who may use it."""

    address: str
    root: Path
    name: str = "innervate"
    password: str = _PASSWORD


def _start(command: list[str], log: Path, port: int, **options: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        **options,  # type: ignore[call-overload]  # env and cwd
    )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Versity's S3 gateway over a directory, with the bucket `models`."""
    with _bucket(tmp_path_factory.mktemp("s3"), "http") as server:
        yield server


@pytest.fixture
def private_s3(tmp_path: Path) -> Iterator[Server]:
    """The same behind TLS, certified by an authority of its own: `authority.crt` beside its files."""
    authority = Authority("a company")
    (tmp_path / "authority.crt").write_bytes(authority.root.certificate)
    certificate, key = authority.issue("s3", addresses=["127.0.0.1"]).write(tmp_path, "s3")
    with _bucket(tmp_path, "https", "--cert", str(certificate), "--key", str(key)) as server:
        yield server


@contextmanager
def _bucket(root: Path, scheme: str, *options: str) -> Iterator[Server]:
    port = _free_port()
    (root / "data/models").mkdir(parents=True)
    server = Server(f"{scheme}://127.0.0.1:{port}", root / "data/models")
    process = _start(
        [
            str(binaries.path("versitygw")),
            *("--port", f"127.0.0.1:{port}", "--access", server.name, "--secret", server.password),
            *(*options, "--quiet", "posix", str(root / "data")),
        ],
        root / "log",
        port,
    )
    yield server
    _stop(process)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The distribution project's registry, with a login."""
    root = tmp_path_factory.mktemp("registry")
    (root / "htpasswd").write_text(f"{Server.name}:{_HASHED}\n")
    with _registry(root, f"htpasswd: {{realm: test, path: {root / 'htpasswd'}}}") as server:
        yield server


@pytest.fixture(scope="session")
def token_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same registry, which wants tokens that another server grants, as public registries do."""
    root, key = tmp_path_factory.mktemp("token-registry"), ec.generate_private_key(ec.SECP256R1())
    public = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": "k", "alg": "ES256"}
    (root / "jwks.json").write_text(json.dumps({"keys": [public]}))
    with _granting(key) as realm:
        auth = f"token: {{realm: '{realm}', service: test, issuer: test, jwks: {root / 'jwks.json'}}}"
        with _registry(root, auth) as server:
            yield server


@contextmanager
def _registry(root: Path, auth: str) -> Iterator[Server]:
    port = _free_port()
    (root / "config.yaml").write_text(
        f"""\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {root / "data"}}}
http: {{addr: 127.0.0.1:{port}, secret: test}}
auth:
  {auth}
"""
    )
    process = _start([str(binaries.path("registry")), "serve", str(root / "config.yaml")], root / "log", port)
    yield Server(f"127.0.0.1:{port}", root / "data")
    _stop(process)


@contextmanager
def _granting(key: ec.EllipticCurvePrivateKey) -> Iterator[str]:
    """Serve tokens: what is asked for, to whom knows the password."""
    known = base64.b64encode(f"{Server.name}:{_PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("authorization") != f"Basic {known}":
                self.send_error(401)
                return
            asked = parse_qs(urlsplit(self.path).query)
            access = []
            for scope in asked.get("scope", []):
                kind, name, actions = scope.split(":")
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
            now = int(time.time())
            claims = {"iss": "test", "sub": Server.name, "aud": asked["service"][0], "access": access}
            claims |= {"iat": now - 60, "nbf": now - 60, "exp": now + 600, "jti": str(now)}
            token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "k"})
            content = json.dumps({"token": token}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        thread.join()
