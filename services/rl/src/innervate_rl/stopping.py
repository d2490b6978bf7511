"""Being told to stop: a trainer that is writes a checkpoint at the next chance, and ends."""

from __future__ import annotations

import signal
import threading

_told = threading.Event()


def listen() -> None:
    """Take SIGTERM as a request. Only for the main thread."""
    signal.signal(signal.SIGTERM, lambda *_: _told.set())


def told() -> bool:
    """Whether somebody asked."""
    return _told.is_set()
