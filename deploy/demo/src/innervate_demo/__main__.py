"""``python -m innervate_demo``: remember conversations, kill the pods, recall in a later session."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from innervate import InnervateError, MemoryClient, NewRecord, RecordKind, setup_tracing
from innervate.forward import PortForward
from innervate.kubectl import Kubectl
from innervate.tracing import traceparent, tracer
from innervate_local.cluster import Cluster
from innervate_local.errors import LocalError
from innervate_local.progress import say, step
from rich.console import Console
from rich.table import Table

from innervate_demo import stage, story

if TYPE_CHECKING:
    from innervate import SearchHit
    from innervate_local.places import Place

    from innervate_demo.story import Question

NAMESPACE, STORE, ACCOUNT = "innervate-demo", "greenhouse", "assistant"
_SELECTOR = "app.kubernetes.io/part-of=innervate"
_REPLACED_S = 120
_PEOPLE = """\
apiVersion: v1
kind: Namespace
metadata: {name: innervate-demo}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: assistant, namespace: innervate-demo}
---
"""


def main() -> int:
    """Play the demonstration.

    Returns
    -------
    int
        0 when every question was answered from memory, 1 when not.
    """
    started = time.monotonic()
    try:
        place = stage.find()
        _declare(place)
        answered = _play(place)
    except (LocalError, InnervateError) as error:
        say(f"the demonstration cannot go on: {error}")
        return 1
    say(f"done in {time.monotonic() - started:.0f} s; `make down` removes everything")
    say(f"look around: export KUBECONFIG={place.kubeconfig}")
    return 0 if answered else 1


def _declare(place: Place) -> None:
    say(f"$ kubectl apply -f - <<EOF\n{story.manifest()}EOF")
    with step("apply → Ready"):
        place.kubectl("apply", "--server-side", "-f", "-", stdin=_PEOPLE + story.manifest())
        place.kubectl(
            *("wait", "-n", NAMESPACE, f"memorystore/{STORE}"),
            *("--for=condition=Ready", "--timeout=180s"),
        )


def _play(place: Place) -> bool:
    traced = isinstance(place, Cluster)
    with MemoryClient.from_kubernetes(STORE, namespace=NAMESPACE, service_account=ACCOUNT) as memory:
        turns = story.turns()
        with step(f"remembering {len(turns)} utterances of three conversations"):
            memory.put_all(_records(), space=story.SPACE)
        with step("killing every pod of the store, until new ones are ready"):
            _replace_pods(place)
        if not traced:
            return _ask(memory)
        telemetry = Kubectl(namespace="innervate-observability")
        with PortForward(telemetry, "innervate-telemetry", 4317) as forward:
            flush = setup_tracing(f"http://127.0.0.1:{forward.port}", service_name="innervate-demo")
            with tracer().start_as_current_span("a later session") as span:
                trace = traceparent(span).split("-")[1]
                answered = _ask(memory)
            flush()
    stage.innervate("trace", "show", trace)
    stage.innervate("trace", "show", f"memorystore/{STORE}", "--namespace", NAMESPACE)
    return answered


def _replace_pods(place: Place) -> None:
    """Kill the pods at once and wait for others: what is recalled later comes from the disk.

    Raises
    ------
    LocalError
        When new pods are not ready in time.
    """
    before = _pods(place)
    place.kubectl(*("delete", "pods", "-n", NAMESPACE, "-l", _SELECTOR), *("--grace-period=0", "--force"))
    deadline = time.monotonic() + _REPLACED_S
    while True:
        now = _pods(place)
        if len(now) == len(before) and all(now.values()) and not now.keys() & before.keys():
            return
        if time.monotonic() > deadline:
            raise LocalError(f"new pods are not ready; see: kubectl get pods -n {NAMESPACE}")
        time.sleep(0.25)


def _pods(place: Place) -> dict[str, bool]:
    """Whether each pod of the store is ready, by UID."""
    listed = place.kubectl("get", "pods", "-n", NAMESPACE, "-l", _SELECTOR, "--output=json")
    return {
        pod["metadata"]["uid"]: any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod["status"].get("conditions", ())
        )
        for pod in json.loads(listed)["items"]
    }


def _records() -> list[NewRecord]:
    return [
        NewRecord(
            text=f"{turn.speaker}: {turn.text}",
            kind=RecordKind.TURN,
            key=f"turn-{number}",
            session_id=turn.session,
            user_id=turn.user,
        )
        for number, turn in enumerate(story.turns())
    ]


def _ask(memory: MemoryClient) -> bool:
    """Ask every question, show what is recalled, and tell whether each answer was among it."""
    table = Table("asked in a later session", "recalled", "said on", title="What the store remembers")
    answered = True
    with step("asking"):
        for question in story.questions():
            hits = memory.search(question.question, space=story.SPACE, limit=3)
            found = _answering(question, hits)
            answered = answered and found is not None
            shown = found.record if found else None
            table.add_row(
                question.question,
                shown.text if shown else "[red]not recalled",
                shown.session_id if shown else "",
            )
    Console().print(table)
    return answered


def _answering(question: Question, hits: tuple[SearchHit, ...]) -> SearchHit | None:
    return next((hit for hit in hits if question.answer in hit.record.text), None)


if __name__ == "__main__":
    sys.exit(main())
