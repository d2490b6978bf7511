"""The authority over real sockets: a workload asks, gets, serves and is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from innervate_api.identity.v1 import identity_pb2, identity_pb2_grpc
from innervate_operator.identity.authority import RotationPolicy, create, rotate
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings, run_identity
from innervate_service.auth import Identity
from innervate_service.config import IdentityConfig, PathsConfig, ServiceConfig
from innervate_service.errors import Unauthenticated, Unavailable
from innervate_service.identity import directory
from innervate_service.identity.renewal import CertificateRenewal
from innervate_service.identity.request import request_certificate, signing_request
from innervate_service.serve import Server
from innervate_service.tls import CertificateStore

SHORT = RotationPolicy(
    leaf=timedelta(seconds=12),
    publish=timedelta(seconds=12),
    authority=timedelta(days=1),
    replace_before=timedelta(hours=1),
)


async def review(token):
    """Stands where the operator asks the API server: 'token:<namespace>:<account>' is a good one."""
    match token.split(":"):
        case ["token", namespace, account]:
            return Identity(namespace, account)
        case ["broken"]:
            raise Unavailable("the API server does not answer")
    raise Unauthenticated("the API server does not know the token")


@dataclass
class Served:
    """A running authority, and a pod's mounts."""

    authority: IdentityAuthority
    port: int
    paths: PathsConfig

    @property
    def endpoint(self):
        return f"localhost:{self.port}"

    def config(self, *names):
        return IdentityConfig(endpoint=self.endpoint, dns_names=names or ("m.shop.svc", "localhost"))

    def ask(self, *names, **changes):
        arguments = {
            "endpoint": self.endpoint,
            "trust_domain": "innervate.local",
            "dns_names": names or ("m.shop.svc",),
            "token_file": self.paths.token_file,
            "trust_directory": self.paths.trust_directory,
        }
        return request_certificate(**arguments | changes)

    def trust(self, bundle):
        (self.paths.trust_directory / "ca.crt").write_text(bundle)


@contextlib.asynccontextmanager
async def serving(tmp_path, policy, review=review):
    settings = IdentitySettings(listen="localhost:0", policy=policy)
    authority = IdentityAuthority(create(datetime.now(UTC), policy), settings)
    port = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run_identity(authority, review, listening=port.set_result))
    paths = PathsConfig(
        trust_directory=tmp_path / "trust",
        token_file=tmp_path / "token",
        identity_directory=tmp_path / "identity",
    )
    paths.trust_directory.mkdir()
    paths.token_file.write_text("token:shop:m\n")
    served = Served(authority, await port, paths)
    served.trust(authority.state.bundle)
    try:
        yield served
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path, RotationPolicy()) as served:
        yield served


async def test_a_workload_gets_a_certificate_for_its_own_key(served):
    certificate = await served.ask("m.shop.svc", "localhost")
    certificate.leaf.verify_directly_issued_by(served.authority.state.authorities[0].certificate)
    assert certificate.authorities.decode() == served.authority.state.bundle
    uris = certificate.leaf.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://innervate.local/ns/shop/sa/m"]


async def test_what_it_gets_a_stock_tls_client_trusts(served, tmp_path):
    """Python's ssl is OpenSSL: another implementation than gRPC's BoringSSL. Both ends show theirs."""
    certificate = await served.ask("m.shop.svc", "localhost")
    directory.write(tmp_path / "files", certificate)
    files = [str(tmp_path / "files" / name) for name in ("tls.crt", "tls.key")]
    server_context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cadata=certificate.authorities.decode()
    )
    server_context.load_cert_chain(*files)
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = ssl.create_default_context(cadata=certificate.authorities.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    client_context.load_cert_chain(*files)

    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    server = await asyncio.start_server(echo, "localhost", 0, ssl=server_context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port, ssl=client_context)
        writer.write(b"hello\n")
        assert await reader.readline() == b"hello\n"
        writer.close()


@pytest.mark.parametrize(
    ("token", "names", "code", "text"),
    [
        ("nonsense", ("m.shop.svc",), grpc.StatusCode.UNAUTHENTICATED, "does not know the token"),
        ("broken", ("m.shop.svc",), grpc.StatusCode.UNAVAILABLE, "does not answer"),
        ("token:shop:m", ("m.other.svc",), grpc.StatusCode.PERMISSION_DENIED, "m.other.svc"),
        ("token:other:m", ("m.shop.svc",), grpc.StatusCode.PERMISSION_DENIED, "other/m"),
    ],
)
async def test_a_refusal_says_why(served, token, names, code, text):
    served.paths.token_file.write_text(token)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await served.ask(*names)
    assert refused.value.code() is code
    assert text in refused.value.details()


async def test_an_authority_that_is_not_trusted_gets_no_token(tmp_path):
    seen = []

    async def spy(token):
        seen.append(token)
        return await review(token)

    async with serving(tmp_path, RotationPolicy(), spy) as served:
        served.trust(create(datetime.now(UTC), RotationPolicy()).bundle)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await served.ask()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not seen
        served.trust(served.authority.state.bundle)
        await served.ask()
        assert seen == ["token:shop:m"]


async def test_another_trust_domain_is_noticed(served):
    with pytest.raises(ValueError, match=r"trust domain example\.org"):
        await served.ask(trust_domain="example.org")


async def test_an_account_that_asks_too_often_is_told_when_to_come_again(served):
    credentials = grpc.ssl_channel_credentials(served.authority.state.bundle.encode())
    message = identity_pb2.IssueRequest(certificate_signing_request=signing_request(["localhost"]).der)
    metadata = (("authorization", "Bearer token:shop:m"),)
    async with grpc.aio.secure_channel(served.endpoint, credentials) as channel:
        stub = identity_pb2_grpc.IdentityServiceStub(channel)
        answers = await asyncio.gather(
            *(stub.Issue(message, metadata=metadata) for _ in range(150)), return_exceptions=True
        )
        errors = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        # A burst of 100, and one more for each second that this takes.
        assert 1 <= len(errors) <= 50
        assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        detail = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(errors[0]).details[0].Unpack(detail)
        other = (("authorization", "Bearer token:shop:other"),)
        assert (await stub.Issue(message, metadata=other)).certificate_chain


async def test_a_request_of_absurd_size_is_refused(served):
    credentials = grpc.ssl_channel_credentials(served.authority.state.bundle.encode())
    message = identity_pb2.IssueRequest(certificate_signing_request=b"x" * 100_000)
    async with grpc.aio.secure_channel(served.endpoint, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity_pb2_grpc.IdentityServiceStub(channel).Issue(
                message, metadata=(("authorization", "Bearer token:shop:m"),)
            )
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_reviews_at_the_api_server_are_bounded(tmp_path):
    running, most = 0, 0
    go = asyncio.Event()

    async def slow(token):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1
        return await review(token)

    async with serving(tmp_path, RotationPolicy(), slow) as served:
        calls = [asyncio.ensure_future(served.ask()) for _ in range(40)]
        while running < 16:  # noqa: ASYNC110  the servers' own count is looked at
            await asyncio.sleep(0.01)
        go.set()
        await asyncio.gather(*calls)
    assert most == 16


async def test_after_a_rotation_old_and_new_certificates_are_trusted(served):
    """The whole overlap, with the authority's own certificate following."""
    old = await served.ask()
    (first,) = served.authority.state.authorities
    published = rotate(served.authority.state, datetime.now(UTC), RotationPolicy())
    served.authority.replace(published)
    served.trust(published.bundle)
    during = await served.ask()
    during.leaf.verify_directly_issued_by(first.certificate)
    assert during.authorities.decode() == published.bundle

    second = published.authorities[1]
    signing = type(published)(
        authorities=(
            first,
            type(second)(certificate=second.certificate, key=second.key, signs_from=first.signs_from),
        )
    )
    served.authority.replace(signing)
    new = await served.ask()
    new.leaf.verify_directly_issued_by(second.certificate)
    own = ssl.get_server_certificate(("localhost", served.port))
    # ssl.get_server_certificate blocks, so the server answered it from gRPC's own thread.
    x509.load_pem_x509_certificate(own.encode()).verify_directly_issued_by(second.certificate)
    for leaf in (old, during, new):
        bundle = x509.load_pem_x509_certificates(new.authorities)
        assert any(leaf.leaf.issuer == authority.subject for authority in bundle)


async def test_a_service_renews_in_time_and_serves_the_new_certificate(tmp_path):
    """Certificates of twelve seconds: renewed at two thirds, and nobody notices."""
    async with serving(tmp_path, SHORT) as served:
        (tmp_path / "trust" / "jwks.json").write_text("{}")
        config = ServiceConfig(
            listen="localhost:0",
            health_listen=None,
            metrics_listen=None,
            identity=served.config(),
            paths=served.paths,
            drain={"delay_seconds": 0, "grace_seconds": 1},
        )
        server = Server(config, [])
        await server.start()
        try:
            seen = set()
            context = ssl.create_default_context(cadata=served.authority.state.bundle)
            while len(seen) < 2:
                _, writer = await asyncio.open_connection("localhost", server.ports.grpc, ssl=context)
                seen.add(writer.get_extra_info("ssl_object").getpeercert()["serialNumber"])
                writer.close()
                assert server.problem() is None
                await asyncio.sleep(0.05)
        finally:
            await server.drain()
        files = directory.read(served.paths.identity_directory)
        assert files is not None
        assert f"{files.leaf.serial_number:X}" in {serial.lstrip("0") for serial in seen}


async def test_renewal_goes_on_after_the_authority_was_away(served, caplog):
    served.paths.token_file.write_text("broken")
    certificates = CertificateStore()
    renewal = asyncio.create_task(CertificateRenewal(served.config(), served.paths, certificates).run())
    try:
        with caplog.at_level(logging.WARNING):
            while "no certificate from the identity authority" not in caplog.text:  # noqa: ASYNC110  a log
                await asyncio.sleep(0.01)
        assert certificates.problem() == "no certificate yet"
        served.paths.token_file.write_text("token:shop:m")
        certificate = await certificates.first()
        assert certificates.problem() is None
        assert directory.read(served.paths.identity_directory) == certificate
    finally:
        renewal.cancel()


async def test_a_restarted_container_uses_what_it_finds_without_the_authority(served):
    config = served.config()
    directory.write(served.paths.identity_directory, await served.ask(*config.dns_names))
    served.paths.token_file.unlink()
    certificates = CertificateStore()
    renewal = asyncio.create_task(CertificateRenewal(config, served.paths, certificates).run())
    try:
        certificate = await certificates.first()
        assert directory.read(served.paths.identity_directory) == certificate
    finally:
        renewal.cancel()


@pytest.mark.parametrize("damage", ["names", "key", "garbage"])
async def test_what_does_not_fit_is_replaced(served, damage):
    config = served.config("m.shop.svc", "localhost")
    found = await served.ask("m.shop.svc", *(() if damage == "names" else ("localhost",)))
    target = served.paths.identity_directory
    directory.write(target, found)
    if damage == "key":
        (target / "tls.key").write_bytes((await served.ask()).key)
    if damage == "garbage":
        (target / "tls.crt").write_text("garbage")
    certificates = CertificateStore()
    renewal = asyncio.create_task(CertificateRenewal(config, served.paths, certificates).run())
    try:
        assert (await certificates.first()).leaf != found.leaf
    finally:
        renewal.cancel()
