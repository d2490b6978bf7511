"""Appends a seed's experience to files, so that a resumed run neither loses nor doubles a row.

Rows go to a part that nobody sees. At a checkpoint `ExperienceWriter.flush` puts the part in its
place, and the cursor it returns belongs into the checkpoint. A run that resumes opens the writer
with the cursor of the checkpoint it resumes from: parts that came after it are removed, for their
rows are made again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
from innervate_releases import digests

from innervate_rl.experience import columns, parts
from innervate_rl.experience.columns import Place
from innervate_rl.experience.keeping import Best, only, together
from innervate_rl.experience.rows import Cursor, Keep, Origin, Split, Steps, Turns
from innervate_rl.experience.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from innervate_rl.experience.parts import Part
    from innervate_rl.settings import Settings

DIRECTORY: Final = "experience"
"""In a seed's directory."""
_SPILL_ROWS: Final = 1 << 16
"""Rows that are held in memory before they go to disk."""
_MOST_PARTS: Final = 256
"""Parts of the best episodes, before they are put together anew."""


def origin(settings: Settings) -> Origin:
    """What every row of a trainer's experience says of where it comes from."""
    chosen = settings.configuration
    configuration = json.dumps(chosen.decisive, sort_keys=True, separators=(",", ":"))
    release = chosen.policy.release
    chain = {
        **chosen.environment.chain,
        "configuration": digests.of_bytes(configuration.encode()),
        "release": release.digest if release else None,
        "trainer": settings.image,
        "seed": chosen.seed,
    }
    return Origin(f"{chosen.run.namespace}/{chosen.run.name}", chosen.seed, settings.attempt, chain)


class ExperienceWriter:
    """Keeps the experience of one seed.

    Parameters
    ----------
    directory
        Of this seed's experience alone, ``seeds/<seed>/experience``; made where it is missing.
    origin
        Written into every row.
    keep, max_episodes
        Which training episodes stay: none; the best `max_episodes`; or all steps of the newest
        (whole parts are removed as soon as the others hold `max_episodes` ended ones). The
        evaluation stays whole with `Keep.ALL`, else only the episodes that the report shows.
    rewards
        Names of all named rewards: a column each; where a batch has none of a name, it is empty.
    cursor
        Of the checkpoint that the run resumes from.
    fence
        Called before a part appears; raises where a later attempt has begun.

    Raises
    ------
    PartError
        What the cursor says is there is not.
    """

    def __init__(
        self,
        directory: Path,
        origin: Origin,
        *,
        keep: Keep = Keep.NONE,
        max_episodes: int = 1000,
        rewards: Sequence[str] = (),
        cursor: Cursor = Cursor(),  # noqa: B008  an immutable value
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._origin, self._fence = directory, origin, fence
        self._keep, self._max_episodes, self._rewards = keep, max_episodes, tuple(rewards)
        self._best = None if keep is Keep.ALL else Best(max_episodes if keep is Keep.BEST else 0)
        self._slots, self._cursor = Slots(), cursor
        self._waiting: list[Any] = []
        self._waiting_rows = 0
        self._touched = False
        self._rows = 0
        """In all parts that count, dead ones included."""
        self._ended = 0
        """Training episodes that ended since the last flush."""
        self._ended_in: dict[int, int] = {}
        """The same for each part that counts."""
        self._previous: str | None = None
        self._chains: list[Mapping[str, Any]] = []
        self._partial: parts.Partial | None = None
        parts.clean(directory, cursor)
        self._resume()
        if origin.chain not in self._chains:
            self._chains.append(origin.chain)

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        cursor: Cursor = Cursor(),  # noqa: B008  an immutable value
        rewards: Sequence[str] = (),
        fence: Callable[[], None] = lambda: None,
    ) -> Self:
        """Writer for a trainer: where, and what is kept, is said by its settings."""
        chosen = settings.configuration
        return cls(
            settings.directory / DIRECTORY,
            origin(settings),
            keep=Keep(chosen.experience.keep),
            max_episodes=chosen.experience.max_episodes,
            rewards=rewards,
            cursor=cursor,
            fence=fence,
        )

    @property
    def wants_training(self) -> bool:
        """Whether training steps are kept at all: otherwise there is no need to gather them."""
        return self._keep is not Keep.NONE

    def append_rollout(
        self,
        steps: Steps,
        *,
        iteration: int | npt.ArrayLike,
        policy: str | Sequence[str],
    ) -> None:
        """Append the next steps of the training's environments, which run side by side.

        Parameters
        ----------
        steps
            They continue where the last call ended: the same environments in the same order.
        iteration
            Of the training; (T,) where several are handed over at once.
        policy
            Digest of the behaviour policy; (T,) where they differ.
        """
        if not self.wants_training:
            return
        ended = _ended(steps).T
        count, length = ended.shape
        numbers = self._slots.advance(ended)
        chosen = np.arange(count * length)
        time = chosen % length if length else chosen
        self._add(
            columns.of_steps(
                steps,
                chosen,
                Place(
                    numbers.episode.reshape(-1),
                    numbers.step.reshape(-1),
                    _spread(iteration, time),
                    columns.policies(policy, time, len(chosen)),
                ),
                self._origin,
                Split.TRAINING,
            )
        )
        self._ended += int(np.count_nonzero(ended))

    def append_episodes(
        self,
        steps: Steps,
        lengths: npt.ArrayLike,
        *,
        iteration: int,
        policy: str,
        split: Split = Split.EVALUATION,
    ) -> None:
        """Append N whole episodes, padded to T steps: of an evaluation, usually.

        Parameters
        ----------
        steps
            Episode n is ``[:lengths[n], n]``.
        lengths
            (N,).
        """
        if split is Split.TRAINING and not self.wants_training:
            return
        count = np.asarray(lengths, np.int64)
        length = np.asarray(steps.terminated).shape[0]
        inside = np.arange(length) < count[:, None]
        first = self._slots.take(len(count))
        episode = np.broadcast_to(np.arange(first, first + len(count))[:, None], inside.shape)
        step = np.broadcast_to(np.arange(length), inside.shape)
        chosen = np.flatnonzero(inside)
        place = Place(
            episode[inside],
            step[inside],
            np.full(len(chosen), iteration),
            columns.policies(policy, None, len(chosen)),
        )
        self._add(columns.of_steps(steps, chosen, place, self._origin, split))
        if split is Split.TRAINING:
            self._ended += len(count)

    def append_turns(
        self, turns: Turns, *, iteration: int, policy: str, split: Split = Split.TRAINING
    ) -> None:
        """Append whole episodes of text."""
        if split is Split.TRAINING and not self.wants_training:
            return
        local = np.asarray(turns.episode, np.int64)
        if not len(local):
            return
        order = np.argsort(local, kind="stable")
        if np.any(order != np.arange(len(local))):
            raise ValueError("the turns of an episode must follow each other, the episodes in order")
        count = int(local[-1]) + 1
        begins = np.searchsorted(local, np.arange(count))
        place = Place(
            local + self._slots.take(count),
            np.arange(len(local)) - begins[local],
            np.full(len(local), iteration),
            columns.policies(policy, None, len(local)),
        )
        self._add(columns.of_turns(turns, place, self._origin, split))
        if split is Split.TRAINING:
            self._ended += count

    def flush(self) -> Cursor:
        """Put everything appended so far in its place; call it right before a checkpoint is saved.

        Returns
        -------
        Cursor
            To be kept in that checkpoint.
        """
        # The checkpoint with the last cursor is saved by now: what it does not count is not needed.
        parts.clean_before(self._directory, self._cursor.first)
        if not self._touched:
            return self._cursor
        number = self._cursor.next
        if self._best is not None:
            self._spill(self._best.take())
            first = self._gathered(self._best, number)
        else:
            self._spill(together(self._waiting) if self._waiting else None)
            self._waiting, self._waiting_rows = [], 0
            first = self._first_of_newest(number)
        partial = self._partial
        if partial is None:
            return self._cursor
        self._rows = partial.rows + (self._rows if first < number else 0)
        about = {
            "chains": self._chains,
            "previous": self._previous,
            "first": first,
            "keep": str(self._keep),
            "episodes": self._ended,
            "slots": self._slots.document(),
            "best": None if self._best is None else self._best.document(),
            "rows": self._rows,
        }
        self._fence()
        self._previous = partial.finish(about).digest()
        self._partial, self._touched, self._ended = None, False, 0
        self._cursor = Cursor(first, number + 1)
        return self._cursor

    def close(self) -> None:
        """End, after the last checkpoint is saved: what is not flushed is forgotten."""
        if self._partial is not None:
            self._partial.discard()
        parts.clean_before(self._directory, self._cursor.first)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._partial is not None:
            # The last checkpoint may not be saved: what an earlier one counts must stay.
            self._partial.discard()

    def _add(self, table: Any) -> None:
        table = columns.with_rewards(table, self._rewards)
        self._touched = True
        if self._best is not None:
            self._best.add(table)
            if self._best.waiting >= _SPILL_ROWS:
                self._spill(self._best.take())
            return
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= _SPILL_ROWS:
            self._spill(together(self._waiting))
            self._waiting, self._waiting_rows = [], 0

    def _spill(self, table: Any) -> None:
        if table is None:
            return
        if self._partial is None:
            self._partial = parts.Partial(self._directory, self._cursor.next, self._origin.attempt)
        self._partial.write(table)

    def _gathered(self, best: Best, number: int) -> int:
        """First part that counts; where most rows are dead, this one, with all that live put into it."""
        first, partial = self._cursor.first, self._partial
        if partial is None or first == number:
            return first
        dead = self._rows + partial.rows - best.live_rows
        if dead <= best.live_rows + _SPILL_ROWS and number - first < _MOST_PARTS:
            return first
        live = best.live
        for part in parts.span(self._directory, first, number):
            for table in part.tables():
                partial.write(only(table, live))
        return number

    def _first_of_newest(self, number: int) -> int:
        self._ended_in[number] = self._ended
        first, left = self._cursor.first, sum(self._ended_in.values())
        while first < number and left - self._ended_in[first] >= self._max_episodes:
            left -= self._ended_in.pop(first)
            first += 1
        return first

    def _resume(self) -> None:
        if self._cursor.next == self._cursor.first:
            return
        there = parts.span(self._directory, self._cursor.first, self._cursor.next)
        about = [part.about() for part in there]
        if about[-1]["keep"] != self._keep or about[-1]["first"] != self._cursor.first:
            raise parts.PartError(f"{there[-1].path} does not belong to this checkpoint")
        self._slots = Slots.of(about[-1]["slots"])
        self._previous, self._rows = there[-1].digest(), about[-1]["rows"]
        self._chains = list(about[-1]["chains"])
        if self._best is not None:
            self._restore(self._best, there, about[-1])
        else:
            self._ended_in = {part.number: each["episodes"] for part, each in zip(there, about, strict=True)}

    def _restore(self, best: Best, there: Sequence[Part], about: Mapping[str, Any]) -> None:
        wanted = about["best"]["shown"]
        shown = [only(table, wanted) for part in there if wanted for table in part.tables()]
        best.restore(about["best"], together(shown) if shown else None)


def _ended(steps: Steps) -> Any:
    ended = np.asarray(steps.terminated, bool) | np.asarray(steps.truncated, bool)
    return ended if steps.valid is None else ended | ~np.asarray(steps.valid, bool)


def _spread(iteration: Any, time: Any) -> Any:
    values = np.asarray(iteration, np.int64)
    return np.full(len(time), values) if values.ndim == 0 else values[time]
