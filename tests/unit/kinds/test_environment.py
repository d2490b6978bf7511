"""Environments: what servers are told and tell, names, and few writes while slots come and go."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from innervate_api.env.v1 import env_pb2
from innervate_environments.config import ServerConfig
from innervate_environments.episodes import Role
from innervate_kinds.api.conditions import merge
from innervate_kinds.api.reader import Probe, ProbeResult
from innervate_kinds.environment.model import Environment, EnvironmentStatus
from innervate_kinds.environment.names import Names
from innervate_kinds.environment.room import ROOM
from kinds_cluster import CONFIG, Cluster

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/kinds/input/environment"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def golden(name: str) -> dict[str, Any]:
    return yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())


def planned(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Children by kind and last part of the name."""
    environment = Environment.model_validate(case["resource"])
    plan = ROOM.plan(
        environment, ROOM.observe(environment, Cluster(case.get("cluster", [])), {}), CONFIG, NOW
    )
    return {
        f"{child.kind.kind} {child.manifest['metadata']['name'].rpartition('-')[2]}": child.manifest
        for child in plan.apply
    }


def server_config(case: dict[str, Any]) -> ServerConfig:
    return ServerConfig.model_validate_json(planned(case)["ConfigMap config"]["data"]["config.json"])


@pytest.mark.parametrize("name", ["minimal", "typical", "full", "own_image"])
def test_the_server_reads_its_configuration(name: str) -> None:
    config = server_config(golden(name))
    assert config.environment.namespace == "shop"
    assert config.operator is not None
    assert (config.operator.namespace, config.operator.name) == (CONFIG.namespace, CONFIG.service_account)


def test_every_field_reaches_the_server() -> None:
    config = server_config(golden("full"))
    served = config.environment
    assert served.source.tasks is not None
    assert served.source.tasks.path == Path("/var/lib/innervate/dataset/arithmetic/tasks.jsonl")
    assert served.source.tasks.sha256 is not None
    assert (served.capacity, served.instances_per_process) == (64, 8)
    assert (served.lease_seconds, served.step_seconds) == (120, 20)
    assert [(each.name, str(each.weight), each.role) for each in served.rewards] == [
        ("sum", "1.0", Role.TRAINED),
        ("brief", "0.1", Role.TRAINED),
        ("pleads", "1.0", Role.CANARY),
        ("stated", "1.0", Role.HELD_OUT),
    ]
    assert config.scorer is not None
    assert config.scorer.image == "registry.example/innervate/evaluator:0.1.0"
    assert config.image.startswith("registry.example.com/practice/arithmetic@sha256:")
    accounts = [(each.namespace, each.name) for each in config.access[0].service_accounts]
    assert accounts == [("shop", "arithmetic-rlrun"), ("research", "*")]


def test_what_gymnasium_is_told_reaches_it() -> None:
    served = server_config(golden("own_image")).environment
    assert served.max_episode_steps == 500
    source = served.source.gymnasium
    assert source is not None
    assert source.arguments() == {"layout": "narrow", "robots": 3}
    assert source.package is None


def test_a_package_for_verifiers_reaches_the_server_by_its_id() -> None:
    config = server_config(golden("package_for_verifiers"))
    source = config.environment.source.gymnasium
    assert source is not None
    assert (source.package, source.arguments()) == ("reverse-text", {"minimum": 3})
    assert config.scorer is None, "its rewards are its own"


def test_the_largest_amounts_are_ones_that_the_server_takes() -> None:
    definition = yaml.safe_load((ROOT / "crds/environments.innervate.dev.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    case = golden("minimal")
    most = {name: field["maximum"] for name, field in schema["properties"].items() if "maximum" in field}
    assert {
        "capacity",
        "instancesPerProcess",
        "leaseSeconds",
        "maxEpisodeSteps",
        "stepSeconds",
    } <= most.keys()
    case["resource"]["spec"] |= most
    server_config(case)


def test_changed_tasks_reach_all_pods() -> None:
    case = golden("typical")

    def template() -> dict[str, Any]:
        return planned(case)["Deployment environment"]["spec"]["template"]

    before = template()
    assert template() == before
    case["cluster"][0]["metadata"]["resourceVersion"] = "4713"
    assert template()["metadata"]["annotations"] != before["metadata"]["annotations"]
    assert template()["spec"] == before["spec"]


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,120}[a-z0-9])?", fullmatch=True))
def test_names_of_children_are_labels_and_differ(name: str) -> None:
    names = Names.of(name)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", each) for each in names)
    assert len(set(names)) == len(names)


def test_what_a_server_tells_is_understood() -> None:
    case = golden("ready")
    environment = Environment.model_validate(case["resource"])
    (probe,) = ROOM.probes(environment, ROOM.observe(environment, Cluster(case["cluster"]), {}))
    assert isinstance(probe, Probe)
    assert probe.server_name == "cartpole-environment.shop.svc"
    chain = env_pb2.Chain(environment="sha256:e", rewards="sha256:r")
    answer = env_pb2.DescribeResponse(
        id="CartPole-v1", chain=chain, capacity=16, free=3, training_tasks=5, evaluation_tasks=2
    )
    assert probe.decode(answer.SerializeToString()) == {
        "id": "CartPole-v1",
        "chain": {"environment": "sha256:e", "image": "", "rewards": "sha256:r", "tasks": ""},
        "capacity": 16,
        "free": 3,
        "training": 5,
        "evaluation": 2,
    }


@pytest.mark.parametrize(
    "told",
    [
        {"id": "x" * 257},
        {"chain": env_pb2.Chain(tasks="x" * 81)},
        {"chain": env_pb2.Chain(image="x" * 81)},
        {"capacity": -1},
        {"free": -1},
        {"training_tasks": -1},
        {"evaluation_tasks": -1},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_no_status_can_hold_is_no_description(told: dict[str, Any]) -> None:
    case = golden("ready")
    environment = Environment.model_validate(case["resource"])
    (probe,) = ROOM.probes(environment, ROOM.observe(environment, Cluster(case["cluster"]), {}))
    assert isinstance(probe, Probe)
    with pytest.raises(ValueError, match="description"):
        probe.decode(env_pb2.DescribeResponse(**told).SerializeToString())


def test_a_broken_task_is_told_in_the_servers_own_words(tmp_path: Path) -> None:
    case = golden("tasks_refused")
    text = planned(case)["ConfigMap config"]["data"]["config.json"]
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_text(
        '{"id": "a", "input": "x", "expected": ["x"]}\n{"id": "b", "input": 7, "expected": ["y"]}\n'
    )
    told = json.loads(text)
    told["environment"]["source"]["tasks"]["path"] = str(tasks)
    (tmp_path / "config.json").write_text(json.dumps(told))
    ended = subprocess.run(
        [sys.executable, "-m", "innervate_environments"],
        env={**os.environ, "INNERVATE_CONFIG": str(tmp_path / "config.json")},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    last = case["cluster"][-1]["status"]["containerStatuses"][0]["lastState"]["terminated"]
    last |= {"exitCode": ended.returncode, "message": ended.stderr}
    environment = Environment.model_validate(case["resource"])
    observed = ROOM.observe(environment, Cluster(case["cluster"]), {})
    ready = ROOM.status(
        environment, observed, ROOM.plan(environment, observed, CONFIG, NOW), (), NOW
    ).condition("Ready")
    assert ready is not None
    assert ready.reason == "SourceRefused"
    assert "line 2: input = 7" in ready.message


class Life:
    """One Environment, its status written as the runtime does: only where it differs."""

    def __init__(self) -> None:
        self.case = golden("ready")
        self.manifest = copy.deepcopy(self.case["resource"])
        self.written: list[EnvironmentStatus] = []

    def visit(
        self, *, seconds: float, free: int | None = None, objects: list[Any] | None = None
    ) -> float | None:
        now = NOW + timedelta(seconds=seconds)
        environment = Environment.model_validate(self.manifest)
        told = copy.deepcopy(self.case["probes"]["describe/p1"]["value"])
        answers = {}
        if free is not None:
            answers = {"describe/p1": ProbeResult(time=now, value=told | {"free": free})}
        found = Cluster(self.case["cluster"] if objects is None else objects)
        observed = ROOM.observe(environment, found, answers)
        plan = ROOM.plan(environment, observed, CONFIG, now)
        status = ROOM.status(environment, observed, plan, (), now)
        previous = environment.status.conditions if environment.status else ()
        conditions = merge(previous, status.conditions, generation=1, now=now)
        status = status.model_copy(update={"conditions": conditions})
        if status != environment.status:
            self.written.append(status)
            self.manifest["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        return plan.requeue_after


def test_a_start_is_two_writes() -> None:
    life = Life()
    young = copy.deepcopy(golden("starting")["cluster"])
    young[-1]["metadata"]["creationTimestamp"] = NOW.isoformat()
    life.visit(seconds=0, objects=[])
    life.visit(seconds=1, objects=young)
    life.visit(seconds=3)
    life.visit(seconds=4, free=16)
    assert life.visit(seconds=20, free=16) is None, "nothing is left to be done"
    assert len(life.written) == 2
    assert [condition.status for condition in life.written[-1].conditions] == ["True"] * 4


def test_slots_are_counted_once_a_minute() -> None:
    life = Life()
    told = []
    for seconds in range(0, 181, 15):
        life.visit(seconds=seconds, free=16 - seconds // 15)
        told.append(life.written[-1].free)
    assert told == [16] * 4 + [12] * 4 + [8] * 4 + [4]
    assert len(life.written) == 4
    assert life.visit(seconds=190, free=2) == 60, "it looks again, as the last count is not the last word"


def test_a_server_that_is_gone_for_a_moment_keeps_its_description() -> None:
    life = Life()
    life.visit(seconds=0, free=16)
    life.visit(seconds=30, objects=golden("no_pod_is_ready")["cluster"])
    last = life.written[-1]
    assert last.id == "CartPole-v1"
    assert last.chain is not None
    assert (last.capacity, last.free) == (16, 16)
    ready = last.condition("Ready")
    assert ready is not None
    assert ready.status == "False"
