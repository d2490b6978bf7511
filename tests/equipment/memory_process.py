"""A whole memory service in the test's process: real gRPC, TLS, tokens and Redis."""

import datetime as dt
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from innervate_api.memory.v1 import memory_pb2_grpc
from innervate_memory.config import MemoryConfig
from innervate_memory.service import MemoryService
from innervate_service.auth import AUDIENCE
from innervate_service.serve import Server
from innervate_service.tls import Certificate, CertificateStore

ISSUER = "https://kubernetes.default.svc.cluster.local"
_PEM = serialization.Encoding.PEM


class Authority:
    """A certificate authority for localhost."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self._certificate = self._builder(name, name, self._key).add_extension(basic, critical=True)
        self._signed = self._certificate.sign(self._key, hashes.SHA256())
        self.pem = self._signed.public_bytes(_PEM)

    def issue(self, name: str = "localhost") -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = self._builder(x509.Name([]), self._signed.subject, key)
        leaf = builder.add_extension(names, critical=True).sign(self._key, hashes.SHA256())
        encoded = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Certificate(chain=leaf.public_bytes(_PEM), key=encoded, authorities=self.pem)

    def issue_files(self, directory: Path) -> Path:
        directory.mkdir(exist_ok=True)
        certificate = self.issue()
        (directory / "tls.crt").write_bytes(certificate.chain)
        (directory / "tls.key").write_bytes(certificate.key)
        (directory / "ca.crt").write_bytes(certificate.authorities)
        return directory

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
        )


@dataclass
class Cluster:
    """What a cluster gives to a service: an authority, and tokens of service accounts."""

    directory: Path
    authority: Authority = field(default_factory=Authority)
    _key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        entry = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        keys = {"keys": [{**entry, "kid": "one", "use": "sig", "alg": "ES256"}]}
        self.trust.mkdir(parents=True)
        (self.trust / "jwks.json").write_text(json.dumps(keys))
        (self.trust / "issuer").write_text(ISSUER)
        (self.trust / "ca.crt").write_bytes(self.authority.pem)
        self.identity = self.authority.issue_files(self.directory / "identity")

    @property
    def trust(self) -> Path:
        return self.directory / "trust"

    def metadata(
        self, account: str = "agent", namespace: str = "shop", *, seconds: int = 600
    ) -> Sequence[tuple[str, str]]:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "one"})
        return (("authorization", f"Bearer {token}"),)


@dataclass
class RunningMemory:
    """A started service and what callers need."""

    service: MemoryService
    server: Server
    cluster: Cluster

    @asynccontextmanager
    async def stub(self) -> AsyncIterator["memory_pb2_grpc.MemoryServiceAsyncStub"]:
        credentials = grpc.ssl_channel_credentials(root_certificates=self.cluster.authority.pem)
        async with grpc.aio.secure_channel(f"localhost:{self.server.ports.grpc}", credentials) as channel:
            yield memory_pb2_grpc.MemoryServiceStub(channel)


def memory_config(
    cluster: Cluster, *, port: int, password_file: Path, tls: bool, **changes: Any
) -> MemoryConfig:
    """Give the configuration as the operator would write it."""
    document = {
        "service": {
            "listen": "localhost:0",
            "healthListen": "localhost:0",
            "metricsListen": None,
            "drain": {"delaySeconds": 0, "graceSeconds": 5},
            "paths": {
                "trustDirectory": str(cluster.trust),
                "identityDirectory": str(cluster.identity),
            },
        },
        "store": {"namespace": "shop", "name": "memory"},
        "operator": {"namespace": "innervate-system", "name": "innervate-operator"},
        "redis": {"host": "localhost", "port": port, "tls": tls, "passwordFile": str(password_file)},
        "durability": "Always",
        "maxRecordsPerSpace": 1000,
        "sweepSeconds": 0.1,
    } | changes
    return MemoryConfig.model_validate_json(json.dumps(document))


@asynccontextmanager
async def running_memory(config: MemoryConfig, cluster: Cluster) -> AsyncIterator[RunningMemory]:
    """Start a service as `__main__` does, with a certificate already there."""
    certificates = CertificateStore()
    certificates.replace(cluster.authority.issue())
    service = MemoryService(config)
    server = Server(
        config.service,
        [service.grpc_service],
        ready=service.ready,
        on_start=service.start,
        on_drain=service.stop,
        certificates=certificates,
    )
    await server.start()
    try:
        yield RunningMemory(service, server, cluster)
    finally:
        await server.drain()
