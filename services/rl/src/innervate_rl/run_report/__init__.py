"""The report of a run, or of one seed of it, as one HTML file to look at."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from innervate_rl.run_report import found
from innervate_rl.run_report.found import About, GateSettings
from innervate_rl.run_report.page import page

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_rl.settings import Settings

__all__ = ["FILE", "About", "GateSettings", "render", "write"]

FILE: Final = "report.html"


def render(run: Path, about: About, *, seed: int | None = None) -> str:
    """HTML of all seeds in a run's directory, or of one.

    Raises
    ------
    PartError
        Experience is damaged.
    """
    return page(found.read(run, seed), about)


def write(settings: Settings) -> None:
    """Write a trainer's own report beside its result, whole or not at all.

    Raises
    ------
    PartError
        Experience is damaged.
    """
    chosen = settings.configuration
    about = About(
        name=f"{chosen.run.namespace}/{chosen.run.name}, seed {chosen.seed}",
        environment=chosen.environment.name,
        algorithm=chosen.algorithm.name,
    )
    content = render(settings.directory.parent.parent, about, seed=chosen.seed)
    partial = settings.directory / f".{FILE}.{settings.attempt}"
    with partial.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(settings.directory / FILE)
