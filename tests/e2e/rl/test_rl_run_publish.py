"""A language model improved through the environment's service, published by its run, and served by a pool."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import letter_model
import pytest
from innervate import ChatClient, jaeger
from innervate_rl.grpo.puzzles import puzzles

from tests.e2e.edges import EDGES
from tests.e2e.edges import read as read_trace

if TYPE_CHECKING:
    from pathlib import Path

    from command import Innervate

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CLAIM, BASE, PRACTISED = "models", "base", "practised"
GROUP = "innervate.dev/v1alpha1"
SPLITS = {"training": 12, "evaluation": 8}


def made(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": GROUP,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def tasks() -> str:
    """Numbers to be written backwards, one JSON object a line."""
    lines = []
    for split, count in SPLITS.items():
        for number, puzzle in enumerate(itertools.islice(puzzles("reversal", split, seed=0), count)):
            task = {"id": f"{split}-{number}", "input": puzzle.prompt, "expected": [puzzle.answer]}
            lines.append(json.dumps({**task, "split": split}))
    return "\n".join(lines) + "\n"


def declared(namespace: str) -> list[dict[str, Any]]:
    """A volume for models, tasks to practise on, and the run."""
    dataset = {"configMapRef": {"name": "tasks", "key": "tasks.jsonl"}}
    rewards = [{"name": "exact", "scorer": {"type": "Exact"}}]
    resources = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "3Gi"}}
    run = {
        "environmentRef": {"name": "reversal"},
        "policy": {"releaseRef": {"name": BASE}},
        "algorithm": {
            "name": "GRPO",
            "hyperparameters": {"prompts": "4", "group": "4", "promptTokens": "96", "answerTokens": "6"},
        },
        "engine": {"builtin": {"resources": resources}},
        "budget": {"steps": 48, "seconds": 1800},
        "checkpoint": {"everySteps": 16},
        "storage": {"size": "256Mi"},
        "experience": {"keep": "All", "maxEpisodes": 1000},
        "seeds": 2,
        # The way is tried here, not the learning: a model that says one letter answers nothing right.
        "gate": {"threshold": "-1", "episodes": SPLITS["evaluation"]},
        "publish": {
            "releaseName": PRACTISED,
            "uri": f"pvc://{CLAIM}",
            "signing": {"secretKeyRef": {"name": "release-signer", "key": "key.pem"}},
        },
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "tasks", "namespace": namespace},
            "data": {"tasks.jsonl": tasks()},
        },
        made(
            "Environment",
            "reversal",
            namespace,
            {"source": {"tasks": {"dataset": dataset}}, "rewards": rewards, "capacity": 64},
        ),
        made("RLRun", "practice", namespace, run),
    ]


def pool(namespace: str) -> dict[str, Any]:
    spec = {
        "model": {"name": "assistant", "releaseRef": {"name": PRACTISED}},
        "variants": [{"name": "cpu", "engine": "LlamaCpp", "contextSize": 256}],
        "gateway": {"admission": {"deadlineSeconds": 30}},
        "exchangeLog": {"redis": {"size": "64Mi", "memory": "64Mi"}, "reclaimPolicy": "Delete"},
    }
    return made("InferencePool", "assistant", namespace, spec)


def look_from_a_laptop(innervate: Innervate, namespace: str, directory: Path) -> None:
    """Ask the command for all that a run that has ended can show."""
    watched = innervate("rl", "watch", "practice", "-o", "json", "-n", namespace)
    assert watched.returncode == 0, watched.stderr
    shown = innervate("rl", "report", "practice", "-n", namespace)
    assert "GatePassed" in shown.stdout, (shown.stdout, shown.stderr)
    page = innervate("rl", "report", "practice", "--file", "html", "-n", namespace)
    assert page.stdout.startswith("<!doctype html>"), (page.stdout[:200], page.stderr)
    told = innervate("rl", "export", "practice", "--to", str(directory / "experience"), "-n", namespace)
    assert told.returncode == 0, told.stderr
    assert list((directory / "experience").rglob("curation.json"))


def test_a_run_publishes_what_a_pool_serves(lab: Lab, innervate: Innervate, tmp_path: Path) -> None:
    with lab.namespace("publish") as namespace:
        where = ("-n", namespace)
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "128Mi"}}},
        }
        lab.apply(claim)
        assert innervate("release", "keygen", *where).returncode == 0
        directory = letter_model.write(tmp_path / "base", "z", context=256)
        to = ("--to", f"pvc://{CLAIM}", "--name", BASE, "--signer", "release-signer")
        pushed = innervate("release", "push", str(directory), *to, *where)
        assert pushed.returncode == 0, (pushed.stderr, lab.story(namespace))
        lab.apply(*declared(namespace))

        def read() -> dict[str, Any]:
            found: dict[str, Any] = (lab.read("rlrun", "practice", namespace) or {}).get("status", {})
            return found

        lab.eventually(lambda: "endTime" in read(), seconds=600, every=1)
        status = read()
        ended = lab.condition("rlrun", "practice", "Succeeded", namespace)
        assert (ended["status"], ended["reason"]) == ("True", "GatePassed"), (ended, lab.story(namespace))
        assert status["release"] == PRACTISED

        base = (lab.read("modelrelease", BASE, namespace) or {})["status"]
        release = (lab.read("modelrelease", PRACTISED, namespace) or {})["status"]
        assert release["verified"] is True
        assert release["parents"] == [base["digest"]]
        assert release["digest"] == status["seeds"][status["bestSeed"]]["release"]

        job = lab.read("job", "practice-rlrun-0", namespace) or {}
        (trainer,) = job["spec"]["template"]["spec"]["containers"]
        parent = next(each["value"] for each in trainer["env"] if each["name"] == "TRACEPARENT")
        read_trace(lab, jaeger.trace_id(parent), EDGES["rl run"])
        look_from_a_laptop(innervate, namespace, tmp_path)

        lab.apply(pool(namespace))
        lab.ready("inferencepools.innervate.dev", "assistant", namespace, seconds=240)
        with ChatClient.from_kubernetes(
            "assistant", namespace=namespace, kubeconfig=str(lab.cluster.kubeconfig)
        ) as client:
            answer = client.chat("Reverse 123.", max_tokens=4)
        assert (answer.release, answer.text) == (PRACTISED, "zzzz")
