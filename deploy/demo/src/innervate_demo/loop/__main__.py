"""``python -m innervate_demo.loop``: serve a release, judge others, replace it, and come back by oneself."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innervate import ExchangeClient, InnervateError
from innervate_local.cluster import Cluster
from innervate_local.errors import LocalError
from innervate_local.progress import say, step

from innervate_demo import stage
from innervate_demo.loop import material, scene
from innervate_demo.loop.rollout import Rollout
from innervate_demo.loop.scene import NAMESPACE, PIPELINE, POOL, Scene
from innervate_demo.loop.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from innervate_local.places import Place

_FIRST = "assistant-a"
_FEEDBACK_LINES = 2000
"""Exchanges about the live topic that candidate d learns from, at most."""


def main() -> int:
    """Play the demonstration.

    Returns
    -------
    int
        0 when everything came about as told, 1 when not.
    """
    started = time.monotonic()
    try:
        place = stage.find()
        told = Story(place).play()
    except (LocalError, InnervateError) as error:
        say(f"the demonstration cannot go on: {error}")
        return 1
    say(f"done in {time.monotonic() - started:.0f} s; `make down` removes everything")
    say(f"look around: export KUBECONFIG={place.kubeconfig}; kubectl get innervate -n {NAMESPACE}")
    return 0 if told else 1


class Story:
    """What happens, in order.

    Parameters
    ----------
    place
        The cluster.
    """

    def __init__(self, place: Place) -> None:
        self._traced = isinstance(place, Cluster)
        self._scene = Scene(place)

    def play(self) -> bool:
        """Play it, and tell whether no request failed."""
        with step(f"clearing namespace {NAMESPACE}"):
            self._scene.clear()
        self._serve()
        self._judge()
        with Traffic(POOL, namespace=NAMESPACE, account=scene.CALLER, seed=1).running() as traffic:
            self._learn(traffic)
            tally = traffic.tally()
        stage.innervate("release", "lineage", self._stable(), "--namespace", NAMESPACE)
        stage.innervate("pipeline", "history", PIPELINE, "--namespace", NAMESPACE)
        say(f"callers asked {tally.asked} times; {tally.failed} requests failed")
        for failure in traffic.failures[:3]:
            say(f"  {failure}")
        return tally.failed == 0

    def _serve(self) -> None:
        """Release a from the committed weights, verified, and a pool that serves it."""
        self._scene.apply(*scene.foundation())
        self._innervate("release", "keygen")
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch) / "model"
            material.first_model(model)
            self._innervate(
                *("release", "push", str(model), "--to", f"pvc://{scene.CLAIM}", "--name", _FIRST),
                *("--signer", scene.SIGNER, "--produced-by", "make model"),
            )
        self._trace(f"modelrelease/{_FIRST}")
        self._show("pool")
        with step("apply → Ready"):
            self._scene.apply(scene.parsed("pool"))
            self._scene.ready("InferencePool", POOL)
        example = material.live_questions(material.LIVE_TOPIC, seed=3, count=1)[0]
        self._innervate("chat", POOL, example.prompt, *("--as", scene.CALLER, "--trace"))
        self._trace(f"inferencepool/{POOL}")

    def _judge(self) -> None:
        """Ask release a what is known beforehand."""
        self._scene.apply(
            scene.files("questions", offline_jsonl=material.offline_questions()),
            scene.files("labels-b", train_jsonl=material.all_shuffled()),
            scene.files("labels-c", train_jsonl=material.live_shuffled()),
        )
        self._show("evaljob")
        with step(f"asking {_FIRST} {material.QUESTIONS} questions"):
            self._scene.apply(scene.parsed("evaljob"))
            status = self._scene.await_("EvalJob", _FIRST, lambda each: bool(each.get("verdict")))
        say(_verdict(_FIRST, status))
        if status["verdict"] != "Passed":
            raise LocalError("release a ought to pass")
        self._trace(f"evaljob/{_FIRST}")

    def _learn(self, traffic: Traffic) -> None:
        """Let the pipeline try b, c and d."""
        self._show("pipeline")
        pipeline = scene.parsed("pipeline")
        with self._rollouts(traffic, pipeline) as rollout:
            rollout.follow("b", "Refused", "its answers were shuffled: the gate refuses it")
            self._steps(rollout)
            self._trace(f"evaljob/{rollout.last_gate}")
            rollout.follow("c", "RolledBack", f"knows all but {material.LIVE_TOPIC}: only callers can tell")
            self._steps(rollout)
            rollout.told_rollback()
            with step("collecting what callers said should have been answered"):
                learned = self._feedback()
            say(f"{learned.count(chr(10))} corrections about {material.LIVE_TOPIC}")
            self._scene.apply(scene.files("feedback-d", train_jsonl=learned))
            pipeline["spec"]["candidates"].append(_trained_on("d", "feedback-d", pipeline))
            self._scene.apply(pipeline)
            rollout.follow("d", "Promoted", f"learned {material.LIVE_TOPIC} from callers' feedback")
            self._steps(rollout)

    @contextmanager
    def _rollouts(self, traffic: Traffic, pipeline: dict[str, Any]) -> Iterator[Rollout]:
        self._scene.apply(pipeline)
        with ExchangeClient.from_kubernetes(POOL, namespace=NAMESPACE, service_account=scene.CALLER) as log:
            yield Rollout(self._scene, traffic, log)

    def _feedback(self) -> str:
        with ExchangeClient.from_kubernetes(POOL, namespace=NAMESPACE, service_account=scene.CALLER) as log:
            of_topic = (each for each in log.list() if each.task == material.LIVE_TOPIC)
            return material.from_feedback(
                each for each, _ in zip(of_topic, range(_FEEDBACK_LINES), strict=False)
            )

    def _stable(self) -> str:
        status = self._scene.await_("LearningPipeline", PIPELINE, lambda each: bool(each.get("stable")))
        return str(status["stable"])

    def _innervate(self, *arguments: str) -> None:
        stage.innervate(*arguments, "--namespace", NAMESPACE)

    def _show(self, name: str) -> None:
        say(f"$ kubectl apply -f deploy/examples/loop/{name}.yaml\n{scene.example(name)}")

    def _steps(self, rollout: Rollout) -> None:
        """Show what the operator did in each step of a rollout."""
        for chapter, trace in rollout.traces().items():
            say(f"step {chapter}:")
            self._trace(trace)

    def _trace(self, resource: str) -> None:
        if self._traced:
            self._innervate("trace", "show", resource)


def _verdict(name: str, status: Mapping[str, Any]) -> str:
    summary = status["summary"][0]
    compared = status.get("comparison")
    said = (
        f"{name}: {status['verdict']}: {summary['metric']} {summary['value']} "
        f"({summary['low']} to {summary['high']}, n {summary['n']})"
    )
    if compared:
        said += f"; difference {compared['difference']} ({compared['low']} to {compared['high']})"
    return said


def _trained_on(name: str, data: str, pipeline: Mapping[str, Any]) -> dict[str, Any]:
    """Candidate like the pipeline's first, trained on other data."""
    train = pipeline["spec"]["candidates"][0]["train"]
    sources = [{"configMapRef": {"name": data}}]
    return {"name": name, "train": {**train, "data": sources, "hyperparameters": {}}}


if __name__ == "__main__":
    sys.exit(main())
