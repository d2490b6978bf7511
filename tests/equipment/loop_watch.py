"""Sees every state of a pool, of its pipeline and of its gateways' routes, and notes what must never be."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from innervate.kubectl import Kubectl
from innervate_kinds.api.kind import POD, Kind
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE
from loop_pool import GATEWAY, PIPELINE, POOL, selector

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from loop_pool import GatewayCalls, LoopPool

_LOOKED_SECONDS = 0.05
"""Between two looks at a gateway's routes."""
_AGAIN_SECONDS = 0.2


class PoolSeen(NamedTuple):
    """A state of the pool."""

    time: float
    """When it was seen, by the monotonic clock."""
    generation: int
    acknowledged: int
    weights: tuple[tuple[str, int], ...]
    """Release and weight of each arm."""


class Detected(NamedTuple):
    """A detection, as it first stood in the pipeline's status."""

    time: float
    id: str
    candidate: str


class Way(NamedTuple):
    """How long the way back took, in seconds from the detection."""

    acknowledged: float
    """Until the pool's status said that every gateway serves the stable release alone."""
    served: float
    """Until the last gateway itself said so."""


class Watch:
    """Watches from the beginning to the end of a `with` block.

    Parameters
    ----------
    pool
        What to watch.
    """

    def __init__(self, pool: LoopPool) -> None:
        self._pool = pool
        self._kubectl = Kubectl(kubeconfig=str(pool.lab.cluster.kubeconfig))
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._addresses: dict[str, str] = {}
        self._verified: set[str] = set()
        self._pools: list[PoolSeen] = []
        self._served: dict[str, list[tuple[float, int]]] = {}
        self._detections: dict[str, Detected] = {}
        self._status: dict[str, Any] = {}
        self._violations: list[str] = []

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """Watch meanwhile."""
        followed: list[tuple[Kind, str, Callable[[str, dict[str, Any]], None]]] = [
            (INFERENCE_POOL, f"fieldSelector=metadata.name%3D{POOL}", self._see_pool),
            (LEARNING_PIPELINE, f"fieldSelector=metadata.name%3D{PIPELINE}", self._see_pipeline),
            (POD, "labelSelector=" + selector(GATEWAY).replace("=", "%3D"), self._see_gateway),
        ]
        threads = [threading.Thread(target=self._follow, args=each) for each in followed]
        threads.append(threading.Thread(target=self._look))
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            with self._lock:
                for process in self._processes:
                    process.kill()
            for thread in threads:
                thread.join()

    @property
    def status(self) -> dict[str, Any]:
        """The pipeline's status as last seen."""
        with self._lock:
            return self._status

    @property
    def newest(self) -> PoolSeen | None:
        """The pool as last seen."""
        with self._lock:
            return self._pools[-1] if self._pools else None

    def violations(self) -> list[str]:
        """What was seen that must never be; taken away."""
        with self._lock:
            found, self._violations = self._violations, []
        return found

    def detection(self, candidate: str) -> Detected | None:
        """The detection that took a candidate back."""
        with self._lock:
            return next((each for each in self._detections.values() if each.candidate == candidate), None)

    def way_back(self, candidate: str, release: str) -> Way | None:
        """How long the way back to a release took; None while it is not over."""
        detected = self.detection(candidate)
        if detected is None:
            return None
        with self._lock:
            after = [each for each in self._pools if each.time >= detected.time]
        whole = [each for each in after if (release, 100) in each.weights]
        if not whole:
            return None
        return self.way(detected.time, whole[0].generation)

    def way(self, begun: float, generation: int) -> Way | None:
        """How long a generation took from a moment to all gateways; None while it is not there."""
        with self._lock:
            told = next((each.time for each in self._pools if each.acknowledged >= generation), None)
            served = [
                next((moment for moment, number in self._served.get(pod, ()) if number >= generation), None)
                for pod in self._addresses
            ]
        if told is None or not served or None in served:
            return None
        return Way(told - begun, max(moment for moment in served if moment is not None) - begun)

    def _follow(self, kind: Kind, chosen: str, see: Callable[[str, dict[str, Any]], None]) -> None:
        path = f"{kind.path(self._pool.namespace)}?watch=true&{chosen}&timeoutSeconds=7200"
        while not self._stopped.is_set():
            with self._lock:
                process = self._kubectl.start("get", "--raw", path)
                self._processes.append(process)
            for line in process.stdout or ():
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED", "DELETED"}:
                    see(event["type"], event["object"])
            process.communicate()
            with self._lock:
                self._processes.remove(process)
            self._stopped.wait(_AGAIN_SECONDS)

    def _see_pool(self, _: str, found: dict[str, Any]) -> None:
        now = time.monotonic()
        traffic = found["spec"].get("traffic") or []
        generation = found["metadata"]["generation"]
        routes = found.get("status", {}).get("routes") or {}
        weights = tuple((arm["releaseRef"]["name"], arm["weight"]) for arm in traffic)
        if traffic:
            stables = [arm["name"] for arm in traffic if arm["role"] == "Stable"]
            self._hold(len(stables) == 1, f"generation {generation} has {len(stables)} stable arms")
            self._check(f"generation {generation} of the pool", weights)
        with self._lock:
            self._pools.append(PoolSeen(now, generation, routes.get("acknowledged", 0), weights))

    def _see_pipeline(self, _: str, found: dict[str, Any]) -> None:
        now = time.monotonic()
        status = found.get("status") or {}
        arms = status.get("traffic") or []
        if arms:
            stables = sum(arm["role"] == "Stable" for arm in arms)
            self._hold(stables == 1, f"the pipeline decided on {stables} stable arms")
            self._check("the pipeline's decision", tuple((arm["release"], arm["weight"]) for arm in arms))
        detection = status.get("detection")
        with self._lock:
            self._status = status
            if detection and detection["id"] not in self._detections:
                seen = Detected(now, detection["id"], detection["candidate"])
                self._detections[seen.id] = seen

    def _see_gateway(self, event: str, pod: dict[str, Any]) -> None:
        name, address = pod["metadata"]["name"], pod["status"].get("podIP")
        ready = any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in pod["status"].get("conditions") or ()
        )
        with self._lock:
            if event != "DELETED" and "deletionTimestamp" not in pod["metadata"] and ready and address:
                self._addresses[name] = address
            else:
                self._addresses.pop(name, None)

    def _look(self) -> None:
        """Ask each gateway for its routes, over a connection that is kept."""
        with ExitStack() as stack:
            calls: dict[str, GatewayCalls] = {}
            while not self._stopped.wait(_LOOKED_SECONDS):
                with self._lock:
                    addresses = dict(self._addresses)
                for name, address in addresses.items():
                    if name not in calls:
                        calls[name] = stack.enter_context(self._pool.gateway(address))
                    # Whoever is being killed does not answer.
                    with contextlib.suppress(grpc.RpcError):
                        self._see_routes(name, calls[name])

    def _see_routes(self, name: str, gateway: GatewayCalls) -> None:
        routes = gateway.routes(seconds=1)
        now = time.monotonic()
        self._check(f"gateway {name}", tuple((route.release, route.weight) for route in routes.routes))
        with self._lock:
            seen = self._served.setdefault(name, [])
            if not seen or seen[-1][1] != routes.generation:
                seen.append((now, routes.generation))

    def _check(self, who: str, weights: tuple[tuple[str, int], ...]) -> None:
        self._hold(sum(weight for _, weight in weights) == 100, f"{who}: weights {weights}")
        for release, weight in weights:
            if weight:
                self._hold(self.verified(release), f"{who}: traffic to {release}, which is not verified")

    def verified(self, release: str) -> bool:
        """Whether a release is verified; once it is, it stays so here, where nobody touches the store."""
        if release not in self._verified:
            found = self._pool.lab.read("modelreleases.innervate.dev", release, self._pool.namespace) or {}
            if found.get("status", {}).get("verified") is not True:
                return False
            self._verified.add(release)
        return True

    def _hold(self, holds: bool, message: str) -> None:
        if not holds:
            with self._lock:
                if message not in self._violations:
                    self._violations.append(message)
