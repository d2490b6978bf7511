"""Serving the identity authority, with a certificate that it signs for itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from innervate_api.identity.v1 import identity_pb2, identity_pb2_grpc
from innervate_service.admission import Admission
from innervate_service.auth import Identity, current_identity
from innervate_service.config import AdmissionConfig, DeadlineConfig, DrainConfig, ServiceConfig
from innervate_service.identity.renewal import renewal_time
from innervate_service.identity.request import signing_request
from innervate_service.logs import get_logger
from innervate_service.serve import Server, Service
from innervate_service.tls import Certificate, CertificateStore

from innervate_operator.identity.authority import RotationPolicy
from innervate_operator.identity.issue import Issued, issue
from innervate_operator.identity.rate import IssueRate

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc
    from innervate_service.auth import Authenticator

    from innervate_operator.identity.authority import AuthorityState

SERVICE = "innervate_api.identity.v1.IdentityService"
_MAX_REVIEWS = 16
_MAX_QUEUED_REVIEWS = 256
"""Reviews ask the API server before the caller is known: their number is bounded for its sake."""

_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class IdentitySettings:
    """What the authority's operator decides."""

    listen: str = "0.0.0.0:7443"
    """Where to serve."""
    namespace: str = "innervate-system"
    """The operator's namespace."""
    account: str = "innervate-operator"
    """The operator's service account."""
    service: str = "innervate-identity"
    """The Service in front of the operator's pods."""
    trust_domain: str = "innervate.local"
    """Trust domain of the SPIFFE IDs."""
    cluster_domain: str = "cluster.local"
    """The cluster's DNS domain."""
    policy: RotationPolicy = field(default_factory=RotationPolicy)
    """Life times."""
    drain: DrainConfig = field(default_factory=lambda: DrainConfig(delay_seconds=0, grace_seconds=5))
    """How it ends; the operator's own life cycle comes before."""

    @property
    def dns_names(self) -> tuple[str, ...]:
        """The names of the Service."""
        base = f"{self.service}.{self.namespace}"
        return (f"{base}.svc", f"{base}.svc.{self.cluster_domain}", base, "localhost")


class IdentityAuthority:
    """Signs with the state it was given last.

    Parameters
    ----------
    state
        From the Secret.
    settings
        Trust domain and life times.
    now
        The clock of the wall, in UTC.
    """

    def __init__(
        self,
        state: AuthorityState,
        settings: IdentitySettings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.state = state
        """The state in force."""
        self.settings = settings
        self._now = now
        self._changed = asyncio.Event()

    def replace(self, state: AuthorityState) -> None:
        """Put a later state in force: after a rotation, or when another replica changed the Secret."""
        self.state = state
        self._changed.set()

    def issue(self, request: bytes, identity: Identity, *, service: str | None = None) -> Issued:
        """Sign a request; see `innervate_operator.identity.issue.issue`."""
        return issue(
            self.state,
            request,
            identity,
            now=self._now(),
            policy=self.settings.policy,
            trust_domain=self.settings.trust_domain,
            cluster_domain=self.settings.cluster_domain,
            service=service,
        )

    def issue_own(self) -> Certificate:
        """A certificate for the authority's own Service, with a fresh key."""
        settings = self.settings
        request = signing_request(settings.dns_names)
        own = Identity(settings.namespace, settings.account)
        issued = self.issue(request.der, own, service=settings.service)
        return Certificate(
            chain=issued.chain.encode(), key=request.key, authorities=self.state.bundle.encode()
        )

    async def keep_own_certificate(self, certificates: CertificateStore) -> None:
        """Renew the own certificate in time, and at once when the state changes; until cancelled."""
        while True:
            self._changed.clear()
            issued = self._now()
            certificate = self.issue_own()
            certificates.replace(certificate)
            _log.info("own certificate issued", not_after=certificate.not_after.isoformat())
            wait = renewal_time(issued, certificate.not_after, jitter=0.5) - issued
            # Wakes at the next change of signer too, which the clock brings about.
            changes = [a.signs_from - issued for a in self.state.authorities if a.signs_from > issued]
            seconds = max(min([wait, *changes]), timedelta(seconds=1)).total_seconds()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                continue


class IdentityServer(identity_pb2_grpc.IdentityServiceServicer):
    """The gRPC face of the authority.

    Parameters
    ----------
    authority
        Signs.
    rate
        Bounds how often an account may ask.
    """

    def __init__(self, authority: IdentityAuthority, rate: IssueRate) -> None:
        self._authority = authority
        self._rate = rate

    async def Issue(  # noqa: N802  named by the proto
        self,
        request: identity_pb2.IssueRequest,
        context: grpc.aio.ServicerContext[  # noqa: ARG002  the interface asks for it
            identity_pb2.IssueRequest, identity_pb2.IssueResponse
        ],
    ) -> identity_pb2.IssueResponse:
        """Sign the caller's request."""
        identity = current_identity()
        self._rate.take(identity)
        issued = self._authority.issue(request.certificate_signing_request, identity)
        _log.info("certificate issued", account=str(identity), not_after=issued.not_after.isoformat())
        response = identity_pb2.IssueResponse(
            certificate_chain=issued.chain, trust_bundle=self._authority.state.bundle
        )
        response.not_after.FromDatetime(issued.not_after)
        return response


def bounded(review: Authenticator) -> Authenticator:
    """A review of which so many run at once; more are answered RESOURCE_EXHAUSTED."""
    admission = Admission(max_concurrent=_MAX_REVIEWS, max_queue=_MAX_QUEUED_REVIEWS)

    async def authenticate(token: str) -> Identity:
        async with admission.place():
            return await review(token)

    return authenticate


async def run_identity(
    authority: IdentityAuthority,
    review: Authenticator,
    *,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve the authority until cancelled, then finish running calls.

    Parameters
    ----------
    authority
        Give it every later state with `IdentityAuthority.replace`; certificates follow at once.
    review
        Who a token is of, by a TokenReview with audience `innervate`; raises `Unauthenticated` or
        `Unavailable` of `innervate_service.errors`.
    listening
        Gets the port once calls are served; readiness may depend on it.
    """
    settings = authority.settings
    certificates = CertificateStore()
    config = ServiceConfig(
        listen=settings.listen,
        health_listen=None,
        metrics_listen=None,
        admission=AdmissionConfig(max_concurrent=_MAX_REVIEWS * 2, max_queue=_MAX_QUEUED_REVIEWS),
        deadline=DeadlineConfig(default_seconds=10, max_seconds=30),
        drain=settings.drain,
        max_message_bytes=64 * 1024,
    )
    servicer = IdentityServer(authority, IssueRate())
    server = Server(
        config,
        [Service(SERVICE, lambda s: identity_pb2_grpc.add_IdentityServiceServicer_to_server(servicer, s))],
        certificates=certificates,
        authenticate=bounded(review),
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(authority.keep_own_certificate(certificates))
            await server.start()
            listening(server.ports.grpc)
    finally:
        await server.drain()
