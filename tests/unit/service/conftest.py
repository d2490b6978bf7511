"""A cluster's token issuer, a certificate authority, and a running server, all made on the spot."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path  # noqa: TC003  a dataclass field
from typing import Any

import grpc
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings
from innervate_api.memory.v1 import memory_pb2_grpc
from innervate_service.auth import AUDIENCE
from innervate_service.config import DrainConfig, PathsConfig, ServiceConfig
from innervate_service.serve import Server, Service
from innervate_service.tls import Certificate, CertificateStore

# A busy machine is no failure.
settings.register_profile("service", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("service")

MEMORY = "innervate_api.memory.v1.MemoryService"
SERVER_ARGUMENTS = ("ready", "on_start", "on_drain", "authenticate")
ISSUER = "https://kubernetes.default.svc.cluster.local"


@dataclass
class TokenIssuer:
    """Signs what an API server would sign."""

    directory: Path
    issuer: str = ISSUER
    keys: dict[str, Any] = field(default_factory=dict)

    def add_key(self, kid: str, *, curve: bool = True) -> None:
        self.keys[kid] = (
            ec.generate_private_key(ec.SECP256R1())
            if curve
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    def publish(self) -> None:
        entries = []
        for kid, key in self.keys.items():
            if isinstance(key, rsa.RSAPrivateKey):
                entry = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
                entry["alg"] = "RS256"
            else:
                entry = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
                entry["alg"] = "ES256"
            entries.append({**entry, "kid": kid, "use": "sig"})
        self.directory.mkdir(exist_ok=True)
        for name, text in (("jwks.json", json.dumps({"keys": entries})), ("issuer", self.issuer)):
            temporary = self.directory / f".{name}"
            temporary.write_text(text)
            temporary.rename(self.directory / name)

    def token(self, namespace: str = "shop", account: str = "agent", **changes: Any) -> str:
        kid = changes.pop("kid", next(iter(self.keys)))
        key = changes.pop("key", self.keys.get(kid))
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": [AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        claims |= changes
        claims = {name: value for name, value in claims.items() if value is not None}
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def issuer(tmp_path: Path) -> TokenIssuer:
    issuer = TokenIssuer(tmp_path / "trust")
    issuer.add_key("first")
    issuer.publish()
    return issuer


class LocalAuthority:
    """Signs server certificates for localhost."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, *, lifetime=timedelta(hours=1)) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        return Certificate(
            chain=leaf.public_bytes(serialization.Encoding.PEM),
            key=key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            authorities=self.pem,
        )


@pytest.fixture
def authority() -> LocalAuthority:
    return LocalAuthority()


@dataclass
class Running:
    """A started server and what a client needs to call it."""

    server: Server
    certificates: CertificateStore
    issuer: TokenIssuer
    authority: LocalAuthority

    @property
    def target(self) -> str:
        return f"localhost:{self.server.ports.grpc}"

    @asynccontextmanager
    async def channel(self, **options: Any) -> AsyncIterator[grpc.aio.Channel]:
        credentials = grpc.ssl_channel_credentials(root_certificates=self.authority.pem)
        # A pool of its own: a test that opens a second channel means a second connection.
        arguments = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(self.target, credentials, arguments, **options) as channel:
            yield channel

    def metadata(self, **changes: Any) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.issuer.token(**changes)}"),)


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start(issuer: TokenIssuer, authority: LocalAuthority) -> AsyncIterator[Start]:
    """Start a server of the memory service's interface with the handlers a test wants."""
    started: list[Server] = []

    async def begin(
        servicer: memory_pb2_grpc.MemoryServiceServicer,
        extra_handler: grpc.GenericRpcHandler | None = None,
        **changes: Any,
    ) -> Running:
        certificates = CertificateStore()
        certificates.replace(authority.issue())
        arguments = {
            name: changes.pop(name)
            for name in ("ready", "on_start", "on_drain", "authenticate")
            if name in changes
        }
        config = ServiceConfig(
            **{
                "listen": "localhost:0",
                "health_listen": "localhost:0",
                "metrics_listen": "localhost:0",
                "drain": DrainConfig(delay_seconds=0, grace_seconds=5),
                "paths": PathsConfig(trust_directory=issuer.directory),
            }
            | changes
        )

        def register(server: grpc.aio.Server) -> None:
            memory_pb2_grpc.add_MemoryServiceServicer_to_server(servicer, server)
            if extra_handler is not None:
                server.add_generic_rpc_handlers((extra_handler,))

        server = Server(
            config,
            [Service(MEMORY, register)],
            certificates=certificates,
            **arguments,
        )
        started.append(server)
        await server.start()
        return Running(server, certificates, issuer, authority)

    begin.servers = started
    yield begin
    for server in started:
        await server.drain()
