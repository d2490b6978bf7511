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

    Parameters
    ----------
    title
        What is being done, for instance ``building etcd 3.6.5``.
    """
    started = time.monotonic()
    finished = threading.Event()
    if _console.is_terminal:
        with _console.status(title) as status:

            def tick() -> None:
                while not finished.wait(1.0):
                    status.update(f"{title} ({time.monotonic() - started:.0f} s)")

            with _while_running(tick, finished):
                yield
    else:

        def beat() -> None:
            while not finished.wait(_HEARTBEAT_S):
                say(f"{title}: {time.monotonic() - started:.0f} s so far")

        say(f"{title} …")
        with _while_running(beat, finished):
            yield
    say(f"{title}: done in {time.monotonic() - started:.1f} s")


@contextmanager
def _while_running(report: Callable[[], None], finished: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
