"""What an InferencePool object and the EndpointSlices of its engines say, read into values."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]

LABEL_VARIANT: Final = "innervate.dev/variant"
LABEL_RELEASE: Final = "innervate.dev/release"
LABEL_COST: Final = "innervate.dev/cost-per-hour"
"""Price of a replica for an hour; absent where its ComputePool has none."""
BOOTSTRAP_ARM: Final = "stable"
"""Name of the one arm of a pool without traffic."""
_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?")


class Arm(NamedTuple):
    """A share of the traffic for one release."""

    name: str
    release: str
    weight: int
    role: str


class Variant(NamedTuple):
    """A kind of engine of the pool."""

    name: str
    engine: str
    slots: int
    url: str | None
    """Of an External one."""
    model: str | None
    """What an External one calls its model."""


class Pool(NamedTuple):
    """One generation of an InferencePool."""

    uid: str
    generation: int
    model: str
    arms: tuple[Arm, ...]
    variants: tuple[Variant, ...]


class Replica(NamedTuple):
    """Where an engine takes requests."""

    variant: str
    release: str | None
    """The release's label; None for every release."""
    host: str
    port: int
    tls: bool
    path: str
    """What comes before ``/v1``."""
    model: str | None
    """Name of the model to ask for; None for the pool's."""
    slots: int
    cost_per_hour: str


def label_value(text: str) -> str:
    """The label value for a name: the name itself where it is valid, else shortened with a digest.

    The operator computes the same; a test holds both together.
    """
    if len(text) <= 63 and re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    stem = re.sub(r"[^-A-Za-z0-9_.]", "-", text)[:54].strip("-_.")
    return f"{stem}-{digest}" if stem else digest


def read_pool(document: Json) -> Pool:
    """Read an InferencePool.

    Raises
    ------
    ValueError
        It has no arm to serve, which the API server's validation should have refused.
    """
    metadata, spec = document["metadata"], document["spec"]
    model = spec["model"]
    arms = tuple(
        Arm(arm["name"], arm["releaseRef"]["name"], int(arm["weight"]), str(arm.get("role", "Stable")))
        for arm in spec.get("traffic") or ()
    )
    if not arms and (reference := model.get("releaseRef")):
        arms = (Arm(BOOTSTRAP_ARM, reference["name"], 100, "Stable"),)
    if not arms and any(variant.get("engine") == "External" for variant in spec.get("variants") or ()):
        arms = (Arm(BOOTSTRAP_ARM, "", 100, "Stable"),)
    if not arms or not any(arm.weight for arm in arms):
        raise ValueError("the pool names no release that has traffic")
    return Pool(
        uid=metadata["uid"],
        generation=int(metadata.get("generation", 0)),
        model=model["name"],
        arms=arms,
        variants=tuple(_variant(variant) for variant in spec.get("variants") or ()),
    )


def _variant(document: Json) -> Variant:
    external = document.get("external") or {}
    return Variant(
        name=document["name"],
        engine=document.get("engine", "LlamaCpp"),
        slots=max(1, int(document.get("parallel") or 1)),
        url=external.get("url"),
        model=external.get("model"),
    )


def replicas_of(pool: Pool, slices: Iterable[Json]) -> list[Replica]:
    """Every engine that takes requests: ready endpoints of the pool's variants, and External URLs."""
    variants = {variant.name: variant for variant in pool.variants}
    found: dict[tuple[str, str | None, str, int], Replica] = {}
    for document in slices:
        for replica in _of_slice(document, variants):
            # An endpoint may stand in two slices while the controller moves it.
            found[replica.variant, replica.release, replica.host, replica.port] = replica
    replicas = list(found.values())
    replicas += [_external(variant) for variant in pool.variants if variant.url]
    return replicas


def _of_slice(document: Json, variants: Mapping[str, Variant]) -> list[Replica]:
    labels: Mapping[str, str] = document.get("metadata", {}).get("labels") or {}
    variant = variants.get(labels.get(LABEL_VARIANT, ""))
    ports = document.get("ports") or ()
    if variant is None or LABEL_RELEASE not in labels or not ports:
        return []
    port = next((port for port in ports if port.get("name") == "http"), ports[0])
    cost = labels.get(LABEL_COST, "")
    return [
        Replica(
            variant=variant.name,
            release=labels[LABEL_RELEASE],
            host=address,
            port=int(port["port"]),
            tls=False,
            path="",
            model=None,
            slots=variant.slots,
            cost_per_hour=cost if _DECIMAL.fullmatch(cost) else "",
        )
        for endpoint in document.get("endpoints") or ()
        if _takes_requests(endpoint.get("conditions") or {})
        for address in endpoint.get("addresses", ())[:1]
    ]


def _takes_requests(conditions: Json) -> bool:
    # Absent means ready, by the EndpointSlice API.
    return conditions.get("ready") is not False and not conditions.get("terminating")


_EXTERNAL_SLOTS: Final = 64
"""How much an External engine is taken to do at once, beside others of its arm."""


def _external(variant: Variant) -> Replica:
    url = urlsplit(variant.url or "")
    tls = url.scheme == "https"
    path = url.path.rstrip("/")
    return Replica(
        variant=variant.name,
        release=None,
        host=url.hostname or "",
        port=url.port or (443 if tls else 80),
        tls=tls,
        # Clients write base URLs with and without the version.
        path=path.removesuffix("/v1"),
        model=variant.model,
        slots=_EXTERNAL_SLOTS,
        cost_per_hour="",
    )
