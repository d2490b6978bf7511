"""Experience from an environment's service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from innervate_environments.client import (
    Credentials,
    EnvironmentLost,
    EnvironmentRefused,
    VectorEnvironment,
)
from innervate_service.config import ConfigError

from innervate_rl import stopping
from innervate_rl.chain import require_same
from innervate_rl.errors import RunError
from innervate_rl.ppo import network
from innervate_rl.ppo import rollout as compiled
from innervate_rl.ppo.evaluation import Evaluation
from innervate_rl.ppo.learning import Batch
from innervate_rl.ppo.service import flat, sizes, void_of
from innervate_rl.ppo.source import STREAM_EVALUATION, STREAM_TRAINING, Evaluated, Rollout, Void

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from innervate_rl.ppo.network import Parameters
    from innervate_rl.settings import Settings

_GONE_SECONDS: Final = 300.0
"""How long an outage may last before the run fails; another attempt waits again."""
_ANSWER_SECONDS: Final = 60.0
"""How long an answer may take: the service itself ends a step that hangs earlier."""
_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 10.0
_BEGINNINGS: Final = 10
"""How often a slot's next episode is begun before the environment counts as away."""
_LONGEST_EPISODE: Final = 100_000
"""Steps after which an episode of an evaluation ends where the environment has no limit."""

Numbers = np.ndarray[Any, Any]


T = TypeVar("T")


class Slot(NamedTuple):
    """An episode under way: seed and actions are enough to have it again."""

    seed: int
    actions: list[int]
    """Grows with every finished rollout; a new episode has a new one."""
    reward: float
    """Sum so far."""


class Remote:
    """Implements `Source`.

    Every episode has a seed of its own. So whenever the service or the trainer was away, episodes are
    played again by their actions up to where they were, and what follows is what would have followed.

    Parameters
    ----------
    settings
        Of the run.
    count
        Environments side by side.
    steps
        Of each between two updates.

    Raises
    ------
    ConfigError
        The environment is none that PPO can learn in, or refuses, or is not the one that the run was
        made for. Every method that finds another one after an outage raises it, too.
    RunError
        It is away for too long.
    """

    def __init__(self, settings: Settings, *, count: int, steps: int) -> None:
        where = settings.configuration.environment
        assert where.endpoint is not None  # noqa: S101  the settings have it where there is no JAX
        self._endpoint = where.endpoint
        self._credentials = Credentials(settings.trust / "ca.crt", settings.token)
        self._seed = settings.configuration.seed
        self._count, self._length = count, steps
        self._environment: VectorEnvironment | None = None
        self._fresh = True
        """Whether the lease is new: its slots are in no episodes."""
        self._slots: list[Slot] = []
        self._next = 0
        """Number of the next episode."""
        self._lost = Void()
        """Episodes that were lost since the last rollout."""
        self._since: float | None = None
        """When the outage began that lasts."""
        self._furthest = -1
        """Step of the rollout that was answered, in whichever attempt at it."""
        self._act = jax.jit(compiled.act)
        self._likeliest = jax.jit(lambda *at: jnp.argmax(network.logits(*at), axis=-1))
        self._noise = jax.jit(self._draw)
        self.chain: Mapping[str, str] = where.chain
        try:
            self._about = self._persist(self._open).describe
        except EnvironmentRefused as error:
            raise ConfigError(f"the environment at {self._endpoint} refuses: {error}") from error
        self.observation_size, self.actions, self._first = sizes(self._about)
        self._observations: Numbers = np.zeros((count, self.observation_size), np.float32)
        told = {name: digest for name, digest in self._about.chain._asdict().items() if digest}
        self.chain = {**where.chain, **told}

    def state(self) -> Any:
        """See `Source`."""
        return {"observations": self._observations}

    def notes(self) -> dict[str, Any]:
        """See `Source`."""
        slots = [list(slot) for slot in self._slots]
        return {"next": self._next, "slots": slots, "chain": dict(self.chain)}

    def restore(self, state: Any, notes: Mapping[str, Any]) -> None:
        """See `Source`."""
        require_same(notes["chain"], self.chain)
        self._observations = np.array(state["observations"])
        self._next = notes["next"]
        self._slots = [Slot(*slot) for slot in notes["slots"]]
        self._lose()

    def rollout(self, parameters: Parameters, iteration: int) -> Rollout:
        """See `Source`."""
        noise = np.asarray(self._noise(iteration))
        observations, slots, following = self._observations, list(self._slots), self._next
        self._furthest = -1

        def attempt() -> Rollout:
            # What an attempt did that was cut short is forgotten: this one starts at the last update's end.
            self._observations, self._slots, self._next = observations.copy(), list(slots), following
            return self._collect(self._ready(), parameters, noise)

        made = self._serve(attempt)
        void, self._lost = made.void.plus(self._lost), Void()
        return made._replace(void=void)

    def evaluate(self, parameters: Parameters, episodes: int) -> Evaluated:
        """See `Source`."""
        self._slots = []
        evaluation = Evaluation(
            episodes,
            slots=self._count,
            limit=self._about.max_episode_steps or _LONGEST_EPISODE,
            choose=lambda seen: np.asarray(self._likeliest(parameters, seen)),
            seed=lambda number: self._episode_seed(STREAM_EVALUATION, number),
            first_action=self._first,
        )

        def attempt() -> None:
            played = evaluation.played
            try:
                evaluation.go_on(self._environment or self._open())
            except EnvironmentLost:
                if evaluation.played > played:
                    self._since = None
                raise

        self._serve(attempt)
        return evaluation.outcome()

    def close(self) -> None:
        """See `Source`."""
        self._lose()

    def _collect(self, environment: VectorEnvironment, parameters: Parameters, noise: Numbers) -> Rollout:
        shape = (self._length, self._count)
        batch = Batch(
            observations=np.zeros((*shape, self.observation_size), np.float32),
            actions=np.zeros(shape, np.int32),
            logprobs=np.zeros(shape, np.float32),
            rewards=np.zeros(shape, np.float32),
            terminated=np.zeros(shape, bool),
            truncated=np.zeros(shape, bool),
            finals=np.zeros((*shape, self.observation_size), np.float32),
            valid=np.ones(shape, bool),
            last=self._observations,
        )
        begun = np.zeros(self._count, np.int64)
        sums = np.array([slot.reward for slot in self._slots])
        failures: dict[tuple[int, int], str] = {}
        void, returns, lengths = Void(), [], []
        for time_step in range(self._length):
            batch.observations[time_step] = self._observations
            actions, logprobs = self._act(parameters, self._observations, noise[time_step])
            batch.actions[time_step], batch.logprobs[time_step] = actions, logprobs
            answer = environment.step(batch.actions[time_step].astype(np.int64) + self._first)
            self._advance(time_step)
            self._observations = flat(answer.observations)
            batch.finals[time_step] = self._observations
            rewards = answer.rewards.copy()
            rewards[list(answer.errors)] = 0.0
            sums += rewards
            batch.rewards[time_step] = rewards
            batch.terminated[time_step], batch.truncated[time_step] = answer.terminated, answer.truncated
            ended = answer.terminated | answer.truncated
            for place, failure in answer.errors.items():
                # Nothing of a void episode is learned from, as far as it was not learned from already.
                batch.valid[begun[place] : time_step + 1, place] = False
                failures[time_step, place] = f"{failure.reason.name}: {failure.message}"
                ended[place] = True
            if not ended.any():
                continue
            over = np.flatnonzero(ended).tolist()
            counted = [place for place in over if place not in answer.errors]
            returns += [float(sums[place]) for place in counted]
            lengths += [
                len(self._slots[place].actions) + time_step + 1 - int(begun[place]) for place in counted
            ]
            void = void.plus(void_of(answer.errors)).plus(self._begin(environment, over))
            begun[over], sums[over] = time_step + 1, 0.0
        for place, slot in enumerate(self._slots):
            slot.actions.extend(batch.actions[begun[place] :, place].tolist())
            self._slots[place] = slot._replace(reward=float(sums[place]))
        batch = batch._replace(last=self._observations)
        return Rollout(batch, len(returns), sum(returns), sum(lengths), void, failures)

    def _advance(self, time_step: int) -> None:
        """Take an outage for over where a rollout gets further than before.

        That a call was answered is not enough: what always dies at the same step would be tried forever.
        """
        if time_step > self._furthest:
            self._furthest, self._since = time_step, None

    def _begin(self, environment: VectorEnvironment, slots: Sequence[int]) -> Void:
        """Begin the next episode in each of these slots; gives what could not be begun."""
        void, waiting, why = Void(), list(slots), ""
        for _ in range(_BEGINNINGS):
            numbers = range(self._next, self._next + len(waiting))
            seeds = [self._episode_seed(STREAM_TRAINING, number) for number in numbers]
            self._next += len(waiting)
            begun = environment.reset(seeds, slots=waiting)
            rows = flat(begun.observations)
            for at, place in enumerate(waiting):
                if at not in begun.errors:
                    self._slots[place] = Slot(seeds[at], [], 0.0)
                    self._observations[place] = rows[at]
            if not begun.errors:
                return void
            void = void.plus(void_of(begun.errors))
            why = next(iter(begun.errors.values())).message
            waiting = [waiting[at] for at in begun.errors]
            time.sleep(_PAUSE_SECONDS)
        raise EnvironmentLost(f"no episode can be begun: {why}")

    def _episode_seed(self, stream: int, number: int) -> int:
        return int(np.random.SeedSequence([self._seed, stream, number]).generate_state(1)[0])

    def _draw(self, iteration: int) -> jax.Array:
        stream = jax.random.fold_in(jax.random.PRNGKey(self._seed), STREAM_TRAINING)
        key = jax.random.fold_in(stream, iteration + 1)
        return compiled.noise(key, self._length, self._count, self.actions)

    def _open(self) -> VectorEnvironment:
        self._lose()
        try:
            self._environment = VectorEnvironment.open(
                self._endpoint,
                slots=self._count,
                autoreset=False,
                credentials=self._credentials,
                timeout=_ANSWER_SECONDS,
            )
        except (OSError, ValueError) as error:
            raise EnvironmentLost(f"no connection can be made: {error}") from error
        # Whoever answers after an outage may be another environment by the same name.
        try:
            require_same(self.chain, self._environment.describe.chain)
        except ConfigError:
            self._lose()
            raise
        return self._environment

    def _ready(self) -> VectorEnvironment:
        """The environment, each slot within the episode that it is to be in."""
        if self._environment is not None and self._slots and not self._fresh:
            return self._environment
        environment = self._environment or self._open()
        if self._slots:
            self._replay(environment)
        else:
            self._slots = [Slot(0, [], 0.0)] * self._count
            self._lost = self._lost.plus(self._begin(environment, range(self._count)))
        self._fresh = False
        return environment

    def _replay(self, environment: VectorEnvironment) -> None:
        """Bring a new lease to where the old one was; an episode that comes out otherwise is void."""
        begun = environment.reset([slot.seed for slot in self._slots])
        seen = flat(begun.observations)
        void = set(begun.errors)
        for number in range(max(len(slot.actions) for slot in self._slots)):
            going = [
                place
                for place, slot in enumerate(self._slots)
                if number < len(slot.actions) and place not in void
            ]
            if not going:
                break
            actions = np.array([self._slots[place].actions[number] for place in going], np.int64)
            answer = environment.step(actions + self._first, slots=going)
            seen[going] = flat(answer.observations)
            ended = answer.terminated | answer.truncated
            void |= {place for at, place in enumerate(going) if at in answer.errors or ended[at]}
        void |= {
            place for place, row in enumerate(seen) if not np.array_equal(row, self._observations[place])
        }
        if void:
            self._lost = self._lost.plus(Void(infrastructure=len(void)))
            self._lost = self._lost.plus(self._begin(environment, sorted(void)))

    def _lose(self) -> None:
        self._fresh = True
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _serve(self, attempt: Callable[[], T]) -> T:
        """Persist with what worked before: a refusal now may have to do with a change to the environment."""
        try:
            return self._persist(attempt)
        except EnvironmentRefused as error:
            raise RunError(f"the environment at {self._endpoint} refuses: {error}") from error

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Try until it works; an environment that stays away fails the run."""
        pause = _PAUSE_SECONDS
        while True:
            try:
                answer = attempt()
            except EnvironmentLost as error:
                now = time.monotonic()
                if self._since is None:
                    self._since, pause = now, _PAUSE_SECONDS
                if self._environment is not None:
                    self._lost = self._lost.plus(Void(infrastructure=len(self._slots)))
                self._lose()
                if stopping.told() or now - self._since > _GONE_SECONDS:
                    raise RunError(f"the environment at {self._endpoint} is away: {error}") from error
            else:
                self._since = None
                return answer
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
