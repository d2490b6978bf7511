"""What each room plans and tells in each situation, as committed pairs of files.

An input is a resource, the cluster around it, and what the probes answered; the output is the status and,
where the input says ``show: plan``, the plan. ``INNERVATE_UPDATE_GOLDEN=1 pytest tests/golden`` writes the
outputs anew: read the difference before you commit it.
"""

from __future__ import annotations

import os
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_kinds.api.kind import Reference
from innervate_kinds.api.plan import Child, Failure, Generated, Plan
from innervate_kinds.api.reader import AnyProbe, Probe, ProbeResult
from innervate_kinds.registry import ROOMS
from kinds_cluster import CONFIG, KINDS, Cluster

HERE = Path(__file__).parent
INPUTS = sorted((HERE / "input").glob("*/*.yaml"))
UPDATE = os.environ.get("INNERVATE_UPDATE_GOLDEN") == "1"


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, represent_text)
Dumper.add_representer(
    Generated, lambda dumper, value: dumper.represent_scalar("!generated", str(value.length))
)


def outcome(case: dict[str, Any]) -> str:
    manifest = case["resource"]
    room = next(room for room in ROOMS if room.kind.kind == manifest["kind"])
    now = datetime.fromisoformat(case["now"])
    resource = room.model.model_validate(manifest)
    probes = {
        name: ProbeResult(**{**result, "time": datetime.fromisoformat(result["time"])})
        for name, result in case.get("probes", {}).items()
    }
    failures = [
        Failure(
            Reference(KINDS[failure["kind"]], resource.metadata.namespace, failure["name"]),
            failure["reason"],
            failure["message"],
            failure["permanent"],
        )
        for failure in case.get("failures", [])
    ]
    observed = room.observe(resource, Cluster(case.get("cluster", [])), probes)
    plan = room.plan(resource, observed, CONFIG, now)
    status = room.status(resource, observed, plan, failures, now)
    result: dict[str, Any] = {"status": status.model_dump(mode="json", by_alias=True, exclude_none=True)}
    result["asked"] = [
        f"{asked(probe)} every {probe.interval_seconds} s" for probe in room.probes(resource, observed)
    ]
    for condition in result["status"]["conditions"]:
        del condition["observedGeneration"]  # stamped by the runtime
    if case.get("show") == "plan":
        result["plan"] = shown(plan)
    else:
        result["planned"] = [str(Reference.of(child.kind, child.manifest)) for child in plan.apply]
        result["deleted"] = [str(reference) for reference in plan.delete]
        result["requeueAfter"] = plan.requeue_after
    return yaml.dump(result, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True)


def asked(probe: AnyProbe) -> str:
    return probe.target if isinstance(probe, Probe) else f"http://{probe.address}:{probe.port}{probe.path}"


def shown(plan: Plan) -> dict[str, Any]:
    values = {field.name: getattr(plan, field.name) for field in fields(plan)}
    patches = [each.manifest for each in values.pop("patches")]
    return {
        **({"patches": patches} if patches else {}),
        **values,
        "apply": [child(each) for each in plan.apply],
        "ensure": [child(each) for each in plan.ensure],
        "delete": [str(reference) for reference in plan.delete],
        "notes": [f"{note.topic}: {note.text}" for note in plan.notes],
    }


def child(each: Child) -> dict[str, Any]:
    flags = {name: getattr(each, name) for name in ("owned", "adopt", "scaled")}
    return {**flags, "manifest": each.manifest}


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_outcome_is_as_committed(path: Path) -> None:
    output = HERE / "output" / path.relative_to(HERE / "input")
    text = outcome(yaml.safe_load(path.read_text()))
    if UPDATE:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
    assert text == output.read_text(), "if this is meant: INNERVATE_UPDATE_GOLDEN=1 pytest tests/golden"


def test_each_output_has_its_input() -> None:
    outputs = {path.relative_to(HERE / "output") for path in (HERE / "output").glob("*/*.yaml")}
    assert outputs == {path.relative_to(HERE / "input") for path in INPUTS}
