"""Trust anchors of the installation: our certificate authority and the cluster's token-signing keys."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson
from innervate_kinds.api.kind import SECRET, Kind, Reference
from innervate_kinds.api.plan import Trust
from innervate_service.auth import AUDIENCE, Identity
from innervate_service.errors import Unauthenticated, Unavailable
from innervate_service.logs import get_logger

from innervate_operator.errors import ApiError, LeadershipLost
from innervate_operator.identity import authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_operator.client import Client
    from innervate_operator.clock import Clock
    from innervate_operator.identity.authority import AuthorityState, RotationPolicy

TOKEN_REVIEW = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)
MANAGER = "innervate"
_WAIT_SECONDS = 1.0
_REFRESH_SECONDS = 60.0

_log = get_logger(__name__)


class TrustKeeper:
    """Loads the authority from its Secret on every replica; makes and rotates it on the leader.

    Parameters
    ----------
    client
        Writes behind the gate.
    secret
        Where the authority is kept.
    policy
        Life times.
    leads
        Whether this replica may write.
    clock
        Time of day decides about rotation.
    on_change
        Told when what is trusted changed after it was first known.
    """

    def __init__(
        self,
        client: Client,
        *,
        secret: Reference,
        policy: RotationPolicy,
        leads: Callable[[], bool],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._secret = secret
        self._policy = policy
        self._leads = leads
        self._clock = clock
        self._on_change = on_change
        self._state: AuthorityState | None = None
        self._trust: Trust | None = None

    @property
    def state(self) -> AuthorityState:
        """The authority in force.

        Raises
        ------
        RuntimeError
            If `start` has not returned.
        """
        if self._state is None:
            raise RuntimeError("the certificate authority is not loaded")
        return self._state

    @property
    def trust(self) -> Trust:
        """What is handed to every service.

        Raises
        ------
        RuntimeError
            If `start` has not returned.
        """
        if self._trust is None:
            raise RuntimeError("the trust anchors are not loaded")
        return self._trust

    async def start(self) -> None:
        """Wait until the authority exists, making it if this replica leads, and read the cluster's keys."""
        while True:
            try:
                await self.refresh()
            except ApiError as error:
                _log.warning("the trust anchors cannot be read yet", error=error.message)
            if self._trust is not None:
                return
            await self._clock.sleep(_WAIT_SECONDS)

    async def run(self) -> None:
        """Follow the Secret and the cluster's keys until cancelled; rotate when it is time."""
        while True:
            await self._clock.sleep(_REFRESH_SECONDS)
            try:
                await self.refresh()
            except ApiError as error:
                _log.warning("the trust anchors could not be read", error=error.message)
            except authority.AuthorityStateError as error:
                # What is loaded stays good; a person must restore the Secret.
                _log.error("the certificate authority's Secret is damaged", error=str(error))

    async def refresh(self) -> None:
        """Read everything once, and let the leader write what the clock asks for.

        Raises
        ------
        ApiError
            If the API server cannot be asked.
        AuthorityStateError
            If the Secret is damaged.
        """
        state = await self._refresh_state()
        if state is None:
            return
        discovery = orjson.loads(await self._client.raw("/.well-known/openid-configuration"))
        jwks = await self._client.raw("/openid/v1/jwks")
        trust = Trust(
            ca_bundle=state.bundle,
            # In one order always: the API server does not promise one, and pods' ConfigMaps hang on it.
            jwks=orjson.dumps(_ordered(orjson.loads(jwks)), option=orjson.OPT_SORT_KEYS).decode(),
            issuer=discovery["issuer"],
        )
        known = self._trust is not None
        changed = trust != self._trust
        self._state, self._trust = state, trust
        if known and changed:
            _log.info("the trust anchors changed")
            self._on_change()

    async def review(self, token: str) -> Identity:
        """Ask the API server who a token is of.

        Raises
        ------
        Unauthenticated
            If it is nobody's, or not for us.
        Unavailable
            If the API server cannot be asked.
        """
        body = {
            "apiVersion": TOKEN_REVIEW.api_version,
            "kind": TOKEN_REVIEW.kind,
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            answer = await self._client.ungated().create(
                Reference(TOKEN_REVIEW, None, ""), body, manager=MANAGER
            )
        except ApiError as error:
            raise Unavailable("the API server cannot review tokens now; try again") from error
        status = answer.get("status") or {}
        if not status.get("authenticated") or AUDIENCE not in (status.get("audiences") or ()):
            raise Unauthenticated(f"the token is not valid for audience {AUDIENCE!r}")
        try:
            return Identity.from_subject(status["user"]["username"])
        except ValueError as error:
            raise Unauthenticated("the token is not a service account's") from error

    async def _refresh_state(self) -> AuthorityState | None:
        secret = await self._client.get(self._secret)
        if secret is None:
            if not self._leads():
                return self._state
            # Lost with a loaded state: the state is stored again, and nobody notices.
            state = self._state or authority.create(self._clock.now(), self._policy)
            return state if await self._store(state, None) else self._state
        data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
        state = authority.from_secret(data)
        due = authority.advance(state, self._clock.now(), self._policy)
        if due is not state and self._leads() and await self._store(due, secret):
            _log.info("the certificate authority was rotated", authorities=len(due.authorities))
            return due
        if self._state is not None and _serials(state) == _serials(self._state):
            return self._state
        return state

    async def _store(self, state: AuthorityState, secret: dict[str, Any] | None) -> bool:
        encoded = {key: base64.b64encode(value).decode() for key, value in authority.to_secret(state).items()}
        try:
            if secret is None:
                fresh = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "type": "Opaque",
                    "metadata": {
                        "namespace": self._secret.namespace,
                        "name": self._secret.name,
                        "labels": {"app.kubernetes.io/part-of": "innervate"},
                    },
                    "data": encoded,
                }
                await self._client.create(self._secret, fresh, manager=MANAGER)
            else:
                # The version makes it a compare-and-swap: a rotation is never made twice.
                patch = {
                    "metadata": {"resourceVersion": secret["metadata"]["resourceVersion"]},
                    "data": encoded,
                }
                await self._client.merge(self._secret, patch, manager=MANAGER)
        except LeadershipLost:
            return False
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True


def secret_reference(namespace: str, name: str) -> Reference:
    """Where the authority is kept."""
    return Reference(SECRET, namespace, name)


def _serials(state: AuthorityState) -> list[tuple[int, str]]:
    return [(each.certificate.serial_number, each.signs_from.isoformat()) for each in state.authorities]


def _ordered(jwks: dict[str, Any]) -> dict[str, Any]:
    return {**jwks, "keys": sorted(jwks.get("keys") or (), key=lambda key: str(key.get("kid", "")))}
