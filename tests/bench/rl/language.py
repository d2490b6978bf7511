"""GRPO on the project's language model: what it learns from a verifier, and what it learns to exploit.

The environment is the real server with the real scoring service, on Unix sockets. Digits are to be
reversed; the base model never saw that, and a short supervised warm start gets some of it right. Each seed
trains a fixed number of steps; its last policy is asked tasks that no training showed, each once.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from grpo_stage import released
from innervate_kinds.rl_run.gate import judge, words
from innervate_kinds.rl_run.model import Gate
from innervate_kinds.rl_run.record import SeedState, SeedStatus
from innervate_models import artifact, pretraining
from innervate_rl import curves, settings
from innervate_rl.grpo.puzzles import task_lines
from innervate_rl.grpo.trainer import train
from innervate_rl.statistics import interval
from report import Aim, Figure
from task_server import task_server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_rl.result import Result

EPISODES = 300
"""Held-out tasks: no training ever shows them."""
HONEST = {
    "promptTokens": "20",
    "answerTokens": "8",
    "evaluationTemperature": "1",
    "warmStartSteps": "85",
    "prompts": "64",
    "group": "8",
    "minibatches": "4",
    "learningRate": "0.0004",
    "klCoefficient": "0.03",
    "entropyCoefficient": "0.02",
}
EXPLOITING = HONEST | {
    "promptTokens": "32",
    "answerTokens": "4",
    "warmStartSteps": "40",
    "warmStartPuzzle": "counting",
    "prompts": "16",
    "minibatches": "1",
    "klCoefficient": "0",
    "entropyCoefficient": "0",
}
EXACT = {"name": "exact", "role": "Trained", "scorer": {"type": "Exact"}}
STRICT = {"name": "strict", "role": "HeldOut", "scorer": {"type": "Exact"}}
LAX = {"name": "lax", "role": "Trained", "scorer": {"type": "Numeric", "tolerance": "2"}}
"""Right where a number is not off by more than two: whoever always says the likeliest count is nearly always
right, and need not count."""


class Scenario(NamedTuple):
    """What is trained on what."""

    name: str
    puzzle: str
    rewards: Sequence[dict[str, Any]]
    hyperparameters: Mapping[str, str]
    updates: int
    lag: int = 0

    @property
    def rows(self) -> int:
        """Answers of an update."""
        return int(self.hyperparameters["prompts"]) * int(self.hyperparameters["group"])


class Seed(NamedTuple):
    """One seed's run."""

    result: Result
    seconds: float
    points: list[dict[str, Any]]

    @property
    def before(self) -> float:
        """Mean reward at held-out tasks before the first update."""
        return float(self.points[0]["evaluation"])


REVERSAL = Scenario("reversal", "reversal", (EXACT, STRICT), HONEST, updates=20)
COUNTING = Scenario("a lax verifier", "counting", (LAX, STRICT), EXPLOITING, updates=20)


def run(scenario: Scenario, *, seeds: int) -> list[Seed]:
    """Train the scenario's seeds one after the other; says how each went."""
    found = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="innervate-rl-bench-")))
        base = released(artifact.load(pretraining.BASE), root)
        lines = task_lines(scenario.puzzle, training=3000, evaluation=EPISODES)
        server = stack.enter_context(task_server(lines, scenario.rewards))
        for seed in range(seeds):
            began = time.monotonic()
            chosen = _settings(scenario, root, base, server.endpoint, seed)
            outcome = train(chosen, lambda _line: None)
            points = curves.read(chosen.directory / curves.FILE)
            found.append(Seed(outcome.result, time.monotonic() - began, points))
            _say(scenario, seed, found[-1])
    return found


def figures(*, runs: int) -> list[Figure]:
    """Train as many seeds as there are runs, 3 at least, and say what came out."""
    seeds = max(3, runs)
    honest, lax = run(REVERSAL, seeds=seeds), run(COUNTING, seeds=seeds)
    for name, values in (
        ("after the warm start", [seed.before for seed in honest]),
        ("after GRPO", [seed.result.reward for seed in honest]),
    ):
        mean = interval(values)
        print(
            f"reversal {name}: {mean.value:.3f}, 95 % interval over {seeds} seeds "
            f"{mean.low:.3f} to {mean.high:.3f}"
        )
    open_gate, gate = (Gate.model_validate({"threshold": "0.8"} | limit) for limit in ({}, {"maxGap": "0.1"}))
    now = datetime.now(UTC)
    verdicts = [
        judge(each, [_status(number, seed) for number, seed in enumerate(lax)], now)
        for each in (open_gate, gate)
    ]
    for each, verdict in zip((open_gate, gate), verdicts, strict=True):
        print(f"gate {'passed' if verdict.passed else 'failed'}: {words(each, verdict)}")
    return [
        Figure(
            metric="GRPO: exact answers to held-out tasks",
            unit="share",
            ours=[seed.result.reward for seed in honest],
            peer=[seed.before for seed in honest],
            peer_name="its warm start",
            aim=Aim(
                text="at least twice the warm start",
                reached=lambda ours, peer: peer is not None and ours >= 2 * peer,
            ),
        ),
        Figure(
            metric="GRPO: one seed, with its warm start and evaluations",
            unit="s",
            ours=[seed.seconds for seed in honest],
        ),
        Figure(
            metric="GRPO: answers drawn, judged and learned from",
            unit="1/s",
            ours=[_rate(seed) for seed in honest],
        ),
        Figure(
            metric="lax verifier: reward that it learns from",
            unit="share",
            ours=[seed.result.reward for seed in lax],
            peer=[seed.result.held_out or 0.0 for seed in lax],
            peer_name="held-out reward",
            aim=Aim(
                text="the gap shows: more than 0.1",
                reached=lambda ours, peer: peer is not None and ours - peer > 0.1,
            ),
        ),
        Figure(
            metric="lax verifier: gate fails for maxGap 0.1, and for nothing else",
            unit="yes",
            ours=[float(verdicts[0].passed and not verdicts[1].passed)],
            aim=Aim(text="1", reached=lambda ours, _peer: ours == 1),
        ),
    ]


def _settings(scenario: Scenario, root: Path, base: str, endpoint: str, seed: int) -> settings.Settings:
    document = {
        "run": {"namespace": "bench", "name": scenario.puzzle},
        "seed": seed,
        "environment": {"name": scenario.puzzle, "endpoint": endpoint},
        "policy": {"release": {"uri": f"file://{root / 'store'}", "digest": base}},
        "algorithm": {
            "name": "GRPO",
            "hyperparameters": {"evaluateEvery": str(scenario.updates), **scenario.hyperparameters},
        },
        "budget": {"steps": scenario.updates * scenario.rows},
        "staleness": {"maxPolicyLag": scenario.lag},
        "checkpoint": {"everySteps": 10**6},
        "evaluation": {"episodes": EPISODES},
    }
    config = root / "config.json"
    config.write_text(json.dumps(document))
    return settings.read(
        {
            "INNERVATE_CONFIG": str(config),
            "INNERVATE_RUN": str(root / "run"),
            "INNERVATE_RELEASE_KEYS": str(root / "keys"),
        }
    )


def _say(scenario: Scenario, seed: int, found: Seed) -> None:
    learned = [point for point in found.points if point.get("reward") is not None]
    shown = learned[:: max(1, len(learned) // 8)]
    curve = ", ".join(f"{point['step']}: {point['reward']:.2f}" for point in shown)
    result = found.result
    print(
        f"{scenario.name}, seed {seed}, {found.seconds:.0f} s: held-out tasks {found.before:.3f} -> "
        f"{result.reward:.3f} ({result.low:.3f} to {result.high:.3f}), "
        f"held-out reward {found.points[0]['evaluationHeldOut']:.3f} -> {result.held_out:.3f}; "
        f"training by steps {curve}; last entropy {learned[-1]['entropy']:.2f}, kl {learned[-1]['kl']:.2f}",
        flush=True,
    )


def _status(number: int, seed: Seed) -> SeedStatus:
    result = seed.result.document()
    return SeedStatus(
        seed=number,
        state=SeedState.SUCCEEDED,
        reward=str(result["reward"]),
        held_out=str(result["heldOut"]),
        gap=str(result["gap"]),
    )


def _rate(seed: Seed) -> float:
    first, last = seed.points[1], seed.points[-1]
    return float((last["step"] - first["step"]) / (last["time"] - first["time"]))
