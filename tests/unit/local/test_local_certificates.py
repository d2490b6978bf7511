"""A cluster's certificates are what their readers expect."""

from __future__ import annotations

import base64
import ipaddress
import stat
from typing import TYPE_CHECKING

import pytest
import yaml
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from innervate_local import certificates
from innervate_local.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("test")


def root_of(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.root.certificate)


def test_a_server_certificate_verifies_for_its_addresses_only(authority: Authority) -> None:
    issued = authority.issue("server", addresses=["127.0.0.1", "server.local"])
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    store = x509.verification.Store([root_of(authority)])
    verifier = x509.verification.PolicyBuilder().store(store)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    assert verifier.build_server_verifier(address).verify(leaf, [])
    assert verifier.build_server_verifier(x509.DNSName("server.local")).verify(leaf, [])
    with pytest.raises(x509.verification.VerificationError):
        verifier.build_server_verifier(x509.DNSName("other.local")).verify(leaf, [])


def test_a_client_is_a_user_with_groups_and_serves_nothing(authority: Authority) -> None:
    issued = authority.issue("alice", groups=["admins", "people"])
    leaf = x509.load_pem_x509_certificate(issued.certificate)
    subject = {attribute.oid: attribute.value for attribute in leaf.subject}
    assert subject[NameOID.COMMON_NAME] == "alice"
    groups = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [group.value for group in groups] == ["admins", "people"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_another_authority_did_not_issue_it(authority: Authority) -> None:
    leaf = x509.load_pem_x509_certificate(authority.issue("alice").certificate)
    leaf.verify_directly_issued_by(root_of(authority))
    # Same name, other key.
    with pytest.raises(InvalidSignature):
        leaf.verify_directly_issued_by(root_of(Authority("test")))


def test_a_kubeconfig_needs_no_other_file(authority: Authority) -> None:
    identity = authority.issue("alice")
    text = certificates.kubeconfig(
        cluster="demo", url="https://x:1", root=b"ROOT", user="alice", identity=identity
    )
    config = yaml.safe_load(text)
    assert config["current-context"] == "demo"
    [cluster], [user] = config["clusters"], config["users"]
    assert cluster["cluster"]["server"] == "https://x:1"
    assert base64.b64decode(cluster["cluster"]["certificate-authority-data"]) == b"ROOT"
    assert base64.b64decode(user["user"]["client-key-data"]) == identity.key


def test_keys_are_for_their_owner_only(tmp_path: Path, authority: Authority) -> None:
    _, key = authority.issue("alice").write(tmp_path / "pki", "alice")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
