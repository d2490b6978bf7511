"""A small kind with a room of its own, and an engine that reconciles it on the real API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from innervate_kinds.api import conditions
from innervate_kinds.api.errors import Rejected, Retryable
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    SECRET,
    Kind,
    Reference,
)
from innervate_kinds.api.plan import Child, Config, Failure, Generated, Plan
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Definition, Room, Scope, Watch
from innervate_operator import credentials
from innervate_operator.client import Client, Open, Transport
from innervate_operator.clock import SystemClock
from innervate_operator.engine import Engine
from innervate_operator.settings import Settings
from innervate_operator.watching import registry, watch
from operator_config import config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from innervate_local.control_plane import ControlPlane

CRD = Kind(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
GADGET = Kind("test.innervate.dev", "v1", "Gadget", "gadgets")
SUMMIT = Kind("test.innervate.dev", "v1", "Summit", "summits", namespaced=False)
"""What a gadget may have outside its namespace."""
WIDGET = Kind("test.innervate.dev", "v1", "Widget", "widgets")
"""A kind that the cluster lacks, until a test brings it."""
MANAGER = "test"
WAIT_SECONDS = 20.0


class GadgetSpec(Model):
    text: str = ""
    replicas: int = 0
    secret: bool = False
    config: bool = True
    adopt: bool = False
    trouble: str = ""
    source: str = ""
    outside: bool = False


class GadgetStatus(Status):
    text: str = ""
    copied: str = ""
    widgets: bool = False


class Gadget(Resource[GadgetSpec, GadgetStatus]):
    pass


@dataclass(frozen=True)
class Observed:
    source: str
    widgets: bool
    outside: tuple[Reference, ...] = ()


def references(gadget: Gadget) -> list[Reference]:
    namespace = gadget.metadata.namespace
    return [Reference(CONFIG_MAP, namespace, gadget.spec.source)] if gadget.spec.source else []


def observe(gadget: Gadget, reader: Any, _probes: Any) -> Observed:
    source = reader.get(Reference(CONFIG_MAP, gadget.metadata.namespace, gadget.spec.source))
    # Metadata only: the content of what is not ours is not read.
    said = (source["metadata"].get("annotations") or {}).get("say", "") if source else ""
    return Observed(source=said, widgets=reader.available(WIDGET))


def plan(gadget: Gadget, _observed: Observed, _config: Config, _now: Any) -> Plan:
    name, namespace, spec = gadget.metadata.name, gadget.metadata.namespace, gadget.spec
    if spec.trouble == "rejected":
        raise Rejected("Refused", "spec.trouble asks for it")
    if spec.trouble == "retryable":
        raise Retryable("Later", "spec.trouble asks for it", after=0.2)
    if spec.trouble == "bug":
        raise KeyError("a mistake of ours")

    def child(kind: Kind, *, scaled: bool = False, owned: bool = True, **content: Any) -> Child:
        metadata = {"name": f"{name}-gadget", "namespace": namespace} if owned else {"name": f"{name}-gadget"}
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
        return Child(kind, manifest, owned=owned, adopt=spec.adopt, scaled=scaled)

    labels = {"app": name}
    container = {"name": "main", "image": "none", "resources": {"limits": {"memory": "1024Mi", "cpu": 1}}}
    deployment = child(
        DEPLOYMENT,
        scaled=True,
        spec={
            "replicas": spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    )
    config = child(CONFIG_MAP, data={"text": spec.text})
    return Plan(
        apply=(
            *([config] if spec.config else []),
            deployment,
            *([child(SUMMIT, owned=False)] if spec.outside else []),
        ),
        ensure=(child(SECRET, stringData={"password": Generated()}),) if spec.secret else (),
        delete=() if spec.config else (Reference.of(CONFIG_MAP, config.manifest),),
    )


def status(
    gadget: Gadget, observed: Observed, _plan: Plan, failures: list[Failure], _now: Any
) -> GadgetStatus:
    if failures:
        stalled = conditions.true if failures[0].permanent else conditions.false
        told = [
            conditions.false("Ready", failures[0].reason, failures[0].message),
            stalled("Stalled", failures[0].reason, failures[0].message),
        ]
    else:
        told = [conditions.true("Ready", "Applied", f"says {gadget.spec.text!r}")]
    return GadgetStatus(
        text=gadget.spec.text, copied=observed.source, widgets=observed.widgets, conditions=tuple(told)
    )


ROOM: Room[Gadget, Observed] = Room(
    definition=Definition(kind=GADGET, short_names=(), description="A test's."),
    model=Gadget,
    children=(CONFIG_MAP, DEPLOYMENT),
    ensured=(SECRET,),
    watches=(Watch(CONFIG_MAP, Scope.METADATA), Watch(WIDGET, Scope.ALL, optional=True)),
    references=references,
    observe=observe,
    plan=plan,
    status=status,
)
UNDOING = replace(
    ROOM,
    children=(CONFIG_MAP, DEPLOYMENT, SUMMIT),
    undo=lambda gadget, _: [Reference(SUMMIT, None, f"{gadget.metadata.name}-gadget")],
)
"""The same room with something outside the namespace."""


def definition(kind: Kind) -> dict[str, Any]:
    """A CRD without much of a schema."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    told = {
        **anything,
        "properties": {
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {**anything, "required": ["type"], "properties": {"type": {"type": "string"}}},
            }
        },
    }
    schema = {"type": "object", "properties": {"spec": anything, "status": told}}
    return {
        "apiVersion": CRD.api_version,
        "kind": CRD.kind,
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower()},
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


async def eventually(check: Callable[[], Any], *, seconds: float = WAIT_SECONDS) -> Any:
    """The first true result of a check, which may be a coroutine function."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert asyncio.get_running_loop().time() < end, "it did not become true"
        await asyncio.sleep(0.02)


class CountingClient(Client):
    """The client, with every write on record."""

    __slots__ = ()

    async def write(self, verb: str, method: str, reference: Reference, **rest: Any) -> Any:
        if reference.kind.kind == "Event":
            return await super().write(verb, method, reference, **rest)
        number = len(COUNTED)
        subresource = rest.get("subresource")
        COUNTED.append((f"{verb}-{subresource}" if subresource else verb, *_of(reference)))
        if DEATH.get("before") == number:
            raise Crash
        answer = await super().write(verb, method, reference, **rest)
        if DEATH.get("after") == number:
            raise Crash
        return answer


class Crash(BaseException):
    """The process is gone."""


COUNTED: list[tuple[str, str, str]] = []
DEATH: dict[str, int] = {}
"""The number of the write before or after which the process dies."""


def _of(reference: Reference) -> tuple[str, str]:
    return reference.kind.kind, reference.name


@dataclass
class Stage:
    """A namespace, an administrator, and engines on demand."""

    plane: ControlPlane
    namespace: str
    admin: Client
    transport: Transport
    room: Any = ROOM
    undoing: Any = UNDOING
    summit: Kind = SUMMIT
    widget: Kind = WIDGET
    crd: Kind = CRD

    @staticmethod
    def definition(kind: Kind) -> dict[str, Any]:
        """A CRD for a kind."""
        return definition(kind)

    def gadget(self, name: str = "g") -> Reference:
        return Reference(GADGET, self.namespace, name)

    def child(self, kind: Kind = CONFIG_MAP, name: str = "g") -> Reference:
        return Reference(kind, self.namespace if kind.namespaced else None, f"{name}-gadget")

    def writes(self) -> Counter[tuple[str, str]]:
        """Writes of engines since the test began, by verb and kind; without events."""
        return Counter((verb, kind) for verb, kind, _ in COUNTED)

    def dies(self, **when: int) -> None:
        """Let the next engine die `before` or `after` its n-th write; counting begins anew."""
        COUNTED.clear()
        DEATH.clear()
        DEATH.update(when)

    async def declare(
        self, name: str = "g", *, annotations: dict[str, str] | None = None, **spec: Any
    ) -> Any:
        """Apply a gadget."""
        manifest = {
            "apiVersion": GADGET.api_version,
            "kind": GADGET.kind,
            "metadata": {"name": name, "namespace": self.namespace, "annotations": annotations or {}},
            "spec": spec,
        }
        return await self.admin.apply(self.gadget(name), manifest, manager=MANAGER)

    async def condition(self, type_: str = "Ready", name: str = "g") -> dict[str, Any] | None:
        """A condition of the gadget's current generation."""
        found = await self.admin.get(self.gadget(name))
        told = ((found or {}).get("status") or {}).get("conditions") or ()
        generation = found["metadata"]["generation"] if found else 0
        return next((c for c in told if c["type"] == type_ and c["observedGeneration"] == generation), None)

    async def ready(self, name: str = "g") -> dict[str, Any]:
        """Wait until the gadget is Ready in its generation."""

        async def check() -> bool:
            told = await self.condition(name=name)
            return told is not None and told["status"] == "True"

        await eventually(check)
        found = await self.admin.get(self.gadget(name))
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def engine(
        self, room: Any = ROOM, *, kopf: bool = True, tracer: Any = None, **changes: Any
    ) -> AsyncIterator[Engine]:
        """A running engine for this namespace."""
        settings = Settings(
            namespace="default",
            watch_namespaces=() if room is UNDOING else (self.namespace,),
            workers=4,
            **changes,
        )
        loaded = credentials.load(self.plane.kubeconfig)
        transport = Transport(loaded)
        engine = Engine(
            CountingClient(transport, Open()),
            [room],
            settings,
            clock=SystemClock(),
            config=config,
            tracer=tracer,
            doubt_seconds=1.0,
        )
        tasks = [asyncio.create_task(engine.reflect()), asyncio.create_task(engine.events.run())]
        await engine.fill()
        if kopf:
            started = asyncio.Event()
            handlers = registry(engine.own, [room.kind], loaded)
            tasks.append(
                asyncio.create_task(
                    watch(handlers, namespaces=settings.watch_namespaces, on_started=started.set)
                )
            )
            await started.wait()
        await engine.synced()
        workers = asyncio.create_task(engine.work())
        try:
            yield engine
            for task in (*tasks, workers):
                assert not task.done() or DEATH, task
        finally:
            engine.queue.close()
            for task in (*tasks, workers):
                task.cancel()
            await asyncio.gather(*tasks, workers, return_exceptions=True)
            await engine.prober.close()
            await transport.close()


@pytest.fixture(scope="session")
def kinds(api_server: ControlPlane) -> ControlPlane:
    """The API server with our test kinds."""

    async def install() -> None:
        transport = Transport(credentials.load(api_server.kubeconfig))
        admin = Client(transport, Open())
        for kind in (GADGET, SUMMIT):
            made = definition(kind)
            await admin.apply(Reference.of(CRD, made), made, manager=MANAGER)

            async def served(kind: Kind = kind) -> bool:
                with contextlib.suppress(Exception):
                    async for _ in admin.pages(kind):
                        return True
                return False

            await eventually(served)
        await transport.close()

    asyncio.run(install())
    return api_server


@pytest.fixture(scope="session")
def names() -> Iterator[int]:
    return iter(range(10_000))


@pytest.fixture
async def stage(kinds: ControlPlane, names: Iterator[int]) -> AsyncIterator[Stage]:
    """A fresh namespace on the API server."""
    COUNTED.clear()
    DEATH.clear()
    transport = Transport(credentials.load(kinds.kubeconfig))
    made = Stage(kinds, f"stage-{next(names)}", Client(transport, Open()), transport)
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.namespace}}
    await made.admin.create(Reference.of(NAMESPACE, manifest), manifest, manager=MANAGER)
    yield made
    async for page in made.admin.pages(GADGET, made.namespace):
        for item in page.items:
            await made.admin.delete(Reference.of(GADGET, item), uid=item["metadata"]["uid"])
    await transport.close()


@pytest.fixture
def wait() -> Callable[..., Any]:
    return eventually
