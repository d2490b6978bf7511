"""Environments on a real cluster: practised in from pods, closed to strangers, healed, plain about errors."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from innervate_local import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

EXAMPLES = Path(__file__).parents[3] / "deploy/examples/environment"
SERVERS = "app.kubernetes.io/component=environments"
IMAGE = f"innervate/environments:{images.VERSION}"
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
OPENING = """
import json, sys, time
import numpy as np
from innervate_environments.client import EnvironmentLost, EnvironmentRefused, VectorEnvironment
ENDPOINT = sys.argv[1]
"""
WALK = """
def walk():
    with VectorEnvironment.open(ENDPOINT, slots=4) as environment:
        seen = [environment.reset(seeds=range(4)).observations]
        rewards = 0.0
        for number in range(60):
            steps = environment.step(np.arange(4) * number % 2)
            assert not steps.errors, steps.errors
            seen.append(steps.observations)
            rewards += float(steps.rewards.sum())
        return np.concatenate(seen).tobytes(), rewards
first, rewards = walk()
print(json.dumps({"same": walk()[0] == first, "rewards": rewards}))
"""
REFUSAL = """
try:
    VectorEnvironment.open(ENDPOINT, slots=1)
except EnvironmentRefused as refused:
    print(json.dumps({"refused": str(refused)}))
"""
LOSS = """
def practise():
    with VectorEnvironment.open(ENDPOINT, slots=2, timeout=20) as environment:
        environment.reset(seeds=[1, 2])
        print("practising", flush=True)
        while True:
            environment.step(np.zeros(2, int))
            time.sleep(0.1)
try:
    practise()
except EnvironmentLost as lost:
    first = str(lost)
while True:
    try:
        with VectorEnvironment.open(ENDPOINT, slots=2, timeout=20) as environment:
            steps = (environment.reset(seeds=[1, 2]), environment.step(np.zeros(2, int)))
        break
    except EnvironmentLost:
        time.sleep(1)
print(json.dumps({"lost": first, "again": not steps[0].errors and not steps[1].errors}))
"""
ANSWERS = """
with VectorEnvironment.open(ENDPOINT, slots=3, autoreset=False) as environment:
    begun = environment.reset(options={"task": 0, "split": "training"})
    steps = environment.step(["elppa", "It is elppa.", "Elppa"])
    print(json.dumps({
        "asked": list(begun.observations), "errors": {at: each.message for at, each in steps.errors.items()},
        "rewards": steps.rewards.tolist(), "ended": steps.terminated.tolist(),
        "named": [steps.named[at].values for at in range(3)],
        "tasks": [environment.describe.training_tasks, environment.describe.evaluation_tasks],
    }))
"""


KNOCK = """
import socket, sys
host, port = sys.argv[1:] or ADDRESS
try:
    socket.create_connection((host, int(port)), timeout=4).close()
    said = "open"
except OSError as error:
    said = f"closed: {error}"
print(said)
"""


def example(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    manifest["metadata"]["namespace"] = namespace
    manifest["spec"] |= spec
    return manifest


def tasks(namespace: str, lines: str) -> dict[str, Any]:
    metadata = {"name": "reversal", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"tasks.jsonl": lines}}


class Practice:
    """Pods of a namespace that use an environment there, as trainers do."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self.lab = lab
        self.namespace = namespace

    def begin(self, program: str, environment: str, account: str = "default") -> str:
        """Start a program in a pod; gives its name."""
        name = f"practice-{uuid.uuid4().hex[:6]}"
        endpoint = (self.lab.read("environment", environment, self.namespace) or {})["status"]["endpoint"]
        token = {"audience": "innervate", "expirationSeconds": 3600, "path": "token"}
        container = {
            "name": "practice",
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", OPENING + program, endpoint],
            "securityContext": SECURITY,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "trust", "mountPath": "/etc/innervate/trust", "readOnly": True},
                {"name": "token", "mountPath": "/var/run/secrets/innervate", "readOnly": True},
            ],
        }
        volumes = [
            {"name": "trust", "configMap": {"name": f"{environment}-environment-trust"}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        ]
        self.lab.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": account,
                    "automountServiceAccountToken": False,
                    "containers": [container],
                    "volumes": volumes,
                },
            }
        )
        return name

    def log(self, name: str) -> list[str]:
        """What the program has written so far; nothing before it runs."""
        pod = self.lab.read("pod", name, self.namespace) or {"status": {"phase": "Pending"}}
        if pod["status"]["phase"] == "Pending":
            return []
        return self.lab.kubectl("logs", name, "-n", self.namespace).splitlines()

    def end(self, name: str, *, seconds: float = 240) -> dict[str, Any]:
        """Wait for the end; gives the last line that the program has written."""

        def ended() -> str:
            pod = self.lab.read("pod", name, self.namespace) or {}
            phase: str = pod.get("status", {}).get("phase", "")
            return phase if phase in {"Succeeded", "Failed"} else ""

        phase = self.lab.eventually(ended, seconds=seconds, every=1)
        lines = self.log(name)
        assert phase == "Succeeded", lines[-20:]
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def run(self, program: str, environment: str, account: str = "default") -> dict[str, Any]:
        """Run a program to its end."""
        return self.end(self.begin(program, environment, account))


@pytest.fixture(scope="module")
def practice(lab: Lab) -> Iterator[Practice]:
    """A namespace with an account that may practise with a pole and one that may not."""
    with lab.namespace("practice") as namespace:
        for name in ("trainer", "stranger"):
            metadata = {"name": name, "namespace": namespace}
            lab.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        yield Practice(lab, namespace)


@pytest.fixture(scope="module")
def cartpole(lab: Lab, practice: Practice) -> str:
    """A pole that the account `trainer` may practise with, Ready."""
    access = [{"serviceAccounts": [{"name": "trainer"}]}]
    lab.apply(example("minimal", practice.namespace, access=access))
    lab.ready("environment", "cartpole", practice.namespace, seconds=240)
    return "cartpole"


def test_a_pole_is_practised_with_and_strangers_are_refused(
    lab: Lab, practice: Practice, cartpole: str
) -> None:
    namespace = practice.namespace
    status = (lab.read("environment", cartpole, namespace) or {})["status"]
    assert status["endpoint"] == f"grpcs://cartpole-environment.{namespace}.svc:7443"
    assert status["id"] == "CartPole-v1"
    assert (status["capacity"], status["free"]) == (16, 16)
    assert status["chain"]["environment"].startswith("sha256:")

    stranger = practice.begin(REFUSAL, cartpole, "stranger")
    walked = practice.run(WALK, cartpole, "trainer")
    assert walked["same"], "the same seeds and actions lead to the same observations"
    assert walked["rewards"] == 240
    assert "stranger" in practice.end(stranger)["refused"]


def test_only_who_may_call_gets_through_and_nothing_gets_out(
    lab: Lab, practice: Practice, cartpole: str
) -> None:
    (pod,) = lab.pods(practice.namespace, f"{SERVERS},app.kubernetes.io/instance={cartpole}")
    address = (pod["status"]["podIP"], 7443)
    program = f"ADDRESS = {address!r}\n{KNOCK}\nopen('/dev/termination-log', 'w').write(said)"

    def knock(namespace: str) -> str:
        ended = lab.run_pod(namespace, program, labels={})["status"]["containerStatuses"][0]["state"]
        log: str = ended["terminated"]["message"]
        return log

    assert knock(practice.namespace).startswith("open")
    with lab.namespace("elsewhere") as elsewhere:
        assert knock(elsewhere).startswith("closed")

    inside = ("exec", pod["metadata"]["name"], "-n", practice.namespace, "-c", "environments", "--")
    python = (*inside, "python3", "-c", KNOCK)
    assert lab.kubectl(*python, "innervate-identity.innervate-system.svc", "7443").startswith("open")
    assert lab.kubectl(*python, "kubernetes.default.svc", "443").startswith("closed")


def test_a_killed_server_is_replaced_and_its_callers_know(
    lab: Lab, practice: Practice, cartpole: str
) -> None:
    caller = practice.begin(LOSS, cartpole, "trainer")
    lab.eventually(lambda: "practising" in practice.log(caller), seconds=240, every=1)
    lab.kill_pods(practice.namespace, f"{SERVERS},app.kubernetes.io/instance={cartpole}")
    told = practice.end(caller)
    assert told["lost"]
    assert told["again"]
    lab.ready("environment", cartpole, practice.namespace, seconds=240)


def test_tasks_are_verified_and_wrong_ones_are_told(lab: Lab, practice: Practice) -> None:
    namespace = practice.namespace

    def told(reason: str) -> str:
        def message() -> str:
            found = lab.condition("environment", "reversal", "Ready", namespace)
            return found["message"] if found.get("reason") == reason else ""

        words: str = lab.eventually(message, seconds=240)
        return words

    lab.apply(example("typical", namespace))
    assert "kubectl create" in told("DatasetNotFound")
    lines = (EXAMPLES / "tasks.jsonl").read_text()
    lab.apply(tasks(namespace, lines.replace('"input"', '"inptu"', 1)))
    assert "line 1: input" in told("SourceRefused")
    lab.apply(tasks(namespace, lines))
    lab.ready("environment", "reversal", namespace, seconds=240)
    status = (lab.read("environment", "reversal", namespace) or {})["status"]
    assert status["tasks"] == {"training": 16, "evaluation": 4}

    found = practice.run(ANSWERS, "reversal")
    assert found["errors"] == {}
    assert found["asked"] == ["Spell apple backwards."] * 3
    assert found["rewards"] == [1, 0, 0]
    assert found["ended"] == [True] * 3
    assert found["named"] == [
        {"exact": 1, "mentions": 1, "exact-any-case": 1},
        {"exact": 0, "mentions": 1, "exact-any-case": 0},
        {"exact": 0, "mentions": 0, "exact-any-case": 1},
    ]
    assert found["tasks"] == [16, 4]
