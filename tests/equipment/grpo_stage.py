"""A run of GRPO on a tiny model: where its files lie and what its settings are."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_models import artifact, initialization, model, topics
from innervate_models.tokenizer import learn
from innervate_releases import keys, transfer
from innervate_releases.build import build
from innervate_releases.location import open_store
from innervate_rl import settings
from innervate_rl.grpo.puzzles import puzzles
from innervate_rl.grpo.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from innervate_learner.report import Line
    from innervate_rl.grpo.puzzles import Puzzle
    from innervate_rl.result import Outcome
    from scripted_tasks import ScriptedTasks

TRAINING, EVALUATION = 12, 8
SMALL = {"prompts": "4", "group": "4", "promptTokens": "24", "answerTokens": "6", "outageSeconds": "0.1"}
"""Settings of all runs here, so that few programs are compiled."""


def kinds() -> tuple[list[Puzzle], list[Puzzle]]:
    """Puzzles to train on and to evaluate on."""
    return (
        list(itertools.islice(puzzles("reversal", "training", seed=0), TRAINING)),
        list(itertools.islice(puzzles("reversal", "evaluation", seed=0), EVALUATION)),
    )


def worth(_puzzle: Puzzle, text: str) -> float:
    """What random answers are worth: hardly two the same."""
    return len(text) % 5 / 4


def tiny_model() -> artifact.Model:
    """A model that knows nothing."""
    tokenizer = learn(topics.words())
    config = model.ModelConfig(
        vocabulary=len(tokenizer), width=16, layers=1, heads=2, key_value_heads=1, hidden=16, context=64
    )
    return artifact.Model(config, initialization.initial(config, seed=1), tokenizer)


def released(model: artifact.Model, root: Path) -> str:
    """Put a model into the store of a stage, signed by a key that the stage trusts; gives its digest."""
    made = root / "made"
    artifact.save(model, made)
    private, public = keys.generate()
    (root / "keys").mkdir()
    (root / "keys" / "team").write_bytes(public)
    store = open_store(f"file://{root / 'store'}")
    digest = transfer.push(made, build(made), store)
    transfer.sign(store, digest, keys.load_private(private, "team"))
    return digest


class Stage(NamedTuple):
    """Where a run's files lie."""

    root: Path
    base: str
    """Digest of the base release."""
    endpoint: str = "unix:/nowhere"
    """Of the environment."""

    def settings(self, **changed: Any) -> settings.Settings:
        """Settings of a run, as `environment` says them."""
        return settings.read(self.environment(**changed))

    def environment(self, *, attempt: int = 0, run: str = "run", **changed: Any) -> dict[str, str]:
        """What a pod is told; `changed` are parts of its configuration, hyperparameters by name."""
        names = {"steps", "seed", "lag", "every", "keep", "publish", "seconds", "evaluated"}
        texts = {name: value for name, value in changed.items() if name not in names}
        store = f"file://{self.root / 'store'}"
        document = {
            "run": {"namespace": "lab", "name": "reverse", "uid": "u"},
            "seed": changed.get("seed", 0),
            "environment": {"name": "puzzles", "endpoint": self.endpoint},
            "policy": {"release": {"uri": store, "digest": self.base}},
            "algorithm": {"name": "GRPO", "hyperparameters": SMALL | texts},
            "budget": {"steps": changed.get("steps", 48), "seconds": changed.get("seconds")},
            "staleness": {"maxPolicyLag": changed.get("lag", 0)},
            "checkpoint": {"everySteps": changed.get("every", 16)},
            "evaluation": {"episodes": changed.get("evaluated", EVALUATION)},
            "experience": {"keep": changed.get("keep", "None"), "maxEpisodes": 1000},
            "publish": {"uri": f"file://{self.root / 'output'}"} if changed.get("publish") else None,
        }
        config = self.root / f"{run}-{attempt}.json"
        config.write_text(json.dumps(document))
        return {
            "INNERVATE_CONFIG": str(config),
            "INNERVATE_ATTEMPT": str(attempt),
            "INNERVATE_RUN": str(self.root / run),
            "INNERVATE_REPORT": str(self.root / run / "report"),
            "INNERVATE_RELEASE_KEYS": str(self.root / "keys"),
        }

    def train(
        self,
        environment: ScriptedTasks,
        tell: Callable[[Line], None] = lambda _line: None,
        **changed: Any,
    ) -> Outcome:
        """Run it to its end."""
        return train(self.settings(**changed), tell, connect=environment.connect)
