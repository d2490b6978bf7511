"""What is remembered about a cluster between commands, in one file written at once."""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from innervate_local import paths, slots
from innervate_local.process import Identity
from innervate_local.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class State:
    """One cluster's memory."""

    slot: int
    ready: bool = False
    """Whether `up` came to its end."""
    processes: dict[str, Identity] = field(default_factory=dict)
    """What was started, by ``node/component``."""


def directory(name: str) -> Path:
    """Give the directory of a cluster."""
    return paths.state() / "clusters" / name


def read(name: str) -> State | None:
    """Read what is remembered about a cluster; None when there is no such cluster."""
    try:
        raw = json.loads((directory(name) / "state.json").read_text())
    except FileNotFoundError:
        return None
    processes = {component: Identity(*each) for component, each in raw["processes"].items()}
    return State(slot=raw["slot"], ready=raw["ready"], processes=processes)


def write(name: str, state: State) -> None:
    """Remember a cluster."""
    file = directory(name) / "state.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(asdict(state), indent=2) + "\n")
    partial.replace(file)


def names() -> list[str]:
    """List the clusters that are remembered."""
    return sorted(file.parent.name for file in paths.state().glob("clusters/*/state.json"))


def claim_slot(name: str, *, in_use: Callable[[Slot], bool]) -> Slot:
    """Give a cluster the lowest slot that nobody holds, and remember it.

    Parameters
    ----------
    name
        The cluster.
    in_use
        Tells whether something on this machine, of whatever origin, uses a
        slot's addresses or links.
    """
    with locked("slots"):
        taken = {found.slot for each in names() if each != name and (found := read(each))}
        taken |= {number for number in range(slots.COUNT) if in_use(Slot(number))}
        slot = slots.choose(taken)
        write(name, State(slot=slot.number))
        return slot


@contextmanager
def locked(what: str, *, within: Path | None = None) -> Iterator[None]:
    """Hold a lock of this name, against other processes too.

    Parameters
    ----------
    what
        A cluster's name: one command at a time changes a cluster.
    within
        Directory of the lock; left out, the user's own state.
    """
    file = (within or paths.state() / "locks") / what
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
