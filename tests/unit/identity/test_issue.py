"""What is signed for whom, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from innervate_operator.identity.authority import RotationPolicy, create
from innervate_operator.identity.issue import allowed_name, issue
from innervate_service.auth import Identity
from innervate_service.errors import InvalidArgument, PermissionDenied, ServiceError

AGENT = Identity("shop", "m")
SHA256 = hashes.SHA256()
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def sign(state, clock, policy):
    def sign(request, identity=AGENT):
        return issue(
            state,
            request,
            identity,
            now=clock.now,
            policy=policy,
            trust_domain="innervate.local",
            cluster_domain="cluster.local",
        )

    return sign


def request(*names, key=None, subject="", extensions=(), algorithm=SHA256):
    key = key or ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    general = [name if isinstance(name, x509.GeneralName) else x509.DNSName(name) for name in names]
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def test_the_certificate_holds_the_accounts_spiffe_id_and_the_names(sign, state, clock, policy):
    names = ("m.shop", "m.shop.svc", "m.shop.svc.cluster.local", "localhost")
    key = ec.generate_private_key(ec.SECP256R1())
    issued = sign(request(*names, key=key))
    leaf = x509.load_pem_x509_certificate(issued.chain.encode())
    leaf.verify_directly_issued_by(state.authorities[0].certificate)
    assert leaf.public_key() == key.public_key()
    alternative = extension(leaf, x509.SubjectAlternativeName)
    assert alternative.critical
    assert alternative.value.get_values_for_type(x509.DNSName) == list(names)
    uris = alternative.value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://innervate.local/ns/shop/sa/m"]
    assert leaf.not_valid_after_utc == issued.not_after == clock.now + policy.leaf
    assert leaf.not_valid_before_utc < clock.now
    assert not extension(leaf, x509.BasicConstraints).value.ca
    usage = extension(leaf, x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert list(extension(leaf, x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]


def test_everything_else_in_the_request_is_ignored(sign):
    greedy = request(
        "m.shop",
        x509.UniformResourceIdentifier("spiffe://innervate.local/ns/innervate-system/sa/innervate-operator"),
        x509.RFC822Name("root@example.com"),
        subject="system:masters",
        extensions=[x509.BasicConstraints(ca=True, path_length=None)],
    )
    leaf = x509.load_pem_x509_certificate(sign(greedy).chain.encode())
    assert not extension(leaf, x509.BasicConstraints).value.ca
    assert list(leaf.subject) == []
    values = [name.value for name in extension(leaf, x509.SubjectAlternativeName).value]
    assert values == ["spiffe://innervate.local/ns/shop/sa/m", "m.shop"]


@pytest.mark.parametrize(
    "name",
    [
        "m.other",
        "n.shop.svc",
        "m.other.svc",
        "m.shop.svc.other.domain",
        "m.x.shop.svc",
        "*.shop.svc",
        "shop.svc",
        "shop",
        "kubernetes.default.svc",
        "innervate-identity.innervate-system.svc",
        ".shop.svc",
        "m.shop.svc.",
        "M.shop.svc",
        "m..shop",
        "localhost.shop.example",
        "-m.shop",
        "m_.shop",
        "a" * 64 + ".shop",
        "m.shop\n",
    ],
)
def test_a_name_of_somebody_else_is_refused_and_named(sign, name):
    with pytest.raises(PermissionDenied, match="shop/m") as refused:
        sign(request("m.shop.svc", name))
    assert name in str(refused.value) or repr(name) in str(refused.value)


@given(
    st.text(alphabet="abc.*-", max_size=20),
    st.sampled_from(["a", "ab", "*"]),
    st.sampled_from(["a", "b", "abc"]),
)
def test_an_allowed_name_is_the_service_in_its_namespace(name, service, namespace):
    allowed = allowed_name(name, service=service, namespace=namespace, cluster_domain="cluster.local")
    assert allowed == (name == f"{service}.{namespace}" and service != "*")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ],
    ids=["p384", "p521", "rsa2048"],
)
def test_strong_keys_are_signed(sign, key):
    leaf = x509.load_pem_x509_certificate(sign(request("m.shop", key=key)).chain.encode())
    assert leaf.public_key() == key.public_key()
    assert extension(leaf, x509.KeyUsage).value.key_encipherment == isinstance(key, rsa.RSAPrivateKey)


def test_an_ed25519_key_is_signed(sign):
    key = ed25519.Ed25519PrivateKey.generate()
    assert sign(request("m.shop", key=key, algorithm=None)).chain


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=1024),  # noqa: S505  it is to be refused
        ec.generate_private_key(ec.SECP192R1()),
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(2048),
    ],
    ids=["rsa1024", "p192", "p224", "k256", "dsa"],
)
def test_weak_or_unusual_keys_are_refused(sign, key):
    with pytest.raises(InvalidArgument, match=r"public_key.*must be EC P-256"):
        sign(request("m.shop", key=key))


def test_a_request_with_another_keys_signature_is_refused(sign):
    der = bytearray(request("m.shop"))
    der[-1] ^= 1
    with pytest.raises(InvalidArgument):
        sign(bytes(der))


@pytest.mark.parametrize("content", [b"", b"x", b"\x30\x82", b"\x00" * 20_000])
def test_what_is_no_request_is_refused(sign, content):
    with pytest.raises(InvalidArgument, match="certificate_signing_request"):
        sign(content)


GOOD = request("m.shop")


@given(position=st.integers(min_value=0, max_value=10_000), value=st.integers(min_value=0, max_value=255))
def test_a_damaged_request_is_refused_or_was_not_damaged(position, value):
    der = bytearray(GOOD)
    der[position % len(der)] = value
    if bytes(der) == GOOD:
        return
    with pytest.raises(ServiceError):
        issue(
            create(START, RotationPolicy()),
            bytes(der),
            AGENT,
            now=START,
            policy=RotationPolicy(),
            trust_domain="innervate.local",
            cluster_domain="cluster.local",
        )


def test_too_many_names_are_refused(sign):
    with pytest.raises(InvalidArgument, match="at most 32"):
        sign(request(*(f"m{number}.shop" for number in range(33))))


def test_no_name_at_all_is_a_client(sign):
    leaf = x509.load_pem_x509_certificate(sign(request()).chain.encode())
    assert [name.value for name in extension(leaf, x509.SubjectAlternativeName).value] == [
        "spiffe://innervate.local/ns/shop/sa/m"
    ]
