"""A real environment of tasks on this machine: the server and the scoring service, a process each."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environment_process import scoring_service
from innervate_environments.local import LocalServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

EXACT: dict[str, Any] = {"name": "exact", "role": "Trained", "scorer": {"type": "Exact"}}
"""The reward of an answer that is the expected one."""


@contextmanager
def task_server(
    lines: Iterable[str], rewards: Sequence[dict[str, Any]] = (EXACT,), *, capacity: int = 256
) -> Iterator[LocalServer]:
    """Serve tasks.

    Parameters
    ----------
    lines
        The task set, JSON lines.
    rewards
        As in a server's configuration.
    capacity
        Slots.
    """
    # A path of its own: those of tests are longer than a socket's name may be.
    with tempfile.TemporaryDirectory(prefix="innervate-") as scratch:
        tasks, socket = Path(scratch) / "tasks.jsonl", Path(scratch) / "scorer.sock"
        tasks.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        environment = {
            "source": {"tasks": {"path": str(tasks)}},
            "rewards": list(rewards),
            "capacity": capacity,
            "stepSeconds": 60,
        }
        with scoring_service(socket), LocalServer(environment, scorer=socket) as server:
            yield server
