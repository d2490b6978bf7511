"""Where caches and state lie: the XDG directories, never the checkout."""

from __future__ import annotations

import os
from pathlib import Path


def cache() -> Path:
    """Give the directory for what can be made again: binaries, toolchains, images."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "innervate"


def state() -> Path:
    """Give the directory for what describes running clusters."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "innervate"
