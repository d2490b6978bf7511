"""Getting the first certificate and every later one, for as long as the process lives."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import grpc

from innervate_service import metrics
from innervate_service.identity import directory
from innervate_service.identity.request import mismatch, request_certificate
from innervate_service.logs import get_logger

if TYPE_CHECKING:
    from innervate_service.config import IdentityConfig, PathsConfig
    from innervate_service.tls import Certificate, CertificateStore

_FIRST_RETRY_SECONDS = 0.25
_LAST_RETRY_SECONDS = 30.0
_LONGEST_SLEEP_SECONDS = 60.0
"""The clock of the wall is looked at this often: a machine may sleep, or its clock be set."""

_log = get_logger(__name__)


def renewal_time(issued: datetime, not_after: datetime, *, jitter: float) -> datetime:
    """When to renew: at two thirds of the time left at issue, up to a tenth earlier.

    Parameters
    ----------
    issued
        When the certificate was got.
    not_after
        When it ends.
    jitter
        0 to 1; spreads the renewals of pods that started together.
    """
    return issued + (not_after - issued) * (2 / 3) * (1 - 0.1 * jitter)


def retry_seconds(failures: int, *, jitter: float) -> float:
    """How long to wait after so many failures in a row: doubling, and half of it by chance (0 to 1)."""
    longest = min(_LAST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + 0.5 * jitter)


class CertificateRenewal:
    """Keeps a store, and the pod's identity directory, supplied with a good certificate.

    Parameters
    ----------
    config
        Authority and names.
    paths
        Token, trust and identity directory.
    certificates
        Gets every certificate.
    """

    def __init__(self, config: IdentityConfig, paths: PathsConfig, certificates: CertificateStore) -> None:
        self._config = config
        self._paths = paths
        self._certificates = certificates
        # Chance only spreads load here, it protects nothing.
        self._random = random.Random()  # noqa: S311

    async def run(self) -> None:
        """Get and renew until cancelled; no failure ends it."""
        await self._use_existing()
        failures = 0
        while True:
            try:
                certificate = await self._issue()
            except Exception as error:  # noqa: BLE001  whatever it is, the next try may go well
                failures += 1
                delay = retry_seconds(failures, jitter=self._random.random())
                metrics.CERTIFICATE_ISSUES.labels("failed").inc()
                _log.warning(
                    "no certificate from the identity authority",
                    endpoint=self._config.endpoint,
                    error=_describe(error),
                    failures=failures,
                    retry_seconds=round(delay, 2),
                )
                await asyncio.sleep(delay)
                continue
            failures = 0
            metrics.CERTIFICATE_ISSUES.labels("issued").inc()
            issued, not_after = datetime.now(UTC), certificate.not_after
            renew = renewal_time(issued, not_after, jitter=self._random.random())
            _log.info("certificate issued", not_after=not_after.isoformat(), renew_time=renew.isoformat())
            await _sleep_until(renew)

    async def _use_existing(self) -> None:
        certificate = directory.read(self._paths.identity_directory)
        if certificate is None or certificate.not_after <= datetime.now(UTC):
            return
        problem = mismatch(
            certificate, trust_domain=self._config.trust_domain, dns_names=self._config.dns_names
        )
        if problem:
            _log.info("the certificate found is not used", problem=problem)
            return
        self._certificates.replace(certificate)
        begin = certificate.leaf.not_valid_before_utc
        renew = renewal_time(begin, certificate.not_after, jitter=self._random.random())
        _log.info("certificate found", renew_time=renew.isoformat())
        await _sleep_until(renew)

    async def _issue(self) -> Certificate:
        certificate = await request_certificate(
            endpoint=self._config.endpoint,
            trust_domain=self._config.trust_domain,
            dns_names=self._config.dns_names,
            token_file=self._paths.token_file,
            trust_directory=self._paths.trust_directory,
        )
        directory.write(self._paths.identity_directory, certificate)
        self._certificates.replace(certificate)
        return certificate


async def _sleep_until(moment: datetime) -> None:
    while (left := moment - datetime.now(UTC)) > timedelta():  # noqa: ASYNC110  a time, not an event, is awaited
        await asyncio.sleep(min(left.total_seconds(), _LONGEST_SLEEP_SECONDS))


def _describe(error: Exception) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
