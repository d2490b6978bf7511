"""Bare flips of a pool's traffic between two releases, under load."""

from __future__ import annotations

import base64
import http.client
import json
import random
import ssl
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import yaml
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from loop_pool import POOL, arm
from progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from loop_callers import Callers, Tally
    from loop_pool import LoopPool
    from loop_watch import Watch, Way

MANAGER = "bench"
_WITHIN_SECONDS = 120
_LOOKED_SECONDS = 0.005
_LONGEST_PAUSE = 0.5
"""Seconds between two flips, drawn at random: no rhythm that a poll could be in step with."""


class Flips(NamedTuple):
    """What was measured."""

    ways: list[Way]
    tally: Tally
    seconds: float


class ApiServer:
    """The API server over one connection that is kept: a process for each write would be measured as well.

    Parameters
    ----------
    kubeconfig
        Where it is, and whom to be.
    """

    def __init__(self, kubeconfig: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        authorities = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authorities)
        with tempfile.NamedTemporaryFile() as pair:
            for name in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[name]) + b"\n")
            pair.flush()
            tls.load_cert_chain(pair.name)
        url = urlsplit(cluster["server"])
        self._line = http.client.HTTPSConnection(url.hostname or "", url.port, context=tls, timeout=60)

    def apply(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Apply a manifest server-side, and give the object as it stands then."""
        headers = {"content-type": "application/apply-patch+yaml"}
        target = f"{path}?fieldManager={MANAGER}&force=true"
        self._line.request("PATCH", target, json.dumps(manifest), headers)
        answer = self._line.getresponse()
        content = json.loads(answer.read())
        if answer.status not in {200, 201}:
            raise RuntimeError(f"the API server answered {answer.status}: {content.get('message')}")
        found: dict[str, Any] = content
        return found

    def close(self) -> None:
        """End the connection."""
        self._line.close()


def measure(
    pool: LoopPool, watch: Watch, callers: Callers, *, releases: tuple[str, str], flips: int, seed: int
) -> Flips:
    """Flip the traffic back and forth.

    Parameters
    ----------
    pool, watch, callers
        The pool, who sees it, and who asks meanwhile.
    releases
        The two.
    flips, seed
        How often, and of the pauses.
    """
    draw = random.Random(seed)
    server = ApiServer(pool.lab.cluster.kubeconfig)
    try:
        # Both engines run before anything is measured, and stay: an arm of weight 0 is kept warm.
        _flip(server, pool, watch, releases)
        pool.lab.eventually(lambda: _both_ready(pool), seconds=300, every=0.5)
        callers.take()
        begun = time.monotonic()
        ways = []
        with Progress("flips", flips) as progress:
            for number in range(flips):
                order = releases if number % 2 else releases[::-1]
                ways.append(_flip(server, pool, watch, order))
                progress.advance(f"{ways[-1].acknowledged:.2f} s")
                time.sleep(draw.uniform(0, _LONGEST_PAUSE))
        seconds = time.monotonic() - begun
        tally = callers.take()
        _flip(server, pool, watch, releases)
        # Gives the field up, so that the pool's own release serves again.
        server.apply(INFERENCE_POOL.path(pool.namespace, POOL), _manifest(pool, {}))
        pool.lab.eventually(pool.settled, seconds=_WITHIN_SECONDS, every=0.5)
    finally:
        server.close()
    return Flips(ways, tally, seconds)


def _flip(server: ApiServer, pool: LoopPool, watch: Watch, order: tuple[str, str]) -> Way:
    live, idle = order
    traffic = sorted(
        [arm(f"arm-{live}", live, 100, "Stable"), arm(f"arm-{idle}", idle, 0, "Candidate")],
        key=lambda each: str(each["name"]),
    )
    manifest = _manifest(pool, {"traffic": traffic})
    begun = time.monotonic()
    generation = server.apply(INFERENCE_POOL.path(pool.namespace, POOL), manifest)["metadata"]["generation"]
    while (way := watch.way(begun, generation)) is None:
        if time.monotonic() - begun > _WITHIN_SECONDS:
            raise RuntimeError(f"generation {generation} was not acknowledged: {pool.read().get('status')}")
        time.sleep(_LOOKED_SECONDS)
    return way


def _manifest(pool: LoopPool, spec: dict[str, Any]) -> dict[str, Any]:
    return pool.object(INFERENCE_POOL.api_version, INFERENCE_POOL.kind, POOL, spec=spec)


def _both_ready(pool: LoopPool) -> bool:
    for address in pool.gateway_addresses().values():
        with pool.gateway(address) as gateway:
            routes = gateway.routes().routes
        if len(routes) != 2 or not all(route.ready_replicas for route in routes):
            return False
    return True
