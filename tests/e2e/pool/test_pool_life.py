"""An InferencePool on a real cluster: from a pushed release to answers, and to the next release."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import letter_model
import pytest
from innervate import ChatClient

from tests.e2e.pool.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Innervate

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CLAIM, POOL, MODEL = "models", "letters", "letters"
LETTERS = {"first": "a", "second": "b"}
CONNECT = """
import socket, sys
try:
    socket.create_connection(("letters-inferencepool-cpu-first", 8080), timeout=3)
except TimeoutError:
    sys.exit("dropped")
"""


def arm(name: str, release: str, weight: int, role: str) -> dict[str, Any]:
    return {"name": name, "releaseRef": {"name": release}, "weight": weight, "role": role}


def pool(namespace: str, *traffic: dict[str, Any]) -> dict[str, Any]:
    """A pool whose engines are small and end soon."""
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "InferencePool",
        "metadata": {"name": POOL, "namespace": namespace},
        "spec": {
            "model": {"name": MODEL, "releaseRef": {"name": "first"}},
            "variants": [{"name": "cpu", "engine": "LlamaCpp", "contextSize": 1024}],
            "gateway": {"admission": {"deadlineSeconds": 30}},
            "exchangeLog": {"redis": {"size": "64Mi", "memory": "64Mi"}, "reclaimPolicy": "Delete"},
            "traffic": list(traffic),
        },
    }


@pytest.fixture
def studio(lab: Lab) -> Iterator[str]:
    """Namespace with a volume for models."""
    with lab.namespace("pool") as namespace:
        lab.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM, "namespace": namespace},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
            }
        )
        yield namespace


def routes(lab: Lab, namespace: str) -> tuple[int, int, int]:
    """Generation of the pool, and of its routes: wanted and acknowledged."""
    found = lab.read("inferencepools.innervate.dev", POOL, namespace)
    assert found is not None
    told = found["status"]["routes"]
    return found["metadata"]["generation"], told["generation"], told["acknowledged"]


def test_serves_a_release_and_changes_to_the_next_without_a_failed_request(
    lab: Lab, studio: str, innervate: Innervate, tmp_path: Any
) -> None:
    where = ("-n", studio)
    assert innervate("release", "keygen", *where).returncode == 0
    for name, letter in LETTERS.items():
        directory = letter_model.write(tmp_path / name, letter)
        to = ("--to", f"pvc://{CLAIM}", "--name", name, "--signer", "release-signer")
        pushed = innervate("release", "push", str(directory), *to, *where)
        assert pushed.returncode == 0, (pushed.stderr, lab.story(studio))

    lab.apply(pool(studio))
    lab.ready("inferencepools.innervate.dev", POOL, studio, seconds=240)
    with ChatClient.from_kubernetes(POOL, namespace=studio, kubeconfig=str(lab.cluster.kubeconfig)) as client:
        answer = client.chat("hello", max_tokens=5)
    assert (answer.text, answer.release, answer.arm) == ("aaaaa", "first", "stable")

    stranger = lab.run_pod(studio, CONNECT, labels={"app": "stranger"})
    ended = stranger["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended.get("message") == "dropped\n"

    with Caller(lab, studio, POOL, MODEL) as caller:
        caller.advance(20)
        lab.apply(pool(studio, arm("stable-2", "second", 100, "Stable")))
        lab.eventually(lambda: len(set(routes(lab, studio))) == 1, seconds=240, every=1)
        # From here on every gateway serves the second release; the first one's engines finish and go.
        settled = time.time()
        lab.eventually(
            lambda: lab.gone(studio, "app.kubernetes.io/component=engine,innervate.dev/release=first"),
            seconds=180,
            every=1,
        )
        # New pods for both: what the old ones have begun, they end.
        for name in (f"{POOL}-inferencepool", f"{POOL}-inferencepool-cpu-second"):
            lab.kubectl("rollout", "restart", "deployment", name, *where)
            lab.kubectl("rollout", "status", "deployment", name, *where, "--timeout=180s")
        caller.advance(20)
        answers = caller.finish()

    failed = [each for each in answers if each.get("status") != 200 or not each.get("whole")]
    assert not failed, (failed[:3], len(answers))
    for each in answers:
        assert each["letters"] == LETTERS[each["release"]], each
    assert answers[0]["release"] == "first"
    # The cluster's nodes share this machine's clock.
    assert {each["release"] for each in answers if each["begun"] > settled} == {"second"}
    lab.ready("inferencepools.innervate.dev", POOL, studio)
