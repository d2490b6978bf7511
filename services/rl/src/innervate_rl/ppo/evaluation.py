"""Fresh episodes of a finished policy in an environment's service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from innervate_rl.errors import RunError
from innervate_rl.experience.rows import Steps
from innervate_rl.ppo.service import flat, void_of
from innervate_rl.ppo.source import Evaluated, Void

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_environments.client import VectorEnvironment

_LEAST_SPARE: Final = 20
"""So many void episodes are made up for at least; with many episodes, as many as there are."""

Numbers = np.ndarray[Any, Any]


class _Step(NamedTuple):
    observation: Numbers
    action: int
    reward: float
    terminated: bool
    truncated: bool
    final: Numbers


class Evaluation:
    """Episodes of an evaluation, in any number of attempts.

    Each has a seed of its own, so it does not matter in which slot it is played, nor how often it was begun.

    Parameters
    ----------
    episodes
        How many valid ones are wanted.
    slots
        How many are played side by side.
    limit
        Most steps of one.
    choose
        Observations of all slots give actions.
    seed
        An episode's number gives its seed.
    first_action
        The environment's own number of action 0.
    """

    def __init__(
        self,
        episodes: int,
        *,
        slots: int,
        limit: int,
        choose: Callable[[Numbers], Numbers],
        seed: Callable[[int], int],
        first_action: int,
    ) -> None:
        self._limit, self._choose, self._seed, self._first = limit, choose, seed, first_action
        self._slots = slots
        self._waiting = list(range(episodes))
        self._spare = range(episodes, episodes + max(_LEAST_SPARE, episodes))
        """Numbers of episodes that are played in place of void ones."""
        self._played: dict[int, list[_Step]] = {}
        self._void = Void()

    @property
    def played(self) -> int:
        """Valid episodes so far."""
        return len(self._played)

    def go_on(self, environment: VectorEnvironment) -> None:
        """Play what is missing.

        Raises
        ------
        EnvironmentLost
            The environment is gone; another lease can go on.
        RunError
            Too many episodes are void.
        """
        playing: dict[int, tuple[int, list[_Step]]] = {}
        seen: Numbers | None = None
        try:
            while True:
                free = [slot for slot in range(self._slots) if slot not in playing]
                seen = self._begin(environment, free, playing, seen)
                if not playing:
                    return
                self._step(environment, playing, seen)
        except BaseException:
            self._waiting[:0] = sorted(number for number, _ in playing.values())
            self._void = self._void.plus(Void(infrastructure=len(playing)))
            raise

    def outcome(self) -> Evaluated:
        """All episodes, by their numbers."""
        episodes = [self._played[number] for number in sorted(self._played)]
        lengths = np.array([len(steps) for steps in episodes])
        longest = int(lengths.max())

        def column(name: str, dtype: Any, *shape: int) -> Numbers:
            array = np.zeros((longest, len(episodes), *shape), dtype)
            for place, steps in enumerate(episodes):
                array[: len(steps), place] = [getattr(step, name) for step in steps]
            return array

        size = len(episodes[0][0].observation)
        steps = Steps(
            observation=column("observation", np.float32, size),
            action=column("action", np.int64),
            reward=column("reward", np.float64),
            terminated=column("terminated", bool),
            truncated=column("truncated", bool),
            final_observation=column("final", np.float32, size),
        )
        returns = np.array([sum(step.reward for step in steps) for steps in episodes])
        return Evaluated(returns, lengths, steps, self._void)

    def _begin(
        self,
        environment: VectorEnvironment,
        free: list[int],
        playing: dict[int, tuple[int, list[_Step]]],
        seen: Numbers | None,
    ) -> Numbers:
        while free and self._waiting:
            taken = free[: len(self._waiting)]
            numbers, self._waiting = self._waiting[: len(taken)], self._waiting[len(taken) :]
            playing |= {slot: (number, []) for slot, number in zip(taken, numbers, strict=True)}
            begun = environment.reset([self._seed(number) for number in numbers], slots=taken)
            rows = flat(begun.observations)
            if seen is None:
                seen = np.zeros((self._slots, rows.shape[1]), np.float32)
            seen[taken] = rows
            self._void = self._void.plus(void_of(begun.errors))
            for at, failure in begun.errors.items():
                del playing[taken[at]]
                self._replace(failure.message)
            free = [slot for slot in free if slot not in playing]
        return np.zeros((self._slots, 1), np.float32) if seen is None else seen

    def _step(
        self, environment: VectorEnvironment, playing: dict[int, tuple[int, list[_Step]]], seen: Numbers
    ) -> None:
        slots = sorted(playing)
        # All slots, also those without an episode: a shape of its own would be compiled for each count.
        actions = self._choose(seen)
        answer = environment.step(actions[slots].astype(np.int64) + self._first, slots=slots)
        rows = flat(answer.observations)
        self._void = self._void.plus(void_of(answer.errors))
        for at, slot in enumerate(slots):
            number, steps = playing[slot]
            if at in answer.errors:
                del playing[slot]
                self._replace(answer.errors[at].message)
                continue
            terminated = bool(answer.terminated[at])
            truncated = bool(answer.truncated[at]) or (len(steps) + 1 >= self._limit and not terminated)
            reward = float(answer.rewards[at])
            steps.append(
                _Step(seen[slot].copy(), int(actions[slot]), reward, terminated, truncated, rows[at])
            )
            seen[slot] = rows[at]
            if terminated or truncated:
                self._played[number] = steps
                del playing[slot]

    def _replace(self, why: str) -> None:
        """Play another episode in place of a void one."""
        if not self._spare:
            raise RunError(f"too many episodes of the evaluation are void; the environment says: {why}")
        self._waiting.append(self._spare[0])
        self._spare = self._spare[1:]
