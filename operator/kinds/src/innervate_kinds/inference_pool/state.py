"""All that a decision about a pool may depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.model_release.model import Artifact
    from innervate_kinds.parts.placement import Pool
    from innervate_kinds.parts.pods import Workload
    from innervate_kinds.parts.redis.claim import Claim


class EngineKey(NamedTuple):
    """Which engines are meant: those of one variant that serve one release."""

    variant: str
    release: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A ModelRelease that is there.

    Parameters
    ----------
    artifact
        Where it is, and what it must be.
    verified
        Whether its every byte was found right, and signed by a trusted key.
    refused
        Whether it was found wrong; neither where there is no verdict yet.
    message
        Its own words for it.
    """

    artifact: Artifact
    verified: bool
    refused: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPod:
    """A gateway pod that takes requests.

    Parameters
    ----------
    name, address
        The pod.
    answer
        Its last answer about its routes.
    """

    name: str
    address: str
    answer: ProbeResult | None = None

    @property
    def generation(self) -> int | None:
        """Generation of the pool that it serves; None where it does not say."""
        value = self.answer.value if self.answer else None
        return value["generation"] if value else None

    @property
    def releases(self) -> frozenset[str]:
        """Releases that its routes name."""
        value = self.answer.value if self.answer else None
        return frozenset(value["releases"]) if value else frozenset()

    @property
    def waits_for(self) -> str:
        """What keeps it from serving the newest generation it has seen; empty where nothing does."""
        value = self.answer.value if self.answer else None
        return value["waits_for"] if value else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A pool's children, what it refers to, and what its gateways answered.

    Parameters
    ----------
    redis, gateway
        The workloads; None where they are not there.
    claim
        The volume claim of the pool's name, whoever made it.
    engines
        Engine Deployments that are there.
    releases
        ModelReleases that the arms name, where they are there.
    pools
        ComputePools by the name of the variant placed on them (empty for the gateway), where they are there.
    gateways
        Ready gateway pods.
    budgets
        Names of the PodDisruptionBudgets that are there.
    """

    redis: Workload | None = None
    gateway: Workload | None = None
    claim: Claim | None = None
    engines: Mapping[EngineKey, Workload] = field(default_factory=dict)
    releases: Mapping[str, Release] = field(default_factory=dict)
    pools: Mapping[str, Pool] = field(default_factory=dict)
    gateways: tuple[GatewayPod, ...] = ()
    budgets: frozenset[str] = frozenset()

    def acknowledged(self, *, known: int) -> int:
        """Generation that every ready gateway pod serves, at least.

        Parameters
        ----------
        known
            What was acknowledged before: still true where a gateway does not answer just now.
        """
        generations = [pod.generation for pod in self.gateways]
        if not generations or None in generations:
            return known
        return min(generation for generation in generations if generation is not None)
