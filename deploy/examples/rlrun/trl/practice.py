# ruff: noqa: INP001  a script of an image, no package
"""What a trainer of any framework needs to practise in an Environment and to report as trainers do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innervate_environments.client import EnvironmentLost, VectorEnvironment
from innervate_environments.episodes import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPORT = Path("/var/run/innervate/trainer/report.jsonl")
TRIES = 5


class Practice:
    """Tasks of an Environment: what they ask, and what answers are worth.

    Parameters
    ----------
    endpoint
        Of the Environment, as in the trainer's configuration.
    slots
        Answers that are judged together.
    """

    def __init__(self, endpoint: str, *, slots: int) -> None:
        self._endpoint = endpoint
        self._slots = slots
        self._environment = VectorEnvironment.open(endpoint, slots=slots, autoreset=False)
        self.rollouts = {"valid": 0, "infrastructure": 0, "verifier": 0}
        """Answers by what became of them, as a result tells them."""

    def prompts(self, split: str) -> list[str]:
        """What every task of a split asks."""
        about = self._environment.describe
        count = about.training_tasks if split == "training" else about.evaluation_tasks
        found: list[str] = []
        for first in range(0, count, self._slots):
            tasks = range(first, min(first + self._slots, count))
            options = [{"split": split, "task": task} for task in tasks]
            found += map(str, self._environment.reset(options=options, slots=range(len(tasks))).observations)
        return found

    def rewards(self, split: str, tasks: Sequence[int], answers: Sequence[str]) -> list[float]:
        """What each answer is worth; what was void is handed in again.

        Raises
        ------
        RuntimeError
            Some answer has no reward after several tries. That is no reward of 0: let the attempt fail, and
            the next one go on from its checkpoint.
        """
        judged: dict[int, float] = {}
        for pause in range(TRIES):
            time.sleep(pause)
            open_ = [place for place in range(len(answers)) if place not in judged]
            for first in range(0, len(open_), self._slots):
                self._judge(split, tasks, answers, open_[first : first + self._slots], judged)
            if len(judged) == len(answers):
                return [judged[place] for place in range(len(answers))]
        raise RuntimeError(f"{len(answers) - len(judged)} of {len(answers)} answers have no reward")

    def _judge(
        self,
        split: str,
        tasks: Sequence[int],
        answers: Sequence[str],
        places: Sequence[int],
        judged: dict[int, float],
    ) -> None:
        options = [{"split": split, "task": tasks[place]} for place in places]
        try:
            begun = self._environment.reset(options=options, slots=range(len(places)))
            there = [slot for slot in range(len(places)) if slot not in begun.errors]
            steps = self._environment.step([answers[places[slot]] for slot in there], slots=there)
        except EnvironmentLost:
            self.rollouts["infrastructure"] += len(places)
            self._environment.close()
            self._environment = VectorEnvironment.open(self._endpoint, slots=self._slots, autoreset=False)
            return
        for failure in (*begun.errors.values(), *steps.errors.values()):
            self.rollouts["verifier" if failure.reason is Reason.UNVERIFIED else "infrastructure"] += 1
        for number, slot in enumerate(there):
            if number not in steps.errors:
                judged[places[slot]] = float(steps.rewards[number])
                self.rollouts["valid"] += 1


def report(
    attempt: int,
    step: int,
    *,
    metrics: Mapping[str, float] | None = None,
    checkpoint: str | None = None,
    result: Mapping[str, Any] | None = None,
    path: Path = REPORT,
) -> None:
    """Append one line; the one with a result is the last."""
    line = {
        "attempt": attempt,
        "step": step,
        "metrics": dict(metrics or {}),
        "promptsConsumed": step,
        "checkpoint": checkpoint,
        "final": {"result": dict(result)} if result is not None else None,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
