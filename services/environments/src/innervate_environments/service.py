"""Puts a server of environments together from its configuration."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from innervate_api.env.v1 import env_pb2_grpc
from innervate_service.auth import Identity
from innervate_service.config import AdmissionConfig, ConfigError, DeadlineConfig, ServiceConfig
from innervate_service.serve import Service

from innervate_environments.access import Access
from innervate_environments.description import Chain, Description, Reward, digest_of
from innervate_environments.dialogue import GROUP
from innervate_environments.environment import Environment
from innervate_environments.instances import InstancePool
from innervate_environments.packageseats import KnownTasks, PackageHall
from innervate_environments.processes import Nursery
from innervate_environments.scorer import ScoringClient
from innervate_environments.server import SERVICE, EnvironmentServicer
from innervate_environments.tasks import TaskSet, read
from innervate_environments.taskseats import TaskHall
from innervate_environments.verifying import Weighted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from innervate_environments.config import ServerConfig
    from innervate_environments.environment import Hall

_HOUR_SECONDS: Final = 3600.0
_DAY_SECONDS: Final = 86_400.0
_SPARE_CALLS: Final = 64
"""Calls beside sessions, such as those that ask what the environment is."""
_PINNED: Final = re.compile(r"@(sha256:[0-9a-f]{64})$")


def service_config(config: ServerConfig) -> ServiceConfig:
    """The common part of the configuration, as streams need it.

    A session may last for a day, for an hour where its caller sets no deadline, and holds a place all that
    time; each has at least one slot.
    """
    common = config.service
    deadline = DeadlineConfig(default_seconds=_HOUR_SECONDS, max_seconds=_DAY_SECONDS)
    places = max(common.admission.max_concurrent, config.environment.capacity + _SPARE_CALLS)
    admission = AdmissionConfig(max_concurrent=places, max_queue=common.admission.max_queue)
    return common.model_copy(update={"deadline": deadline, "admission": admission})


class EnvironmentService:
    """A server of environments; needs a running event loop in the process's main thread.

    Parameters
    ----------
    config
        Everything there is to decide.

    Raises
    ------
    ConfigError
        The tasks cannot be used.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        environment = config.environment
        self._tasks: TaskSet | None = None
        self._dialogue: str | None = None
        self._package: PackageHall | None = None
        self._scoring: ScoringClient | None = None
        self._environment = Environment(
            self._hall(),
            capacity=environment.capacity,
            lease_seconds=environment.lease_seconds,
            max_message_bytes=config.service.max_message_bytes,
        )
        operator = config.operator
        self._servicer = EnvironmentServicer(
            self._environment,
            describe=self._describe,
            access=Access(
                namespace=environment.namespace,
                rules=config.access,
                operator=None if operator is None else Identity(operator.namespace, operator.name),
            ),
        )

    @property
    def grpc_service(self) -> Service:
        """What `serve` needs to know."""
        return Service(SERVICE, self._register)

    def ready(self) -> str | None:
        """Why it must not take calls; None when it may."""
        return self._environment.problem()

    async def start(self) -> None:
        """Begin: processes, and what instances are like."""
        await self._environment.start()

    def drain(self) -> None:
        """Take no new leases."""
        self._environment.drain()

    async def stop(self) -> None:
        """End every process and connection."""
        await self._environment.stop()
        if self._scoring is not None:
            await self._scoring.close()

    def _hall(self) -> Hall:
        environment, scorer = self._config.environment, self._config.scorer
        gymnasium, tasks = environment.source.gymnasium, environment.source.tasks
        if tasks is not None and scorer is not None:
            self._tasks = read(tasks.path, sha256=tasks.sha256)
            self._scoring = ScoringClient(
                scorer.socket, environment.rewards, patience=environment.step_seconds
            )
            weights = [Weighted(r.name, float(r.weight), r.role) for r in environment.rewards]
            self._dialogue = _provided_dialogue()
            dialogues = None if self._dialogue is None else self._pool({"dialogue": self._dialogue})
            return TaskHall(self._tasks, self._scoring, weights, dialogues)
        assert gymnasium is not None  # noqa: S101  the configuration was checked
        named = {"id": gymnasium.id} if gymnasium.package is None else {"package": gymnasium.package}
        pool = self._pool(
            {**named, "options": gymnasium.options, "maxEpisodeSteps": environment.max_episode_steps}
        )
        if gymnasium.package is None:
            return pool
        self._package = PackageHall(pool)
        return self._package

    def _pool(self, source: Mapping[str, Any]) -> InstancePool:
        environment = self._config.environment
        return InstancePool(
            Nursery(source, step_seconds=environment.step_seconds),
            capacity=environment.capacity,
            per_process=environment.instances_per_process,
        )

    def _describe(self) -> Description:
        shape, leases = self._environment.shape, self._environment.leases
        source, tasks = self._config.environment.source, self._known_tasks()
        return Description(
            id=source.gymnasium.id if source.gymnasium else self._config.environment.name,
            observation_space=shape.observation_space,
            action_space=shape.action_space,
            rewards=tasks.rewards,
            max_episode_steps=shape.max_episode_steps,
            chain=_chain(self._config, tasks, self._dialogue),
            capacity=leases.capacity,
            free=leases.free,
            training_tasks=tasks.counts["training"],
            evaluation_tasks=tasks.counts["evaluation"],
        )

    def _known_tasks(self) -> KnownTasks:
        """Tasks and rewards: the package's own, or the configured ones, or none."""
        if self._package is not None:
            return self._package.known
        rewards = tuple(Reward(r.name, str(r.weight), r.role) for r in self._config.environment.rewards)
        if self._tasks is None:
            return KnownTasks({"training": 0, "evaluation": 0}, rewards, "", "")
        counts = {split: len(tasks) for split, tasks in self._tasks.splits.items()}
        return KnownTasks(counts, rewards, self._tasks.digest, _scoring_digest(self._config))

    def _register(self, server: grpc.aio.Server) -> None:
        env_pb2_grpc.add_EnvironmentServiceServicer_to_server(self._servicer, server)


def _provided_dialogue() -> str | None:
    """The maker of dialogues that an installed package provides, as ``module:name``; None without one."""
    found = sorted({point.value for point in entry_points(group=GROUP)})
    if len(found) > 1:
        raise ConfigError(f"the image has several dialogues: {', '.join(found)}; leave one in it")
    return found[0] if found else None


def _scoring_digest(config: ServerConfig) -> str:
    declared: dict[str, Any] = {
        "rewards": [reward.model_dump(mode="json", by_alias=True) for reward in config.environment.rewards],
        "scorer": config.scorer.image if config.scorer else "",
    }
    return digest_of(declared)


def _chain(config: ServerConfig, tasks: KnownTasks, dialogue: str | None) -> Chain:
    environment = config.environment
    pinned = _PINNED.search(config.image)
    source = environment.source
    whole = {
        "image": config.image,
        "rewards": tasks.rewards_digest,
        "tasks": tasks.digest,
        "dialogue": dialogue,
        "gymnasium": source.gymnasium.model_dump(mode="json", by_alias=True) if source.gymnasium else None,
        "maxEpisodeSteps": environment.max_episode_steps,
    }
    return Chain(digest_of(whole), pinned[1] if pinned else "", tasks.rewards_digest, tasks.digest)
