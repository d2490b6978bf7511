"""A tiny model, and puzzles in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpo_stage import Stage, kinds, released, tiny_model, worth
from scripted_tasks import ScriptedTasks

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_models import artifact


@pytest.fixture(scope="session")
def tiny() -> artifact.Model:
    return tiny_model()


@pytest.fixture
def scripted() -> ScriptedTasks:
    """An environment that finds random answers of different worth."""
    return ScriptedTasks(*kinds(), reward=worth)


@pytest.fixture
def stage(tmp_path: Path, tiny: artifact.Model) -> Stage:
    return Stage(tmp_path, released(tiny, tmp_path))
