"""Making a Redis of the same pod serve with the pod's new certificate.

Redis reads its files once. ``CONFIG SET`` makes it read them again, even where the names stay the same.
Four commands do not need a client library in an image that holds nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from innervate_service.logs import get_logger
from innervate_service.probes import split_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from innervate_service.tls import Certificate, CertificateStore

_SECONDS = 5.0
"""Time limit of one conversation."""
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 30.0

_log = get_logger(__name__)


class ReloadError(Exception):
    """Redis refused; the message repeats what it said."""


class RedisReload:
    """Follows a store's certificates and makes Redis follow too.

    Parameters
    ----------
    address
        host:port of Redis; the host must be a name of the certificate.
    password_file
        Holds the password of Redis' default user; None where it has none.
    directory
        The identity directory, as both containers see it.
    certificates
        Where the certificates come from.
    """

    def __init__(
        self, *, address: str, password_file: Path | None, directory: Path, certificates: CertificateStore
    ) -> None:
        self._address = split_address(address)
        self._password_file = password_file
        self._directory = directory
        self._certificates = certificates
        self._changed = asyncio.Event()
        certificates.subscribe(lambda _certificate: self._changed.set())

    async def run(self) -> None:
        """Until cancelled: after each certificate, try until Redis serves with it.

        At the pod's start Redis does not listen yet; it then reads the right files by itself, and the
        first try that reaches it finds nothing to do.
        """
        delay = _RETRY_SECONDS
        while True:
            await self._changed.wait()
            certificate = await self._certificates.first()
            self._changed.clear()
            try:
                async with asyncio.timeout(_SECONDS):
                    reloaded = await self._reload(certificate)
            except (OSError, TimeoutError, ReloadError, asyncio.IncompleteReadError) as error:
                _log.warning("redis does not serve with the new certificate yet", error=str(error))
                self._changed.set()
                await asyncio.sleep(delay)
                delay = min(delay * 2, _MAX_RETRY_SECONDS)
                continue
            delay = _RETRY_SECONDS
            _log.info("redis serves with the certificate", reloaded=reloaded)

    async def _reload(self, certificate: Certificate) -> bool:
        async with self._connect() as connection:
            if connection.serves(certificate):
                return False
            if self._password_file is not None:
                await connection.command("AUTH", _read(self._password_file))
            await connection.command(
                "CONFIG",
                "SET",
                "tls-cert-file",
                str(self._directory / "tls.crt"),
                "tls-key-file",
                str(self._directory / "tls.key"),
                "tls-ca-cert-file",
                str(self._directory / "ca.crt"),
            )
        async with self._connect() as connection:
            if not connection.serves(certificate):
                raise ReloadError("redis took the new files and still serves with another certificate")
        return True

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[_Connection]:
        context = ssl.create_default_context(cafile=str(self._directory / "ca.crt"))
        context.load_cert_chain(str(self._directory / "tls.crt"), str(self._directory / "tls.key"))
        reader, writer = await asyncio.open_connection(*self._address, ssl=context)
        try:
            yield _Connection(reader, writer)
        finally:
            writer.close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def serves(self, certificate: Certificate) -> bool:
        """Whether the other end showed this certificate."""
        transport: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        peer = transport.getpeercert(binary_form=True)
        return peer == ssl.PEM_cert_to_DER_cert(_first(certificate.chain.decode()))

    async def command(self, *words: str) -> None:
        """Send a command that is answered with +OK."""
        encoded = [word.encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)]
        self._writer.write(b"".join(parts))
        await self._writer.drain()
        answer = (await self._reader.readuntil(b"\r\n")).rstrip().decode("utf-8", "replace")
        if answer != "+OK":
            raise ReloadError(f"redis answered {words[0]} with {answer!r}")


def _first(chain: str) -> str:
    end = "-----END CERTIFICATE-----"
    return chain[: chain.index(end) + len(end)]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip("\r\n")
