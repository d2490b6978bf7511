"""The directory that other programs read."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from innervate_operator.identity.authority import RotationPolicy, create
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings
from innervate_service.identity import directory
from innervate_service.tls import Certificate


@pytest.fixture
def make():
    authority = IdentityAuthority(create(datetime.now(UTC), RotationPolicy()), IdentitySettings())
    return authority.issue_own


def test_what_is_written_is_read_and_for_the_owner_only(tmp_path, make):
    target = tmp_path / "identity"
    certificate = make()
    directory.write(target, certificate)
    assert directory.read(target) == certificate
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    for name in ("tls.crt", "tls.key", "ca.crt"):
        assert stat.S_IMODE((target / name).stat().st_mode) == 0o600


def test_only_the_one_before_is_kept(tmp_path, make):
    for _ in range(5):
        directory.write(tmp_path, make())
    (tmp_path / "..halfway").mkdir()
    before = (tmp_path / "..current").readlink().name
    directory.write(tmp_path, make())
    entries = sorted(path.name for path in tmp_path.iterdir())
    assert entries[-3:] == ["ca.crt", "tls.crt", "tls.key"]
    assert len(entries) == 6
    assert {"..current", before, (tmp_path / "..current").readlink().name} <= set(entries)


def test_a_volume_root_of_somebody_else_is_used_as_it_is(tmp_path, make):
    """A pod's emptyDir is there already, with the mode that kubelet gave it."""
    tmp_path.chmod(0o777)
    directory.write(tmp_path, make())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o777
    assert directory.read(tmp_path) is not None


def test_a_reader_of_one_file_never_finds_it_missing_or_half(tmp_path, make):
    certificates = [make() for _ in range(3)]
    directory.write(tmp_path, certificates[0])
    chains = {certificate.chain for certificate in certificates}
    stop, odd = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                content = (tmp_path / "tls.crt").read_bytes()
            except OSError as error:
                content = str(error).encode()
            if content not in chains:
                odd.append(content)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        directory.write(tmp_path, certificates[number % 3])
    stop.set()
    reader.join()
    assert not odd


def test_nothing_is_read_where_nothing_is(tmp_path):
    assert directory.read(tmp_path) is None
    assert directory.read(tmp_path / "absent") is None


def test_a_key_does_not_show_in_a_representation(make):
    certificate = make()
    assert b"PRIVATE" in certificate.key
    assert "PRIVATE" not in repr(certificate)
    key = serialization.load_pem_private_key(certificate.key, password=None)
    assert key.public_key() == certificate.leaf.public_key()
    assert isinstance(certificate, Certificate)
