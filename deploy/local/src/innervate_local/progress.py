"""Say what is being done: a spinner on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_console = Console(stderr=True, highlight=False, soft_wrap=True)
_spinner = threading.Lock()
_HEARTBEAT_S = 30.0
"""A log without a terminal gets a sign of life this often from a long step."""


def say(message: str) -> None:
    """Print one line.

    Parameters
    ----------
    message
        The line, taken literally.
    """
    _console.print(message, markup=False)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show that a step runs, for how long, and how it ended.

    A step inside another, or beside it in another thread, is shown in plain
    lines: a terminal has room for one spinner.

    Parameters
    ----------
    title
        What is being done, for instance ``building etcd 3.6.5``.
    """
    started = time.monotonic()
    with _spinning(title, started) if _spins() else _telling(title, started):
        yield
    say(f"{title}: done in {time.monotonic() - started:.1f} s")


def _spins() -> bool:
    """Take the spinner if there is one and nobody has it."""
    return _console.is_terminal and _spinner.acquire(blocking=False)


@contextmanager
def _spinning(title: str, started: float) -> Iterator[None]:
    try:
        with _console.status(title) as status:

            def tick() -> None:
                status.update(f"{title} ({time.monotonic() - started:.0f} s)")

            with _repeating(tick, every_s=1.0):
                yield
    finally:
        _spinner.release()


@contextmanager
def _telling(title: str, started: float) -> Iterator[None]:
    def beat() -> None:
        say(f"{title}: {time.monotonic() - started:.0f} s so far")

    say(f"{title} …")
    with _repeating(beat, every_s=_HEARTBEAT_S):
        yield


@contextmanager
def _repeating(report: Callable[[], None], *, every_s: float) -> Iterator[None]:
    finished = threading.Event()

    def repeat() -> None:
        while not finished.wait(every_s):
            report()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
