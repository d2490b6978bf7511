"""Seeds for the tests of trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rl_seed import Seed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled programs, for all tests."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def make_seed(tmp_path: Path, compile_cache: Path) -> Callable[[str], Seed]:
    """Makes seeds that know nothing of each other."""

    def make(name: str = "seed") -> Seed:
        (tmp_path / name).mkdir()
        return Seed(tmp_path / name, compile_cache)

    return make


@pytest.fixture
def seed(make_seed: Callable[[str], Seed]) -> Seed:
    """One seed."""
    return make_seed("seed")
