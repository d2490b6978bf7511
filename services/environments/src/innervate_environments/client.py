"""A synchronous client for trainers: many slots of one environment, stepped together.

    with VectorEnvironment.open("grpcs://cart-environment.lab.svc:7443", slots=64) as environment:
        observations = environment.reset(seeds=range(64)).observations
        steps = environment.step(policy(observations))

One stream carries a lease from its first to its last step. Nothing reconnects by itself: a lost server
has lost the episodes, and what that means is the caller's to decide.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import grpc
import numpy as np
from innervate_api.env.v1 import env_pb2, env_pb2_grpc
from opentelemetry import propagate

from innervate_environments.description import Chain, Description, Reward
from innervate_environments.episodes import Failure, Named, Reason, Role
from innervate_environments.messages import Malformed, space_of, values_message, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = [
    "Begun",
    "Chain",
    "Credentials",
    "Description",
    "EnvironmentLost",
    "EnvironmentRefused",
    "Failure",
    "Named",
    "Reason",
    "Reward",
    "Role",
    "Steps",
    "VectorEnvironment",
]

_MAX_MESSAGE_BYTES: Final = 256 * 1024 * 1024
"""Of an answer: the server's own limit is lower."""
_STREAM_SECONDS: Final = 86_400
"""Life of a stream: the server allows no more."""
_WATCH_SECONDS: Final = 0.2
"""How exactly a timeout is kept."""
_CLOSE_SECONDS: Final = 5.0
_LOCAL_TOKEN: Final = "local"  # noqa: S105  a server on a Unix socket asks for a token and takes any
_PERMANENT: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_REASONS: Final = {reason.value: reason for reason in Reason}
_ROLES: Final = {
    env_pb2.REWARD_ROLE_TRAINED: Role.TRAINED,
    env_pb2.REWARD_ROLE_CANARY: Role.CANARY,
    env_pb2.REWARD_ROLE_HELD_OUT: Role.HELD_OUT,
}


class EnvironmentRefused(Exception):
    """The server refuses: the same again would be refused again."""


class EnvironmentLost(Exception):
    """The server is gone, full or late; the lease and its episodes are lost. Opening anew may help."""


class Credentials(NamedTuple):
    """How a pod shows who it is, and whom it trusts. Both files are read again for every connection."""

    authorities: Path = Path("/etc/innervate/trust/ca.crt")
    """Whom the server's certificate must be of, PEM."""
    token: Path = Path("/var/run/secrets/innervate/token")
    """The caller's ServiceAccount token, audience `innervate`."""


class Begun(NamedTuple):
    """First observations of episodes, in the order of the slots."""

    observations: NDArray[Any] | list[str]
    infos: dict[int, dict[str, Any]]
    """By position."""
    errors: dict[int, Failure]
    """By position: such a slot has no episode, and its observation means nothing."""


class Steps(NamedTuple):
    """One step of each slot, in the order of the slots."""

    observations: NDArray[Any] | list[str]
    """First axis is the slots. With autoreset, of the new episode where one began."""
    rewards: NDArray[np.float64]
    """(slots,); NaN where the slot has an error."""
    terminated: NDArray[np.bool_]
    """(slots,)"""
    truncated: NDArray[np.bool_]
    """(slots,)"""
    named: dict[int, Named]
    """Rewards by name, by position, where an episode has any besides the environment's own."""
    errors: dict[int, Failure]
    """By position: the episode is void and the slot needs a reset."""
    finals: dict[int, NDArray[Any] | str]
    """By position: the last observation of an episode after which another began by itself."""
    infos: dict[int, dict[str, Any]]
    """By position; with autoreset and an ended episode, the ended one's under `final` and the new one's."""


class VectorEnvironment:
    """Slots of an environment, stepped together. Not for use by several threads at once.

    Use `open`; the instance is a context manager.
    """

    def __init__(
        self, channel: grpc.Channel, token: str, *, slots: int, autoreset: bool, seconds: float
    ) -> None:
        self.slots = slots
        """How many there are."""
        self._channel = channel
        self.timeout = seconds
        """Seconds that each reset and step may take."""
        self._stub = env_pb2_grpc.EnvironmentServiceStub(channel)
        carrier = {"authorization": f"Bearer {token}"}
        propagate.inject(carrier)
        self._metadata: tuple[tuple[str, str | bytes], ...] = tuple(carrier.items())
        self._requests: queue.SimpleQueue[env_pb2.SessionRequest | None] = queue.SimpleQueue()
        self._call: Any = None
        self._until: float | None = None
        self._late = False
        self._closed = threading.Event()
        self._problem: Exception | None = None
        self.describe = self._describe()
        """What the environment is."""
        self._lease = self._begin(slots, autoreset=autoreset)

    @classmethod
    def open(
        cls,
        endpoint: str,
        *,
        slots: int,
        autoreset: bool = True,
        credentials: Credentials | None = None,
        timeout: float = 60.0,
    ) -> Self:
        """Take a lease.

        Parameters
        ----------
        endpoint
            ``grpcs://host:port`` as in an Environment's status, or ``unix:/path`` of a local server.
        slots
            How many instances.
        autoreset
            Whether a slot whose episode ended begins the next one by itself, within the same step.
        credentials
            By default those of a pod; a local server needs none.
        timeout
            Seconds that opening, and each reset and step, may take.

        Raises
        ------
        EnvironmentRefused
            The caller may not use it, or asks for something that is not there.
        EnvironmentLost
            It cannot be reached, or has too few free slots now.
        ValueError
            The endpoint is no endpoint.
        """
        channel, token = _connect(endpoint, credentials or Credentials())
        try:
            return cls(channel, token, slots=slots, autoreset=autoreset, seconds=timeout)
        except BaseException:
            channel.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reset(
        self,
        seeds: Sequence[int] | None = None,
        options: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        slots: Sequence[int] | None = None,
    ) -> Begun:
        """Begin episodes.

        Parameters
        ----------
        seeds
            One for each slot; without, each goes on with its own random numbers.
        options
            The environment's own: one for each slot, or one for all.
            Tasks know ``{"task": index, "split": "training"}``.
        slots
            Which; by default all.

        Raises
        ------
        EnvironmentRefused
            An argument is refused.
        EnvironmentLost
            The server is gone or late.
        """
        if options is None:
            texts = []
        else:
            each = [options] if hasattr(options, "keys") else options
            texts = [json.dumps(option) for option in each]
        request = env_pb2.ResetRequest(slots=slots or (), seeds=seeds or (), options=texts)
        answer = self._ask(env_pb2.SessionRequest(reset=request)).reset
        return Begun(
            _observations(answer.observations),
            {info.index: json.loads(info.info) for info in answer.infos},
            _failures(answer.errors),
        )

    def step(self, actions: NDArray[Any] | Sequence[str], *, slots: Sequence[int] | None = None) -> Steps:
        """Take one step in each slot.

        Parameters
        ----------
        actions
            The first axis is the slots; texts where actions are texts.
        slots
            Which; by default all.

        Raises
        ------
        EnvironmentRefused
            An argument is refused.
        EnvironmentLost
            The server is gone or late.
        """
        request = env_pb2.StepRequest(slots=slots or (), actions=values_message(actions))
        answer = self._ask(env_pb2.SessionRequest(step=request)).step
        return Steps(
            _observations(answer.observations),
            np.fromiter(answer.rewards, np.float64, len(answer.rewards)),
            np.fromiter(answer.terminated, np.bool_, len(answer.terminated)),
            np.fromiter(answer.truncated, np.bool_, len(answer.truncated)),
            {item.index: Named(dict(item.values), dict(item.failures)) for item in answer.named},
            _failures(answer.errors),
            {item.index: _observations(item.observation)[0] for item in answer.finals},
            {info.index: json.loads(info.info) for info in answer.infos},
        )

    def close(self) -> None:
        """End the lease; a second time changes nothing.

        It waits a little for the server to say that the slots are free.
        """
        if self._closed.is_set():
            return
        self._requests.put(None)
        if self._call is not None and self._problem is None:
            self._until = time.monotonic() + _CLOSE_SECONDS
            with contextlib.suppress(grpc.RpcError):
                for _ in self._call:
                    pass
        self._closed.set()
        if self._call is not None:
            self._call.cancel()
        self._channel.close()

    def _describe(self) -> Description:
        try:
            answer = self._stub.Describe(
                env_pb2.DescribeRequest(),
                timeout=self.timeout,
                metadata=self._metadata,
                wait_for_ready=True,
            )
        except grpc.RpcError as error:
            raise _mapped(error) from error
        return Description(
            id=answer.id,
            observation_space=space_of(answer.observation_space),
            action_space=space_of(answer.action_space),
            rewards=tuple(Reward(r.name, r.weight, _ROLES[r.role]) for r in answer.rewards),
            max_episode_steps=answer.max_episode_steps,
            chain=Chain(
                answer.chain.environment, answer.chain.image, answer.chain.rewards, answer.chain.tasks
            ),
            capacity=answer.capacity,
            free=answer.free,
            training_tasks=answer.training_tasks,
            evaluation_tasks=answer.evaluation_tasks,
        )

    def _begin(self, slots: int, *, autoreset: bool) -> str:
        self._call = self._stub.Session(
            iter(self._requests.get, None), timeout=_STREAM_SECONDS, metadata=self._metadata
        )
        threading.Thread(target=self._watch, name="environment-timeout", daemon=True).start()
        opening = env_pb2.OpenRequest(slots=slots, autoreset=autoreset, request_id=uuid.uuid4().hex)
        try:
            return self._ask(env_pb2.SessionRequest(open=opening)).open.lease
        except BaseException:
            self.close()
            raise

    def _ask(self, request: env_pb2.SessionRequest) -> env_pb2.SessionResponse:
        if self._problem is not None:
            raise EnvironmentLost(f"the lease is lost: {self._problem}") from self._problem
        if self._closed.is_set():
            raise EnvironmentLost("the lease was closed; open another")
        self._until = time.monotonic() + self.timeout
        self._requests.put(request)
        try:
            answer: env_pb2.SessionResponse = next(self._call)
        except grpc.RpcError as error:
            failure: Exception = (
                EnvironmentLost(f"no answer within {self.timeout:g} s") if self._late else _mapped(error)
            )
        except StopIteration:
            failure = EnvironmentLost("the server ended the stream")
        else:
            return answer
        finally:
            self._until = None
        self._problem = failure
        raise failure

    def _watch(self) -> None:
        """End the stream once an answer is late: reading it knows no timeout of its own."""
        while not self._closed.wait(_WATCH_SECONDS):
            until = self._until
            if until is not None and time.monotonic() > until:
                self._late = True
                self._call.cancel()
                return


def _connect(endpoint: str, credentials: Credentials) -> tuple[grpc.Channel, str]:
    options = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        # A node whose network is gone says nothing: ask it, or a step would wait for its timeout.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Leases of one process must not share a connection: a stream holds up the others behind it.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if endpoint.startswith("unix:"):
        return grpc.insecure_channel(endpoint, options=options), _LOCAL_TOKEN
    target = endpoint.removeprefix("grpcs://")
    if target == endpoint or not target.rpartition(":")[2].isdecimal():
        raise ValueError(f"endpoint = {endpoint!r}: must be grpcs://host:port or unix:/path")
    tls = grpc.ssl_channel_credentials(root_certificates=credentials.authorities.read_bytes())
    token = credentials.token.read_text(encoding="ascii").strip()
    return grpc.secure_channel(target, tls, options=options), token


def _mapped(error: grpc.RpcError) -> Exception:
    code, details = error.code(), error.details()
    kind = EnvironmentRefused if code in _PERMANENT else EnvironmentLost
    return kind(f"{code.name}: {details}")


def _observations(message: env_pb2.Values) -> NDArray[Any] | list[str]:
    try:
        return values_of(message)
    except Malformed as error:
        raise EnvironmentLost(f"the server's answer cannot be read: observations: {error}") from error


def _failures(errors: Iterable[env_pb2.SlotError]) -> dict[int, Failure]:
    return {
        error.index: Failure(_REASONS.get(error.reason, Reason.UNSPECIFIED), error.message)
        for error in errors
    }
