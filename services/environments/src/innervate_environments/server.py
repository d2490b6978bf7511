"""gRPC on one side, the domain on the other: read the message, check the caller, delegate, answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from innervate_api.env.v1 import env_pb2, env_pb2_grpc
from innervate_service.auth import current_identity
from innervate_service.errors import InvalidArgument
from opentelemetry import trace

from innervate_environments.episodes import Role
from innervate_environments.messages import Malformed, space_message, values_message, values_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    import grpc
    from google.protobuf.message import Message
    from innervate_service.auth import Identity
    from numpy.typing import NDArray

    from innervate_environments.access import Access
    from innervate_environments.description import Description
    from innervate_environments.environment import Environment
    from innervate_environments.episodes import Failure
    from innervate_environments.leases import Lease
    from innervate_environments.slots import Begun, Stepped

SERVICE: Final = "innervate_api.env.v1.EnvironmentService"
_MAX_OPTION_BYTES: Final = 65_536
_ROLES: Final = {
    Role.TRAINED: env_pb2.REWARD_ROLE_TRAINED,
    Role.CANARY: env_pb2.REWARD_ROLE_CANARY,
    Role.HELD_OUT: env_pb2.REWARD_ROLE_HELD_OUT,
}


class EnvironmentServicer(env_pb2_grpc.EnvironmentServiceServicer):
    """Serves the interface.

    Parameters
    ----------
    environment
        Does the work.
    describe
        What the environment is, now.
    access
        Who may use it.
    """

    def __init__(
        self, environment: Environment, *, describe: Callable[[], Description], access: Access
    ) -> None:
        self._environment = environment
        self._describe = describe
        self._access = access

    async def Describe(  # noqa: N802  the interface's name
        self, request: env_pb2.DescribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> env_pb2.DescribeResponse:
        """Tell what the environment is."""
        del request, context
        self._access.require_description(current_identity())
        return _description(self._describe())

    async def Open(  # noqa: N802  the interface's name
        self, request: env_pb2.OpenRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> env_pb2.OpenResponse:
        """Take a lease."""
        del context
        lease = self._environment.open(
            self._enter(), request.slots, request_id=request.request_id, autoreset=request.autoreset
        )
        return self._opened(lease)

    async def Reset(  # noqa: N802  the interface's name
        self, request: env_pb2.ResetRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> env_pb2.ResetResponse:
        """Begin episodes."""
        del context
        with self._environment.leases.use(self._enter(), request.lease) as lease:
            return await self._reset(lease, request)

    async def Step(  # noqa: N802  the interface's name
        self, request: env_pb2.StepRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> env_pb2.StepResponse:
        """Take one step in each slot."""
        del context
        with self._environment.leases.use(self._enter(), request.lease) as lease:
            return await self._step(lease, request)

    async def Close(  # noqa: N802  the interface's name
        self, request: env_pb2.CloseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> env_pb2.CloseResponse:
        """End a lease."""
        del context
        self._environment.leases.close(self._enter(), request.lease)
        return env_pb2.CloseResponse()

    async def Session(  # noqa: N802  the interface's name
        self,
        request_iterator: AsyncIterator[env_pb2.SessionRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[env_pb2.SessionResponse]:
        """Open, reset and step on one stream."""
        del context
        owner = self._enter()
        lease: Lease | None = None
        steps = voids = 0
        try:
            async for request in request_iterator:
                what = request.WhichOneof("request")
                if lease is None:
                    if what != "open":
                        raise InvalidArgument("request", what, "the first message must be open")
                    opening = request.open
                    lease = self._environment.open(
                        owner, opening.slots, autoreset=opening.autoreset, streamed=True
                    )
                    yield env_pb2.SessionResponse(open=self._opened(lease))
                elif what == "step":
                    step = await self._step(lease, request.step)
                    steps += len(step.rewards)
                    voids += len(step.errors)
                    yield env_pb2.SessionResponse(step=step)
                elif what == "reset":
                    yield env_pb2.SessionResponse(reset=await self._reset(lease, request.reset))
                else:
                    raise InvalidArgument("request", what, "must be reset or step once the lease is open")
        finally:
            if lease is not None:
                self._environment.leases.end(lease, "stream_ended")
                trace.get_current_span().set_attributes(
                    {
                        "innervate.environment.slots": lease.seats.count,
                        "innervate.environment.steps": steps,
                        "innervate.environment.errors": voids,
                    }
                )

    def _enter(self) -> Identity:
        identity = current_identity()
        self._access.require(identity)
        return identity

    def _opened(self, lease: Lease) -> env_pb2.OpenResponse:
        return env_pb2.OpenResponse(lease=lease.id, lease_seconds=self._environment.leases.seconds)

    async def _reset(self, lease: Lease, request: env_pb2.ResetRequest) -> env_pb2.ResetResponse:
        options = [_option(text, at) for at, text in enumerate(request.options)]
        begun = await self._environment.reset(lease, request.slots, request.seeds, options)
        response = env_pb2.ResetResponse(
            observations=values_message(begun.observations), infos=_infos(begun), errors=_errors(begun.errors)
        )
        self._fit(begun, response)
        return response

    async def _step(self, lease: Lease, request: env_pb2.StepRequest) -> env_pb2.StepResponse:
        stepped = await self._environment.step(lease, request.slots, _actions(request))
        response = env_pb2.StepResponse(
            observations=values_message(stepped.observations),
            rewards=stepped.rewards.tolist(),
            terminated=stepped.terminated.tolist(),
            truncated=stepped.truncated.tolist(),
        )
        # What is rare is worth looking at only where there is any.
        if stepped.finals:
            response.finals.extend(_final(at, value) for at, value in stepped.finals.items())
        if stepped.infos:
            response.infos.extend(_infos(stepped))
        if stepped.named:
            response.named.extend(
                env_pb2.NamedRewards(index=at, values=named.values, failures=named.failures)
                for at, named in stepped.named.items()
            )
        if stepped.errors:
            response.errors.extend(_errors(stepped.errors))
        self._fit(stepped, response)
        return response

    def _fit(self, result: Begun | Stepped, response: Message) -> None:
        """Refuse an answer that is too large to be sent. Of numbers that was seen to as the lease began."""
        if isinstance(result.observations, list) or result.infos:
            self._environment.fit(len(result.observations), response.ByteSize())


def _option(text: str, at: int) -> Mapping[str, Any]:
    if len(text) > _MAX_OPTION_BYTES:
        raise InvalidArgument(f"options[{at}]", text, f"must have at most {_MAX_OPTION_BYTES} characters")
    try:
        option = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"options[{at}]", text, f"must be a JSON object: {error}") from error
    if not isinstance(option, dict):
        raise InvalidArgument(f"options[{at}]", text, "must be a JSON object")
    return option


def _actions(request: env_pb2.StepRequest) -> NDArray[Any] | Sequence[str]:
    try:
        return values_of(request.actions)
    except Malformed as error:
        raise InvalidArgument("actions", request.actions.WhichOneof("kind"), str(error)) from error


def _infos(result: Begun | Stepped) -> list[env_pb2.SlotInfo]:
    return [env_pb2.SlotInfo(index=at, info=info) for at, info in result.infos.items()]


def _errors(errors: Mapping[int, Failure]) -> list[env_pb2.SlotError]:
    return [
        env_pb2.SlotError(
            index=at,
            reason=env_pb2.SlotErrorReason.ValueType(failure.reason.value),
            message=failure.message,
        )
        for at, failure in errors.items()
    ]


def _final(at: int, value: NDArray[Any] | str) -> env_pb2.Final:
    one = [value] if isinstance(value, str) else value[None]
    return env_pb2.Final(index=at, observation=values_message(one))


def _description(known: Description) -> env_pb2.DescribeResponse:
    return env_pb2.DescribeResponse(
        id=known.id,
        observation_space=space_message(known.observation_space),
        action_space=space_message(known.action_space),
        rewards=[
            env_pb2.Reward(name=reward.name, weight=reward.weight, role=_ROLES[reward.role])
            for reward in known.rewards
        ],
        max_episode_steps=known.max_episode_steps,
        chain=env_pb2.Chain(**known.chain._asdict()),
        capacity=known.capacity,
        free=known.free,
        training_tasks=known.training_tasks,
        evaluation_tasks=known.evaluation_tasks,
    )
