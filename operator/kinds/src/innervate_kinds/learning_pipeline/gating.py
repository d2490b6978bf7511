"""Gates: EvalJobs that a candidate must pass before it takes traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.eval_job.template import Underpowered
from innervate_kinds.learning_pipeline import canary, candidates, names
from innervate_kinds.learning_pipeline.ending import leave
from innervate_kinds.learning_pipeline.model import Approval
from innervate_kinds.learning_pipeline.record import GateResult, Step, StepName, Verdict

if TYPE_CHECKING:
    from innervate_kinds.learning_pipeline.model import Gate, LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
    from innervate_kinds.learning_pipeline.scene import Scene


def job(pipeline: LearningPipeline, rollout: int, gate: Gate) -> str:
    """Name of the EvalJob of a gate."""
    template = candidates.digest(gate.eval_job_template)
    return names.evaluation(pipeline.metadata.name, rollout, gate.name, template)


def advance(scene: Scene) -> LearningPipelineStatus:
    """Wait for every gate; one that fails decides at once."""
    results: list[GateResult] = []
    held = ""
    waits = False
    for gate in scene.pipeline.spec.gates:
        name = job(scene.pipeline, scene.state.rollout, gate)
        found = scene.observed.evaluations.get(name)
        verdict = found.verdict if found and found.finished else ""
        results.append(GateResult(name=gate.name, eval_job=name, verdict=verdict or None))
        if found is None or not found.finished:
            waits = True
            continue
        if verdict == "Passed":
            continue
        if verdict == "Underpowered" and _holds(gate):
            held = f"gate {gate.name!r} cannot tell: {found.message or 'Underpowered'}"
            continue
        told = scene.at(scene.with_(gates=_all(scene, results)))
        reason = {"Failed": "GateFailed", "Underpowered": "GateUnderpowered"}.get(verdict, "GateBroken")
        message = f"gate {gate.name!r}: {found.message or verdict or 'no verdict'}; see EvalJob {name!r}"
        return leave(told, Verdict.REFUSED, reason, message)
    told = scene.at(scene.with_(gates=tuple(results)))
    return told.state if waits else passed(told, held=held)


def passed(scene: Scene, *, held: str = "") -> LearningPipelineStatus:
    """Go on after the gates: to a person where one is wanted or needed, else to the first canary step."""
    manual = scene.pipeline.spec.approval is Approval.MANUAL
    if not held and not manual:
        return canary.enter(scene, 0)
    step = Step(
        name=StepName.AWAITING_APPROVAL,
        start_time=scene.now,
        reason="GateUnderpowered" if held else "Manual",
        message=(held or "it passed its gates")[:1024],
    )
    return scene.with_(step=step)


def _holds(gate: Gate) -> bool:
    wanted = gate.eval_job_template.gate
    return wanted is not None and wanted.on_underpowered is Underpowered.HOLD


def _all(scene: Scene, results: list[GateResult]) -> tuple[GateResult, ...]:
    """Results so far, and the gates after them."""
    rest = scene.pipeline.spec.gates[len(results) :]
    return (
        *results,
        *(
            GateResult(name=gate.name, eval_job=job(scene.pipeline, scene.state.rollout, gate))
            for gate in rest
        ),
    )
