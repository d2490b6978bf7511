"""The loop of a process of instances: read a request, do it place by place, answer."""

from __future__ import annotations

import contextlib
import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from innervate_environments.episodes import Reason
from innervate_environments.frames import (
    LENGTH,
    PROGRESS,
    Answer,
    Kind,
    Phase,
    pack_answer,
    unpack_request,
)
from innervate_environments.spaces import Text, element, to_json
from innervate_environments.worker.instances import Unusable

if TYPE_CHECKING:
    import mmap
    import socket
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from innervate_environments.frames import Request
    from innervate_environments.worker.instances import Description, Instance, Maker

_MAX_INFO_BYTES: Final = 65_536
"""A slot's info that is longer is left out, which the info then says."""
_MAX_PART: Final = 262_144
_MAX_MESSAGE: Final = 500


class Process:
    """Serves one socket until its other end is closed.

    Parameters
    ----------
    connection
        To the server.
    progress
        Shared with the server; see `frames.PROGRESS`.
    maker
        Makes instances.
    """

    def __init__(self, connection: socket.socket, progress: mmap.mmap, maker: Maker) -> None:
        self._connection = connection
        self._progress = progress
        self._maker = maker
        self._received = bytearray()
        self._instances: dict[int, Instance] = {}
        self._known: Description | None = None
        self._begun = 0

    def run(self) -> None:
        """Serve."""
        while (frame := self._read()) is not None:
            request = unpack_request(memoryview(frame))
            answer = self._answer(request)
            if answer is not None:
                self._enter(0, Phase.IDLE)
                self._connection.sendall(pack_answer(answer))

    def _read(self) -> bytes | None:
        """The next frame without its length; None when the other end is closed."""
        while True:
            if len(self._received) >= LENGTH.size:
                end = LENGTH.size + LENGTH.unpack_from(self._received)[0]
                if len(self._received) >= end:
                    frame = bytes(memoryview(self._received)[LENGTH.size : end])
                    del self._received[:end]
                    return frame
            part = self._connection.recv(_MAX_PART)
            if not part:
                return None
            self._received += part

    def _answer(self, request: Request) -> Answer | None:
        places = request.document.get("places", ())
        match request.kind:
            case Kind.DESCRIBE:
                return self._describe()
            case Kind.RESET:
                return self._reset(request.document)
            case Kind.STEP:
                return self._step(request)
            case Kind.CLOSE:
                for place in places:
                    self._drop(place)
                return None

    def _description(self) -> Description:
        if self._known is None:
            self._known = self._maker.describe()
        return self._known

    def _describe(self) -> Answer:
        self._enter(0, Phase.BEGIN)
        try:
            known = self._description()
        except Unusable as error:
            return Answer(description={"problem": str(error)})
        return Answer(
            description={
                "observation": to_json(known.observation_space),
                "action": to_json(known.action_space),
                "maxEpisodeSteps": known.max_episode_steps,
                "package": known.package,
            }
        )

    def _reset(self, document: Mapping[str, Any]) -> Answer:
        places, seeds, options = document["places"], document["seeds"], document["options"]
        answer, observations = Answer(), self._observations(len(places))
        for at, place in enumerate(places):
            seed = seeds[at] if seeds else None
            option = options[at] if options else None
            self._begin(answer, observations, at, place, seed=seed, options=option)
        return _finished(answer, observations, b"")

    def _step(self, request: Request) -> Answer:
        places, autoreset = request.document["places"], request.document["autoreset"]
        answer, observations = Answer(), self._observations(len(places))
        rewards = np.full(len(places), np.nan)
        ends = np.zeros((2, len(places)), np.bool_)
        finals: list[tuple[int, Any]] = []
        for at, (place, action) in enumerate(zip(places, self._actions(request), strict=True)):
            self._enter(place, Phase.STEP)
            try:
                observation, reward, terminated, truncated, info = self._instances[place].step(action)
                observations[at] = observation
                _require_finite(reward)
            except Exception as error:  # noqa: BLE001  an environment may raise anything
                self._fail(answer, at, place, error)
                continue
            if terminated or truncated:
                ends[0, at], ends[1, at] = terminated, truncated
                if autoreset:
                    final = observation if isinstance(observations, list) else observations[at].copy()
                    self._begin(answer, observations, at, place, after=info)
                    if at in answer.errors:
                        ends[:, at] = False
                        continue
                    finals.append((at, final))
                    info = {}
            rewards[at] = reward
            if info:
                answer.infos[at] = _info(info)
        answer.finals = [at for at, _ in finals]
        if isinstance(observations, list):
            answer.final_texts = [final for _, final in finals]
        head = rewards.astype("<f8").tobytes() + ends.tobytes()
        tail = b"" if isinstance(observations, list) else b"".join(final.tobytes() for _, final in finals)
        return _finished(answer, observations, head, tail)

    def _begin(
        self,
        answer: Answer,
        observations: list[str] | NDArray[Any],
        at: int,
        place: int,
        *,
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> None:
        self._enter(place, Phase.BEGIN)
        try:
            instance = self._instances.get(place)
            if instance is None:
                instance = self._instances[place] = self._maker.make()
            observation, info = instance.begin(seed, options)
            observations[at] = observation
        except Exception as error:  # noqa: BLE001  an environment may raise anything
            self._fail(answer, at, place, error)
            return
        if after:
            info = {**info, "final": after}
        if info:
            answer.infos[at] = _info(info)

    def _fail(self, answer: Answer, at: int, place: int, error: Exception) -> None:
        answer.errors[at] = (Reason.FAILED, f"{type(error).__name__}: {error}"[:_MAX_MESSAGE])
        # What raised may be broken: the next episode gets a new one.
        self._drop(place)

    def _drop(self, place: int) -> None:
        instance = self._instances.pop(place, None)
        if instance is not None:
            self._enter(place, Phase.BEGIN)
            # It is given up anyway.
            with contextlib.suppress(Exception):
                instance.close()
            self._enter(0, Phase.IDLE)

    def _observations(self, count: int) -> list[str] | NDArray[Any]:
        space = self._description().observation_space
        if isinstance(space, Text):
            return [""] * count
        dtype, shape = element(space)
        return np.zeros((count, *shape), dtype)

    def _actions(self, request: Request) -> list[Any]:
        space = self._description().action_space
        if isinstance(space, Text):
            return list(request.document["texts"])
        dtype, shape = element(space)
        actions = np.frombuffer(request.numbers, dtype).reshape((-1, *shape))
        # One whole number is what environments index with; an array is theirs to keep and to change.
        return list(actions.tolist()) if not shape and dtype.kind in "iu" else list(actions.copy())

    def _enter(self, place: int, phase: Phase) -> None:
        self._begun += 1
        PROGRESS.pack_into(self._progress, 0, self._begun, place, phase)


def _require_finite(reward: float) -> None:
    if not math.isfinite(reward):
        raise ValueError(f"the environment gave a reward of {reward}: must be finite")


def _finished(
    answer: Answer, observations: list[str] | NDArray[Any], head: bytes, tail: bytes = b""
) -> Answer:
    if isinstance(observations, list):
        answer.texts = observations
        answer.numbers = head
    else:
        answer.numbers = head + observations.tobytes() + tail
    return answer


def _info(info: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(info, default=_plain, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        return json.dumps({"omitted": f"the info is no JSON: {error}"[:_MAX_MESSAGE]})
    if len(text) > _MAX_INFO_BYTES:
        return json.dumps({"omitted": f"the info has {len(text)} bytes, more than {_MAX_INFO_BYTES}"})
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
