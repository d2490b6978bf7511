"""Follows a pipeline through a rollout and tells what happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from innervate_local.errors import LocalError
from innervate_local.progress import say

from innervate_demo.loop import scene
from innervate_demo.loop.scene import PIPELINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate import ExchangeClient

    from innervate_demo.loop.scene import Scene
    from innervate_demo.loop.traffic import Traffic

_WITHIN_S = 900
_COUNTS_EVERY_S = 5.0
_LIVE = ("Canary", "RollingBack", "Promoting")
"""Steps in which traffic is judged or moves."""


class Rollout:
    """The pipeline's rollouts as they are seen from outside.

    Parameters
    ----------
    scene
        Where it is.
    traffic
        Who asks meanwhile.
    log
        The pool's exchange log.
    """

    def __init__(self, scene: Scene, traffic: Traffic, log: ExchangeClient) -> None:
        self._scene, self._traffic, self._log = scene, traffic, log
        self._said = ""
        self._counted = 0.0
        self._detected_at: float | None = None
        self._back_at: float | None = None
        self._gates: dict[str, str] = {}
        self._traces: dict[str, str] = {}
        self.last_gate = ""
        """EvalJob of the last gate that gave a verdict."""

    def follow(self, candidate: str, verdict: str, why: str) -> None:
        """Wait until a candidate had its turn.

        Parameters
        ----------
        candidate
            Its name in the pipeline.
        verdict
            How it must end.
        why
            What is expected of it, for the listener.

        Raises
        ------
        LocalError
            When it ends otherwise, or not in time.
        """
        say(f"candidate {candidate}: {why}")
        started = time.monotonic()
        entry: dict[str, Any] = {}

        def ended(status: Mapping[str, Any]) -> bool:
            found = _entry(status, candidate)
            if found:
                entry.update(found)
            return bool(found) and (status.get("candidate") or {}).get("name") != candidate

        self._scene.await_("LearningPipeline", PIPELINE, ended, within_s=_WITHIN_S, told=self._tell)
        if self._detected_at is not None and self._back_at is None:
            self._back_at = time.monotonic()
        took = scene.seconds_since(started)
        reason = entry.get("message") or entry["reason"]
        say(f"candidate {candidate}: {entry['verdict']} after {took}: {reason}")
        if entry["verdict"] != verdict:
            raise LocalError(f"candidate {candidate} ought to end as {verdict}")

    def traces(self) -> dict[str, str]:
        """Trace of each step since last asked, by what the step was."""
        seen, self._traces = self._traces, {}
        return seen

    def told_rollback(self) -> None:
        """Say how long the way back took, as it was seen from here."""
        if self._detected_at is not None and self._back_at is not None:
            took = self._back_at - self._detected_at
            say(f"from the detection to every gateway's acknowledgement: {took:.1f} s")

    def _tell(self, status: Mapping[str, Any]) -> None:
        self._tell_gates(status)
        trace = status.get("trace") or {}
        if trace.get("chapter"):
            self._traces[trace["chapter"]] = trace["traceparent"]
        step = status.get("step")
        trial = status.get("candidate")
        self._traffic.hurry(busy=(step or {}).get("name") in _LIVE)
        if not step or not trial:
            return
        share = f" at {step['percent']} %" if step["name"] == "Canary" else ""
        line = f"  {trial['name']}: {step['name']}{share}"
        if line != self._said:
            self._said = line
            say(line)
        detection = status.get("detection")
        if detection and step["name"] == "RollingBack" and self._detected_at is None:
            self._detected_at = time.monotonic()
            say(f"  detected: {detection['evidence']}")
        if step["name"] == "Canary" and time.monotonic() - self._counted > _COUNTS_EVERY_S:
            self._counted = time.monotonic()
            self._tell_counts(status)

    def _tell_gates(self, status: Mapping[str, Any]) -> None:
        for gate in status.get("gates") or ():
            verdict = gate.get("verdict")
            if verdict and self._gates.get(gate["evalJob"]) != verdict:
                self._gates[gate["evalJob"]] = verdict
                self.last_gate = gate["evalJob"]
                say(f"  gate {gate['name']}: {verdict}")

    def _tell_counts(self, status: Mapping[str, Any]) -> None:
        arms = [arm["name"] for arm in status.get("traffic") or ()]
        counts = [
            f"{each.release} {each.successes} of {each.units}"
            for each in self._log.outcomes(arms)
            if each.units
        ]
        failed = self._traffic.tally().failed
        say(f"  right sessions: {', '.join(counts) or 'none yet'}; {failed} failed requests")


def _entry(status: Mapping[str, Any], candidate: str) -> dict[str, Any] | None:
    return next(
        (dict(each) for each in status.get("history") or () if each.get("candidate") == candidate), None
    )
