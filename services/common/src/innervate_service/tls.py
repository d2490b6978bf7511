"""The certificate in use, and gRPC server credentials that follow it without a restart.

A new connection is served with the newest certificate; one that is open keeps the one it began with
until its maximum age.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
from cryptography import x509

from innervate_service import metrics

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key and whom it makes us trust, each PEM."""

    chain: bytes
    """Leaf first."""
    key: bytes = field(repr=False)
    """Unencrypted PKCS#8."""
    authorities: bytes = b""
    """Every authority to be trusted."""

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself, parsed."""
        return x509.load_pem_x509_certificate(self.chain)

    @property
    def not_after(self) -> datetime:
        """When it ends."""
        return self.leaf.not_valid_after_utc


class CertificateStore:
    """Holds the certificate in use. Replaced by whoever renews it, read by whoever serves with it."""

    def __init__(self) -> None:
        self._current: Certificate | None = None
        self._not_after: datetime | None = None
        self._first = asyncio.Event()
        self._subscribers: list[Callable[[Certificate], None]] = []

    @property
    def current(self) -> Certificate | None:
        """The certificate in use; None before the first."""
        return self._current

    def replace(self, certificate: Certificate) -> None:
        """Put a certificate in use and tell the subscribers."""
        self._not_after = certificate.not_after
        self._current = certificate
        metrics.CERTIFICATE_EXPIRY.set(self._not_after.timestamp())
        self._first.set()
        for subscriber in self._subscribers:
            subscriber(certificate)

    def subscribe(self, subscriber: Callable[[Certificate], None]) -> None:
        """Call this with every later certificate, in the event loop."""
        self._subscribers.append(subscriber)

    async def first(self) -> Certificate:
        """Wait until there is a certificate."""
        await self._first.wait()
        assert self._current is not None  # noqa: S101  the event says so
        return self._current

    def problem(self) -> str | None:
        """Why nobody would accept the certificate, None while they do."""
        if self._not_after is None:
            return "no certificate yet"
        if self._not_after <= datetime.now(UTC):
            return f"the certificate expired at {self._not_after.isoformat()}"
        return None


async def server_credentials(certificates: CertificateStore) -> grpc.ServerCredentials:
    """Credentials that serve each new connection with the certificate in use; waits for the first."""
    configured = await certificates.first()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's own thread before each handshake; None keeps the last configuration.
        nonlocal configured
        current = certificates.current
        if current is None or current is configured:
            return None
        configured = current
        return _configuration(current)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(configured),
        fetch,  # type: ignore[arg-type]  # the stubs leave out that None means "unchanged"
    )


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)])
