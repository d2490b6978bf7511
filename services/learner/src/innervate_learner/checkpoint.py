"""Checkpoints: the last one of a training, and the fence that keeps out earlier attempts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FENCE = "attempt"
_STATE = "state.npz"
_NOTES = "notes"


class FencedError(Exception):
    """A later attempt of the same training has begun: this one must not go on."""


class Saved(NamedTuple):
    """A checkpoint as it was read."""

    step: int
    state: Any
    notes: dict[str, Any]
    """What was kept beside the arrays."""


class Checkpoints:
    """The checkpoints of one training, in a directory of its own.

    Parameters
    ----------
    directory
        Named after all that decides the training; it must outlive the pod.
    attempt
        This attempt's number, to tell it by.
    """

    def __init__(self, directory: Path, attempt: int) -> None:
        self._directory = directory
        self._attempt = attempt
        self._claim = f"{attempt} {secrets.token_hex(8)}"

    def begin(self) -> None:
        """Shut out whoever began before.

        By the order in which they begin, not by their numbers: Kubernetes counts a Job's attempts from 0
        again when it goes on after a suspension.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._replace(_FENCE, self._claim.encode())
        # What kills left half written; whoever is still at it is shut out, and is told so where it ends.
        for name in (_FENCE, _STATE):
            for partial in self._directory.glob(f".{name}.*"):
                partial.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure that nobody has begun after this attempt.

        Raises
        ------
        FencedError
            Somebody has.
        """
        fence = self._directory / _FENCE
        newest = fence.read_text() if fence.is_file() else self._claim
        if newest != self._claim:
            number = newest.partition(" ")[0]
            raise FencedError(f"attempt {number} has begun; attempt {self._attempt} ends")

    def save(self, step: int, state: Any, notes: Mapping[str, Any] | None = None) -> str:
        """Write the state after `step` steps in the place of the last one; returns the checkpoint's name.

        Parameters
        ----------
        step
            Steps done.
        state
            Arrays, in any structure that JAX knows.
        notes
            What else is needed to go on, as JSON has it: a place in the data, say.
        """
        self.check()
        leaves = jax.tree.leaves(state)
        arrays = {f"{number:04}": np.asarray(leaf) for number, leaf in enumerate(leaves)}
        partial = self._partial(_STATE)
        with partial.open("wb") as file:
            arrays |= {"step": np.asarray(step), _NOTES: np.asarray(json.dumps(dict(notes or {})))}
            np.savez(file, **arrays)  # type: ignore[arg-type]  # the names are no options
            file.flush()
            os.fsync(file.fileno())
        try:
            partial.replace(self._directory / _STATE)
        except FileNotFoundError:
            # Whoever begins removes what others have half written.
            self.check()
            raise
        return f"{self._directory.name}/{step}"

    def load(self, like: Any) -> tuple[int, Any]:
        """The last checkpoint's step and state; step 0 and `like` itself where there is none.

        Parameters
        ----------
        like
            A state of the same structure.
        """
        saved = self.read(like)
        return (saved.step, saved.state) if saved else (0, like)

    def read(self, like: Any) -> Saved | None:
        """The last checkpoint, notes included; None where there is none.

        Parameters
        ----------
        like
            A state of the same structure.
        """
        path = self._directory / _STATE
        if not path.is_file():
            return None
        leaves, structure = jax.tree.flatten(like)
        try:
            with np.load(path) as file:
                read = [file[f"{number:04}"] for number in range(len(leaves))]
                step = int(file["step"])
                notes = json.loads(str(file[_NOTES])) if _NOTES in file else {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            # It is renamed into place whole, so this is a damaged volume: begin again, all is repeatable.
            return None
        fits = all(
            np.shape(old) == new.shape and np.asarray(old).dtype == new.dtype
            for old, new in zip(leaves, read, strict=True)
        )
        if not fits:
            return None
        return Saved(step, jax.tree.unflatten(structure, list(map(jax.numpy.asarray, read))), notes)

    def remove(self) -> None:
        """Forget this training: its release is there."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _partial(self, name: str) -> Path:
        """Where a file is written before it takes its place: nobody else's."""
        return self._directory / f".{name}.{self._claim.replace(' ', '.')}"

    def _replace(self, name: str, content: bytes) -> None:
        partial = self._partial(name)
        while True:
            partial.write_bytes(content)
            # Somebody who begins at the same time may have removed it.
            with contextlib.suppress(FileNotFoundError):
                partial.replace(self._directory / name)
                return


def identity(**decisive: Any) -> str:
    """A name for a training made of all that decides its outcome."""
    text = json.dumps(decisive, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
