"""How JAX compiles: with a cache on disk, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

if TYPE_CHECKING:
    from pathlib import Path

_LEAST_SECONDS = 0.05
"""What compiles faster is not kept."""


def use_cache(directory: Path | None) -> None:
    """Keep compiled programs in a directory: another attempt, or seed, need not compile them again."""
    if directory is None:
        return
    directory.mkdir(parents=True, exist_ok=True)
    chosen = {
        "jax_compilation_cache_dir": str(directory),
        "jax_persistent_cache_min_compile_time_secs": _LEAST_SECONDS,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in chosen.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]  # it has no type information
