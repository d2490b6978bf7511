"""The command without a cluster: plans, errors and what they end with."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from innervate import InvalidArgument, NewRecord, RecordKind, imports
from innervate.cli import output
from innervate.cli.output import Exit

if TYPE_CHECKING:
    from command import Innervate


EXAMPLES = Path(__file__).resolve().parents[3] / "deploy" / "examples"
HEAD = "apiVersion: innervate.dev/v1alpha1\n"
STORE = HEAD + "kind: MemoryStore\nmetadata: {name: support, namespace: shop}\nspec: {}\n"


def test_plan_shows_children_permissions_egress_and_cost(innervate: Innervate) -> None:
    done = innervate("plan", "-f", "-", stdin=STORE)
    assert done.returncode == Exit.OK, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "MemoryStore shop/support  -:1"
    assert "├── + StatefulSet support-memorystore-redis  replicas 1, innervate/redis:0.1.0" in done.stdout
    assert "1Gi, stays when the resource is deleted" in done.stdout
    assert "created once if absent, then left alone and never read" in done.stdout
    assert {"Permissions", "Egress", "Cost"} <= set(rest)


def test_plan_prints_manifests_without_secrets(innervate: Innervate) -> None:
    done = innervate("plan", "-f", "-", "-o", "yaml", stdin=STORE)
    kinds = [manifest["kind"] for manifest in yaml.safe_load_all(done.stdout)]
    assert "Deployment" in kinds
    assert "Secret" not in kinds
    assert done.stdout.startswith("# Secret shop/support-memorystore-redis")


def test_plan_prints_json(innervate: Innervate) -> None:
    (planned,) = json.loads(innervate("plan", "-f", "-", "-o", "json", stdin=STORE).stdout)
    assert (planned["kind"], planned["namespace"], planned["name"]) == ("MemoryStore", "shop", "support")
    assert {child["kind"] for child in planned["apply"]} >= {"Deployment", "StatefulSet", "Service"}
    assert planned["ensure"][0]["kind"] == "Secret"


def test_plan_ends_with_1_and_all_problems(innervate: Innervate) -> None:
    wrong = STORE.replace("spec: {}", "spec: {storge: {}, service: {replicas: 0}}")
    done = innervate("plan", "-f", "-", stdin=wrong + "---\n" + wrong)
    assert done.returncode == Exit.FAILED
    assert done.stdout == ""
    assert done.stderr.count("did you mean storage?") == 2
    assert done.stderr.endswith("error: 4 problems found; nothing would be applied\n")


def test_plan_takes_pools_from_the_same_files(innervate: Innervate) -> None:
    placed = STORE.replace("spec: {}", "spec: {service: {placement: {computePoolRef: {name: edge}}}}")
    pool = HEAD + "kind: ComputePool\nmetadata: {name: edge}\nspec: {class: edge, costPerHour: '2.49'}\n"
    alone = innervate("plan", "-f", "-", stdin=placed)
    together = innervate("plan", "-f", "-", stdin=f"{placed}---\n{pool}")
    assert "! " in alone.stdout
    assert "Deployment" not in alone.stdout
    assert "Deployment" in together.stdout
    assert "2.49 per hour" in together.stdout


def test_plan_reads_every_example(innervate: Innervate) -> None:
    folders = [folder for folder in EXAMPLES.iterdir() if folder.is_dir()]
    assert folders
    for folder in folders:
        done = innervate("plan", "-f", str(folder))
        assert done.returncode == Exit.OK, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["plan", "-f", "nowhere.yaml"], Exit.FAILED, "nowhere.yaml cannot be read"),
        (["plan"], Exit.USAGE, "Missing option"),
        (["get", "memorystroe"], Exit.FAILED, "did you mean memorystore?"),
        (["get"], Exit.FAILED, "current-context"),
        (["trace", "show", "xyz"], Exit.FAILED, "neither a traceparent nor a trace id"),
        (["memory", "forget", "store"], Exit.FAILED, "exactly one of ids, matching or everything"),
        (["memory", "forget", "store", "--everything"], Exit.FAILED, "--yes"),
        (["memory", "put", "store", "x", "--meta", "novalue"], Exit.FAILED, "KEY=VALUE"),
        (["memory", "put", "store", "x", "y", "--key", "k"], Exit.FAILED, "exactly one text"),
    ],
)
def test_mistakes_end_with_their_code_and_a_remedy(
    innervate: Innervate, arguments: list[str], code: Exit, words: str
) -> None:
    done = innervate(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_verbose_tells_where_an_error_came_from(innervate: Innervate) -> None:
    done = innervate("--verbose", "plan", "-f", "nowhere.yaml")
    assert done.returncode == Exit.FAILED
    assert "Traceback" in done.stderr


def test_a_missing_kubectl_is_told(innervate: Innervate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERVATE_KUBECTL", "/nowhere/kubectl")
    done = innervate("get", "-n", "shop")
    assert done.returncode == Exit.TOOL_MISSING
    assert "install kubectl" in done.stderr


def test_the_command_is_installed_under_both_names() -> None:
    for name in ("innervate", "kubectl-innervate"):
        command = [str(Path(sys.executable).with_name(name)), "version"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith(
            "innervate 0."
        )


def test_version_and_help(innervate: Innervate) -> None:
    assert innervate("version").stdout.startswith("innervate 0.")
    assert "innervate" in json.loads(innervate("version", "-o", "json").stdout)
    for command in ([], ["install"], ["plan"], ["apply"], ["get"], ["memory", "put"], ["trace", "show"]):
        assert innervate(*command, "--help").returncode == Exit.OK


def test_lines_become_records_with_keys_that_stay() -> None:
    lines = [
        '{"text": "a", "sessionId": "s", "kind": "fact", "ttlSeconds": 60, "metadata": {"k": "v"}}',
        "",
        '{"text": "a", "key": "own", "validFrom": "2026-01-31T08:30:00Z"}',
    ]
    defaults = NewRecord(text="", user_id="mira", session_id="default")
    first, second = imports.read(lines, "x.jsonl", defaults)
    assert (first.session_id, first.user_id, first.kind) == ("s", "mira", RecordKind.FACT)
    assert first.ttl == timedelta(seconds=60)
    assert (second.key, second.session_id) == ("own", "default")
    assert second.valid_from == datetime(2026, 1, 31, 8, 30, tzinfo=UTC)
    assert next(imports.read(lines, "y.jsonl", defaults)).key == first.key


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "x.jsonl:1: this is no JSON"),
        ("[]", "x.jsonl:1: text is required"),
        ('{"text": "a", "sesionId": "s"}', "did you mean sessionId?"),
        ('{"text": 1}', "must be text"),
        ('{"text": "a", "kind": "opinion"}', "unknown kind"),
        ('{"text": "a", "validFrom": "2026-01-31"}', "must be a time with a zone"),
        ('{"text": "a", "ttlSeconds": -1}', "must be a number of seconds"),
        ('{"text": "a", "metadata": {"k": 1}}', "mapping of text to text"),
    ],
)
def test_wrong_lines_are_named(line: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=r"x\.jsonl:1") as refused:
        list(imports.read([line], "x.jsonl", NewRecord(text="")))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (3600, "60m"), (86400, "24h"), (200_000, "2d7h")],
)
def test_ages_read_as_kubectl_writes_them(seconds: int, text: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert output.age(now - timedelta(seconds=seconds), now) == text


def test_records_cannot_act_on_the_terminal() -> None:
    assert output.shown("a\x1b[2Jb\nc") == "a\N{REPLACEMENT CHARACTER}[2Jb\nc"
