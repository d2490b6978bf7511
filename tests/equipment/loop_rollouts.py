"""Rollouts of prepared releases on a pool: a candidate that knows all but what only callers ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loop_pool import PIPELINE, POOL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loop_pool import LoopPool
    from loop_watch import Watch

GATE = "known"
_NEVER = 1_000_000
"""Units that no step sees: it ends by a detection, or when its time is over."""


@dataclass(frozen=True)
class Rollouts:
    """A pool's pipeline.

    Parameters
    ----------
    pool, watch
        The pool, and who sees what happens to it.
    questions
        ConfigMap with questions that every candidate must answer before it takes traffic; empty for none.
    margin
        How much worse a candidate may answer those.
    """

    pool: LoopPool
    watch: Watch
    questions: str = ""
    margin: str = "0.25"

    def declare(self, candidates: Sequence[dict[str, Any]], *, percent: int) -> None:
        """Have candidates tried, one after another, with a share of the traffic."""
        step = {"percent": percent, "minSeconds": 0, "minUnits": _NEVER, "maxSeconds": 600}
        spec: dict[str, Any] = {
            "inferencePoolRef": {"name": POOL},
            "candidates": list(candidates),
            "gates": [self._gate()] if self.questions else [],
            "rollout": {"steps": [step], "judge": {"margin": "0.05", "alpha": "0.05"}},
            "history": {"keep": 100},
        }
        self.pool.lab.apply(
            self.pool.object("innervate.dev/v1alpha1", "LearningPipeline", PIPELINE, spec=spec)
        )

    def entry(self, candidate: str) -> dict[str, Any] | None:
        """What became of a candidate; None before its end."""
        status = self.watch.status
        entries = (each for each in status.get("history") or () if each.get("candidate") == candidate)
        found = next(entries, None)
        under_way = (status.get("candidate") or {}).get("name")
        return None if under_way == candidate else found

    def step(self, candidate: str) -> str:
        """How far a candidate is; empty before and after."""
        status = self.watch.status
        if (status.get("candidate") or {}).get("name") != candidate:
            return ""
        name: str = (status.get("step") or {}).get("name", "")
        return name

    def evaluations(self) -> list[str]:
        """EvalJobs of the candidate under way, or of the last one."""
        return [each["evalJob"] for each in self.watch.status.get("gates") or ()]

    def _gate(self) -> dict[str, Any]:
        template = {
            "dataset": {"configMapRef": {"name": self.questions, "key": "golden.jsonl"}},
            "scorers": [{"name": "exact", "type": "Exact"}],
            "gate": {"metric": "exact", "test": "NonInferior", "margin": self.margin},
            "run": {"parallelism": 4, "maxTokens": 8},
            "storage": {"size": "64Mi"},
        }
        return {"name": GATE, "evalJobTemplate": template}


def released(name: str, release: str) -> dict[str, Any]:
    """A candidate whose release is there."""
    return {"name": name, "releaseRef": {"name": release}}
