"""A tiny base release in a store of its own, and what a training of it needs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import pytest
from innervate_models import artifact, initialization, model, topics
from innervate_models.tokenizer import learn
from innervate_releases import keys, transfer
from innervate_releases.build import build
from innervate_releases.location import open_store

if TYPE_CHECKING:
    from pathlib import Path


class Stage(NamedTuple):
    """Where everything lies."""

    root: Path
    base: str
    """Digest of the base release."""

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def report(self) -> Path:
        return self.root / "run" / "report.jsonl"

    def environment(self, *, attempt: int = 0, **hyperparameters: str) -> dict[str, str]:
        """What the pod's environment says."""
        config = self.root / "config.json"
        config.write_text(json.dumps({"method": "Replay", "hyperparameters": hyperparameters}))
        return {
            "INNERVATE_CONFIG": str(config),
            "INNERVATE_ATTEMPT": str(attempt),
            "INNERVATE_BASE_URI": f"file://{self.store}",
            "INNERVATE_BASE_DIGEST": self.base,
            "INNERVATE_OUTPUT_URI": f"file://{self.output}",
            "INNERVATE_DATA": str(self.data),
            "INNERVATE_RELEASE_KEYS": str(self.root / "keys"),
            "INNERVATE_REPORT": str(self.report.parent),
        }

    def lines(self) -> list[dict]:
        """The report so far."""
        return [json.loads(line) for line in self.report.read_text().splitlines()]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    tokenizer = learn(topics.words())
    config = model.ModelConfig(
        vocabulary=len(tokenizer), width=16, layers=1, heads=2, key_value_heads=1, hidden=16, context=64
    )
    made = tmp_path / "made"
    artifact.save(artifact.Model(config, initialization.initial(config, seed=1), tokenizer), made)
    private, public = keys.generate()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "team").write_bytes(public)
    store = open_store(f"file://{tmp_path / 'store'}")
    digest = transfer.push(made, build(made), store)
    transfer.sign(store, digest, keys.load_private(private, "team"))
    examples = topics.generate(("tickets",), seed=2, count=40)
    for number in range(2):
        (tmp_path / "data" / str(number)).mkdir(parents=True)
        part = examples[number * 20 : number * 20 + 20]
        text = "".join(f"{line}\n" for line in topics.training_lines(part))
        (tmp_path / "data" / str(number) / "tickets.jsonl").write_text(text)
    return Stage(tmp_path, digest)
