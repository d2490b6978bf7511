"""Instances of an environment: made, begun, stepped."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import utils as flattening

from innervate_environments.dialogue import MAX_OUTPUT
from innervate_environments.spaces import (
    MAX_TEXT,
    NUMBERS,
    Box,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from innervate_environments.dialogue import Dialogue


class Unusable(Exception):
    """The environment cannot be served; the message says why and what to do."""


class Move(NamedTuple):
    """What a step gave."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]


class Instance(Protocol):
    """One instance."""

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> tuple[Any, Mapping[str, Any]]:
        """Begin an episode; gives its first observation and what there is to know."""
        ...

    def step(self, action: Any) -> Move:
        """Take a step."""
        ...

    def close(self) -> None:
        """Give up what it holds."""
        ...


class Description(NamedTuple):
    """What every instance is like."""

    observation_space: Space
    action_space: Space
    max_episode_steps: int
    """0 for no limit."""
    package: Mapping[str, Any] | None = None
    """What a package for ``verifiers`` says of its tasks and rewards."""


class Maker(Protocol):
    """Makes instances of one environment."""

    def preload(self) -> None:
        """Import what instances need, without making one."""
        ...

    def describe(self) -> Description:
        """What every instance is like; makes one to see.

        Raises
        ------
        Unusable
            It is not known here, or has a space that cannot be served.
        """
        ...

    def make(self) -> Instance:
        """Make one."""
        ...


class GymnasiumMaker:
    """Makes instances of an environment that is registered with Gymnasium.

    Parameters
    ----------
    identifier
        As ``CartPole-v1``.
    arguments
        Of its maker.
    max_episode_steps
        Steps after which an episode is truncated; None for what it declares itself.
    """

    def __init__(
        self, identifier: str, arguments: Mapping[str, Any], *, max_episode_steps: int | None
    ) -> None:
        self._identifier = identifier
        self._arguments = dict(arguments)
        self._max_episode_steps = max_episode_steps

    def preload(self) -> None:
        """See `Maker`. What fails here fails again, and is told, where an instance is made."""
        entry = self._spec().entry_point
        if isinstance(entry, str):
            load_env_creator(entry)

    def describe(self) -> Description:
        """See `Maker`."""
        try:
            environment = self._environment()
        except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
            raise Unusable(
                f"gymnasium.id = {self._identifier!r} cannot be made: {type(error).__name__}: {error}; "
                "correct the id or its options, or name an image that registers it"
            ) from error
        limit = self._max_episode_steps or (environment.spec and environment.spec.max_episode_steps) or 0
        try:
            return Description(
                _space_of(_flat(environment.observation_space), "observation"),
                _space_of(environment.action_space, "action"),
                limit,
            )
        finally:
            environment.close()

    def make(self) -> Instance:
        """See `Maker`."""
        return _GymnasiumInstance(self._environment())

    def _environment(self) -> gymnasium.Env[Any, Any]:
        return gymnasium.make(
            self._spec(), self._max_episode_steps, disable_env_checker=True, **self._arguments
        )

    def _spec(self) -> gymnasium.envs.registration.EnvSpec:
        module, _, name = self._identifier.rpartition(":")
        if module:
            # It registers what it has.
            importlib.import_module(module)
        spec = copy.copy(gymnasium.spec(name))
        # The server itself steps no episode that was not begun.
        spec.order_enforce = False
        return spec


class _GymnasiumInstance:
    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        self._environment = environment
        self._step = environment.step
        self._convert = _converter(environment.observation_space)

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> tuple[Any, Mapping[str, Any]]:
        observation, info = self._environment.reset(
            seed=seed, options=None if options is None else {**options}
        )
        return (observation if self._convert is None else self._convert(observation)), info

    def step(self, action: Any) -> Move:
        observation, reward, terminated, truncated, info = self._step(action)
        if self._convert is not None:
            observation = self._convert(observation)
        return Move(observation, float(reward), bool(terminated), bool(truncated), info)

    def close(self) -> None:
        self._environment.close()


def _composite(space: gymnasium.Space[Any]) -> bool:
    return isinstance(space, (gymnasium.spaces.Dict, gymnasium.spaces.Tuple))


def _flat(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    if _composite(space) and space.is_np_flattenable:
        return flattening.flatten_space(space)
    return space


def _converter(space: gymnasium.Space[Any]) -> Callable[[Any], Any] | None:
    if _composite(space):
        return lambda observation: flattening.flatten(space, observation)
    return None


def _space_of(space: gymnasium.Space[Any], what: str) -> Space:
    match space:
        case gymnasium.spaces.Box() if space.dtype is not None and space.dtype.name in NUMBERS:
            return Box(space.dtype.name, space.shape, space.low, space.high)
        case gymnasium.spaces.Discrete():
            return Discrete(int(space.n), int(space.start))
        case gymnasium.spaces.MultiDiscrete() if space.nvec.ndim == 1 and not np.any(space.start):
            return MultiDiscrete(tuple(int(n) for n in space.nvec))
        case gymnasium.spaces.MultiBinary() if isinstance(space.n, int | np.integer):
            return MultiBinary(int(space.n))
        case gymnasium.spaces.Text():
            return Text(space.max_length)
    raise Unusable(
        f"the {what} space {space} cannot be served: must be Box, Discrete, MultiDiscrete, MultiBinary or "
        "Text (observations may be a Dict or Tuple of all but Text); wrap the environment so that it is"
    )


class DialogueMaker:
    """Makes dialogues, as a package provides them.

    Parameters
    ----------
    maker
        ``module:name`` of what makes one.
    """

    def __init__(self, maker: str) -> None:
        self._maker = maker

    def preload(self) -> None:
        """See `Maker`."""
        pkgutil.resolve_name(self._maker)

    def describe(self) -> Description:
        """See `Maker`."""
        try:
            self._dialogue()
        except Exception as error:
            raise Unusable(
                f"the dialogue {self._maker} cannot be made: {type(error).__name__}: {error}; correct the "
                "package that provides it"
            ) from error
        return Description(Text(MAX_TEXT), Text(MAX_TEXT), 0)

    def make(self) -> Instance:
        """See `Maker`."""
        return _DialogueInstance(self._dialogue())

    def _dialogue(self) -> Dialogue:
        made: Dialogue = pkgutil.resolve_name(self._maker)()
        return made


class _DialogueInstance:
    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> tuple[Any, Mapping[str, Any]]:
        if seed is None or options is None:
            raise ValueError("a dialogue needs a task and a seed")
        return _text(self._dialogue.begin(options, seed), MAX_TEXT), {}

    def step(self, action: Any) -> Move:
        text, output = self._dialogue.reply(action)
        if output is None:
            return Move(_text(text, MAX_TEXT), 0.0, terminated=False, truncated=False, info={})
        info = {"output": _text(output, MAX_OUTPUT)}
        return Move(_text(text, MAX_TEXT), 0.0, terminated=True, truncated=False, info=info)

    def close(self) -> None:
        """Nothing is held."""


def _text(value: object, most: int) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a dialogue must give texts, not {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"a dialogue gave {len(value)} characters, more than {most}")
    return value
