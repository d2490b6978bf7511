"""The routes in use, and the rule by which a newer generation of the pool takes their place.

A generation is taken into use as a whole, and only once every arm that is to get traffic has an engine
that takes requests; until then the one before stays, with the engines it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_service.logs import get_logger

from innervate_gateway import metrics, tallies
from innervate_gateway.choice import choose_arm, lay_out, position, salt_of
from innervate_gateway.pool import label_value, read_pool, replicas_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from innervate_gateway.endpoints import Endpoint
    from innervate_gateway.pool import Arm, Json, Pool, Replica

_log = get_logger(__name__)


class Chosen(NamedTuple):
    """An arm for a request."""

    arm: Arm
    propensity: float
    """The chance it was chosen with; 0 where the caller named the release."""


class Routes:
    """One generation in use."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.endpoints: dict[str, list[Endpoint]] = {arm.name: [] for arm in pool.arms}
        """By arm."""
        self.engines = {variant.name: variant.engine for variant in pool.variants}
        """By variant."""
        self._salt = salt_of(pool.arms)
        self._laid_out = lay_out(pool.arms)

    def choose(self, key: str) -> Chosen:
        """The arm of a session, or of a request without one."""
        if len(self._laid_out) == 1:
            return Chosen(self._laid_out[0], 1.0)
        arm = choose_arm(self._laid_out, position(self._salt, key))
        return Chosen(arm, arm.weight / 100)

    def pinned(self, release: str) -> Chosen | None:
        """The arm of a release that the caller named; None where there is none."""
        return next((Chosen(arm, 0.0) for arm in self.pool.arms if arm.release == release), None)


class RouteState(NamedTuple):
    """What a gateway tells of its routes."""

    routes: Routes | None
    seen_generation: int
    waits_for: str
    """Why the newest generation is not in use; empty where it is."""


class RouteBook:
    """Turns what the API server says into the routes in use.

    Parameters
    ----------
    make_endpoint
        Makes what the gateway needs for a replica it has not met.
    """

    def __init__(self, make_endpoint: Callable[[Replica], Endpoint]) -> None:
        self._make_endpoint = make_endpoint
        self._endpoints: dict[Replica, Endpoint] = {}
        self._newest: Pool | None = None
        self._slices: tuple[Json, ...] = ()
        self._waits_for = "the InferencePool was not read yet"
        self.current: Routes | None = None
        """The routes in use; None before the first."""

    @property
    def state(self) -> RouteState:
        """What to tell of it."""
        seen = 0 if self._newest is None else self._newest.generation
        return RouteState(self.current, seen, self._waits_for)

    def problem(self) -> str | None:
        """Why no request can be routed; None when it can."""
        return None if self.current is not None else self._waits_for

    def see_pool(self, document: Json | None) -> None:
        """Take note of the pool object; None where it is gone, which leaves the routes as they are."""
        if document is None:
            self._waits_for = "the InferencePool is gone"
            return
        try:
            pool = read_pool(document)
        except (KeyError, TypeError, ValueError) as error:
            self._waits_for = f"the InferencePool cannot be read: {error}"
            _log.error("the pool cannot be read", error=str(error))
            return
        self._newest = pool
        self._settle()

    def see_slices(self, documents: Iterable[Json]) -> None:
        """Take note of the engines' EndpointSlices, all of them."""
        self._slices = tuple(documents)
        self._settle()

    def close(self) -> None:
        """Close the connections to all engines."""
        for endpoint in self._endpoints.values():
            endpoint.close()

    def _settle(self) -> None:
        if self._newest is None:
            return
        if self.current is None or self.current.pool != self._newest:
            engines = _by_arm(self._newest, replicas_of(self._newest, self._slices))
            missing = [arm for arm in self._newest.arms if arm.weight and not engines[arm.name]]
            if missing:
                self._waits_for = "; ".join(
                    f"arm {arm.name} has no engine of release {arm.release} that takes requests"
                    for arm in missing
                )
            else:
                self._use(self._newest)
        if self.current is not None:
            self._follow(self.current)

    def _use(self, pool: Pool) -> None:
        old = self.current
        self.current = Routes(pool)
        self._waits_for = ""
        metrics.GENERATION.set(pool.generation)
        _log.info(
            "routes taken into use",
            generation=pool.generation,
            arms={arm.name: f"{arm.release} {arm.weight} %" for arm in pool.arms},
        )
        if old is not None:
            for name in {arm.name for arm in old.pool.arms} - {arm.name for arm in pool.arms}:
                tallies.forget_arm(name)

    def _follow(self, routes: Routes) -> None:
        """Give the routes in use the engines of now; whoever is with one that went may finish there."""
        replicas = replicas_of(routes.pool, self._slices)
        known = self._endpoints
        self._endpoints = {
            replica: known[replica] if replica in known else self._make_endpoint(replica)
            for replica in replicas
        }
        for replica in known.keys() - self._endpoints.keys():
            known[replica].close()
        for arm, engines in _by_arm(routes.pool, replicas).items():
            routes.endpoints[arm] = [self._endpoints[replica] for replica in engines]


def _by_arm(pool: Pool, replicas: Iterable[Replica]) -> Mapping[str, list[Replica]]:
    replicas = list(replicas)
    found = {}
    for arm in pool.arms:
        label = label_value(arm.release)
        found[arm.name] = [replica for replica in replicas if replica.release in {None, label}]
    return found
