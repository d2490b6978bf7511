"""An EvalJob on a real cluster: what it waits for, a runner killed half-way, and the report in the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from innervate_local import images

if TYPE_CHECKING:
    from command import Innervate

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

POOL, JOB, QUESTIONS, PARALLELISM = "sums", "exam", 120, 2
ENGINE = """
import json, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        text = body["messages"][0]["content"]
        print("asked", text, flush=True)
        time.sleep(10 if len(text) > 5 else 0.1)
        said = str(sum(map(int, text.split("+"))))
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        answer = json.dumps({"object": "chat.completion", "choices": [message], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""


def engine(namespace: str) -> list[dict[str, Any]]:
    """A server with OpenAI's interface that adds up."""
    labels = {"app": "adder"}
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "adder",
        "image": images.BASE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", ENGINE],
        "securityContext": security,
    }
    metadata = {"name": "adder", "namespace": namespace}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**metadata, "labels": labels},
            "spec": {"automountServiceAccountToken": False, "containers": [container]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 8000}]},
        },
    ]


def pool(namespace: str) -> dict[str, Any]:
    external = {"url": f"http://adder.{namespace}:8000", "model": "adder"}
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "InferencePool",
        "metadata": {"name": POOL, "namespace": namespace},
        "spec": {
            "model": {"name": POOL},
            "variants": [{"name": "adder", "engine": "External", "external": external}],
            "gateway": {"replicas": 1, "admission": {"deadlineSeconds": 30}},
            "exchangeLog": {"redis": {"size": "64Mi", "memory": "64Mi"}, "reclaimPolicy": "Delete"},
        },
    }


def questions(namespace: str, numbers: range, name: str = "golden") -> dict[str, Any]:
    """Sums, of which the engine takes long for those above 999."""
    lines = [
        json.dumps({"id": f"q{number}", "input": f"{number}+1", "expected": str(number + 1)})
        for number in numbers
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"golden.jsonl": "\n".join(lines)},
    }


def job(namespace: str, name: str = JOB, dataset: str = "golden") -> dict[str, Any]:
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "EvalJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "target": {"inferencePoolRef": {"name": POOL}},
            "baseline": {"value": "0.90"},
            "dataset": {"configMapRef": {"name": dataset, "key": "golden.jsonl"}},
            "scorers": [{"name": "sum", "type": "Numeric"}],
            "gate": {"metric": "sum", "test": "NonInferior", "margin": "0.02"},
            "run": {"parallelism": PARALLELISM},
            "storage": {"size": "64Mi"},
        },
    }


def test_a_killed_runner_is_replaced_and_asks_nothing_again(lab: Lab, innervate: Innervate) -> None:
    with lab.namespace("evaluation") as namespace:

        def waits_for(reason: str, *, seconds: float = 60) -> str:
            def told() -> str:
                found = lab.condition("evaljob", JOB, "Succeeded", namespace)
                return found["message"] if found.get("reason") == reason else ""

            return lab.eventually(told, seconds=seconds)

        def asked() -> list[str]:
            log = lab.kubectl("logs", "-n", namespace, "adder")
            return [line for line in log.splitlines() if line.startswith("asked ")]

        lab.apply(job(namespace))
        assert f"InferencePool {POOL!r}" in waits_for("PoolNotFound")
        lab.apply(*engine(namespace), pool(namespace))
        assert "kubectl create" in waits_for("DatasetNotFound")
        lab.apply(questions(namespace, range(QUESTIONS)))
        waits_for("Running", seconds=240)

        lab.eventually(lambda: len(asked()) >= QUESTIONS // 4, seconds=240, every=1)
        runner = "app.kubernetes.io/component=runner"
        lab.kubectl("delete", "pods", "-n", namespace, "-l", runner, "--grace-period=1", "--wait=false")
        waits_for("Completed", seconds=240)

        status = (lab.read("evaljob", JOB, namespace) or {})["status"]
        assert status["verdict"] == "Passed"
        assert status["counts"] == {"samples": QUESTIONS, "answered": QUESTIONS, "errors": 0}
        assert lab.condition("evaljob", JOB, "Passed", namespace)["status"] == "True"
        times = asked()
        assert len(set(times)) == QUESTIONS
        assert len(times) <= QUESTIONS + PARALLELISM, "only what was under way may be asked twice"

        shown = innervate("eval", "report", JOB, "-n", namespace)
        assert f"{JOB}: Passed" in shown.stdout
        report = innervate("eval", "report", JOB, "-n", namespace, "--file", "json")
        assert report.returncode == 0, report.stderr
        assert json.loads(report.stdout)["verdict"] == "Passed"
        samples = innervate("eval", "report", JOB, "-n", namespace, "--file", "samples")
        assert len(samples.stdout.splitlines()) == QUESTIONS + 1

        slow = range(10_000, 10_040)
        lab.apply(questions(namespace, slow, "slow"), job(namespace, "slow", "slow"))
        progress = lab.eventually(
            lambda: ((lab.read("evaljob", "slow", namespace) or {}).get("status") or {}).get("progress"),
            seconds=150,
        )
        assert progress["total"] == len(slow)
        assert progress["errors"] == 0
