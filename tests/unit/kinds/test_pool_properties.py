"""What holds for every plan of an InferencePool, whatever its releases and its gateways say."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from innervate_kinds.api.kind import DEPLOYMENT, SECRET, SERVICE, STATEFUL_SET, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.plan import Generated
from innervate_kinds.api.reader import ProbeResult
from innervate_kinds.inference_pool import plan as planning
from innervate_kinds.inference_pool.model import InferencePool
from innervate_kinds.inference_pool.names import RELEASE, VARIANT, engine_name
from innervate_kinds.inference_pool.room import ROOM
from innervate_kinds.inference_pool.state import EngineKey
from kinds_cluster import CONFIG, KINDS, Cluster, model_release

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UID = "00000000-0000-4000-8000-000000000001"
NAMESPACE = "shop"
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

NAMES = [*"rst", "r.1", "r" * 63]
VARIANTS = ["cpu", "a", "a-b", "v" * 20]
segments = st.text("abcxyz019-", min_size=1, max_size=61).map(lambda text: f"a{text}z")
pool_names = st.lists(segments, min_size=1, max_size=4).map(".".join)
release_names = st.sampled_from(NAMES)
variants = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(VARIANTS), "engine": st.just("LlamaCpp")},
        optional={"replicas": st.integers(1, 3), "parallel": st.integers(1, 8)},
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda variant: variant["name"],
)
traffic = st.lists(release_names, min_size=0, max_size=4).map(
    lambda names: [
        {
            "name": f"arm-{index}",
            "releaseRef": {"name": name},
            "weight": 0 if index else 100,
            "role": "Candidate" if index else "Stable",
        }
        for index, name in enumerate(names)
    ]
)
# Mostly what lets engines go: those cases are the ones in which a wrong step costs requests.
told = st.builds(
    lambda generation, releases: ProbeResult(
        time=NOW, value={"generation": generation, "releases": releases, "waits_for": ""}
    ),
    st.sampled_from([2, 2, 2, 1]),
    st.lists(release_names, max_size=3),
)
answers = st.one_of(told, told, told, st.none(), st.just(ProbeResult(time=NOW, code="UNAVAILABLE")))


def labels(component: str, **more: str) -> dict[str, str]:
    return {OWNER_UID: UID, "app.kubernetes.io/component": component, **more}


def deployment(name: str, component: str, available: int, **more: str) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "generation": 1,
            "labels": labels(component, **more),
        },
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": available,
        },
    }


def gateway_pod(name: str, *, ready: bool) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": labels("gateway"),
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class World:
    """A pool, what is around it, and what its gateways answered."""

    def __init__(self, draw: st.DrawFn) -> None:
        name = draw(pool_names)
        self.pool = InferencePool.model_validate(
            {
                "apiVersion": "innervate.dev/v1alpha1",
                "kind": "InferencePool",
                "metadata": {"name": name, "namespace": NAMESPACE, "uid": UID, "generation": 2},
                "spec": {
                    "model": {"name": "m", "releaseRef": {"name": draw(release_names)}},
                    "variants": draw(variants),
                    "traffic": draw(traffic),
                },
            }
        )
        # Verified, not verified, or not there.
        self.verdicts = {each: draw(st.sampled_from([True, False, None])) for each in NAMES}
        running = draw(
            st.dictionaries(st.tuples(st.sampled_from(VARIANTS), release_names), st.integers(0, 1))
        )
        self.engines = {EngineKey(*key): available for key, available in running.items()}
        gateways = draw(st.lists(st.tuples(st.sampled_from([True, True, False]), answers), max_size=2))
        self.ready = [answer for ready, answer in gateways if ready]
        self.probes = {f"routes/g{index}": answer for index, (_, answer) in enumerate(gateways) if answer}
        self.objects = [
            *(
                model_release(each, NAMESPACE, verified=verdict)
                for each, verdict in self.verdicts.items()
                if verdict is not None
            ),
            *(
                deployment(
                    engine_name(name, *key),
                    "engine",
                    available,
                    **{VARIANT: key.variant, RELEASE: key.release},
                )
                for key, available in self.engines.items()
            ),
            *(gateway_pod(f"g{index}", ready=ready) for index, (ready, _) in enumerate(gateways)),
        ]
        if gateways:
            gateway = next(
                child.manifest["metadata"]["name"]
                for child in self.plan().apply
                if child.kind == DEPLOYMENT
                and child.manifest["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway"
            )
            self.objects.append(deployment(gateway, "gateway", 1))

    def plan(self) -> Plan:
        observed = ROOM.observe(self.pool, Cluster(self.objects), self.probes)
        return ROOM.plan(self.pool, observed, CONFIG, NOW)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    return World(draw)


def engine_deployments(plan: Plan) -> list[EngineKey]:
    found = [child.manifest["metadata"]["labels"] for child in plan.apply if child.kind == DEPLOYMENT]
    return [EngineKey(each[VARIANT], each[RELEASE]) for each in found if RELEASE in each]


@given(worlds())
def test_the_same_world_gets_the_same_plan(world: World) -> None:
    before = world.pool.model_dump_json()
    first = copy.deepcopy(world.plan())
    assert world.plan() == first
    assert world.pool.model_dump_json() == before


@given(worlds())
def test_no_engine_is_planned_for_an_unverified_release(world: World) -> None:
    for key in engine_deployments(world.plan()):
        assert world.verdicts[key.release] is True


@given(worlds())
def test_every_verified_release_with_an_arm_gets_every_variant(world: World) -> None:
    named = {arm.release_ref.name for arm in world.pool.arms()}
    expected = {
        EngineKey(variant.name, release)
        for variant in world.pool.spec.variants
        for release in named
        if world.verdicts[release]
    }
    found = engine_deployments(world.plan())
    assert len(found) == len(expected)
    assert set(found) == expected


@given(worlds())
def test_no_engine_goes_that_a_gateway_may_send_requests_to(world: World) -> None:
    deleted = {reference.name for reference in world.plan().delete if reference.kind == DEPLOYMENT}
    wanted = {key for _variant, key in planning.wanted(world.pool)}
    for key, available in world.engines.items():
        del available
        if engine_name(world.pool.metadata.name, *key) not in deleted:
            continue
        assert key not in wanted
        assert world.ready
        for answer in world.ready:
            assert answer is not None
            assert answer.value is not None
            assert answer.value["generation"] == world.pool.metadata.generation
            others = [
                other
                for other, ready in world.engines.items()
                if ready and other in wanted and other.release == key.release
            ]
            assert key.release not in answer.value["releases"] or others


@given(worlds())
def test_what_is_planned_is_never_deleted(world: World) -> None:
    plan = world.plan()
    planned = {Reference.of(child.kind, child.manifest) for child in plan.apply}
    assert not planned & set(plan.delete)
    engines = {engine_name(world.pool.metadata.name, *key) for key in world.engines}
    assert {reference.name for reference in plan.delete} <= engines


@given(worlds())
def test_names_are_unique_and_within_limits(world: World) -> None:
    plan = world.plan()
    references = [Reference.of(child.kind, child.manifest) for child in (*plan.ensure, *plan.apply)]
    assert len(set(references)) == len(references)
    for kind, namespace, name in references:
        assert namespace == NAMESPACE
        assert "inferencepool" in name
        assert DNS_LABEL.fullmatch(name), name
        assert len(name) <= (52 if kind == STATEFUL_SET else 63)


@given(worlds())
def test_selectors_find_the_pods_they_mean(world: World) -> None:
    manifests = [child.manifest for child in world.plan().apply]
    templates = [
        manifest["spec"]["template"]["metadata"]["labels"]
        for manifest in manifests
        if "template" in manifest.get("spec", {})
    ]
    engines = sum(RELEASE in each for each in templates)
    for child in world.plan().apply:
        spec = child.manifest.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector is None:
            continue
        wanted = selector if child.kind == SERVICE else selector["matchLabels"]
        found = sum(wanted.items() <= each.items() for each in templates)
        of_all_engines = wanted["app.kubernetes.io/component"] == "engine" and RELEASE not in wanted
        assert found == (engines if of_all_engines else 1)


@given(worlds())
def test_secrets_are_only_named(world: World) -> None:
    plan = world.plan()
    assert all(child.kind != SECRET for child in plan.apply)
    for child in plan.ensure:
        assert child.kind == SECRET
        assert all(isinstance(value, Generated) for value in child.manifest["stringData"].values())


@given(worlds())
def test_manifests_are_plain_json_of_known_kinds(world: World) -> None:
    for child in world.plan().apply:
        assert json.loads(json.dumps(child.manifest)) == child.manifest
        assert KINDS[child.manifest["kind"]] == child.kind
        assert child.kind in ROOM.children


@given(worlds())
def test_every_container_has_requests_and_limits(world: World) -> None:
    for child in world.plan().apply:
        pod = child.manifest.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
            for field in ("requests", "limits"):
                assert container["resources"][field].keys() == {"cpu", "memory"}


@given(st.lists(st.tuples(st.sampled_from(["a", "a-b", "b"]), st.sampled_from(["c", "b-c", "c.d", "c-d"]))))
def test_engines_of_unlike_variants_and_releases_never_share_a_name(keys: list[tuple[str, str]]) -> None:
    assert len({engine_name("p", *key) for key in keys}) == len(set(keys))
