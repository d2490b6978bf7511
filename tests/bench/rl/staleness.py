"""GRPO from older and older experience, with importance correction and without; see `language`."""

from __future__ import annotations

from language import EXACT, HONEST, STRICT, Scenario, run
from report import Figure

_USUAL_RUNS = 5
"""What the bench asks for by default."""


def figures(*, runs: int) -> list[Figure]:
    """Train one seed of each, or as many as there are runs where that is asked for: it takes long."""
    seeds = 1 if runs <= _USUAL_RUNS else runs
    made = []
    for lag in (0, 1, 4):
        for correction in (True, False) if lag else (True,):
            hyperparameters = HONEST | {"importanceCorrection": str(correction).lower()}
            name = f"lag {lag}, {'corrected' if correction else 'as it is'}" if lag else "lag 0"
            scenario = Scenario(name, "reversal", (EXACT, STRICT), hyperparameters, updates=12, lag=lag)
            found = run(scenario, seeds=seeds)
            made.append(
                Figure(
                    metric=f"GRPO, {name}: exact answers to held-out tasks",
                    unit="share",
                    ours=[seed.result.reward for seed in found],
                    peer=[seed.before for seed in found],
                    peer_name="its warm start",
                )
            )
    return made
