"""Runs of reinforcement learning, seen from a laptop: how they go, and what they leave."""

from __future__ import annotations

import io
import json
import os
import select
import subprocess
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import httpx
from innervate_kinds.api.conditions import SUCCEEDED
from innervate_kinds.api.kind import POD
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.rl_run.model import RL_RUN
from innervate_kinds.rl_run.names import APPLICATION, Names, component

from innervate import volume
from innervate.closing import Closing
from innervate.errors import ClusterRefused, NotFound, PermissionDenied, Unavailable
from innervate.forward import PortForward

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from innervate_kinds.api.plan import Config

    from innervate.kubectl import Kubectl

_PATH = "/var/lib/innervate/run"
_PROGRESS_PORT = 8081
_ASK_S = 5.0
_READ_S = 600.0
"""Longest time that a report takes."""
_SILENCE_S = 300.0
"""Longest time without a byte of an export."""
_COMPONENT = "app.kubernetes.io/component"


class Outcome(NamedTuple):
    """How a run ended."""

    succeeded: bool
    reason: str
    message: str


@dataclass(slots=True)
class Curve:
    """A seed's points so far."""

    steps: list[int] = field(default_factory=list)
    metrics: list[dict[str, float]] = field(default_factory=list)

    def take(self, points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Take what the sidecar tells; returns the points that are new.

        An attempt that goes on from a checkpoint behind the last point has the curve go on from there.
        """
        if not points:
            return []
        last = self.steps[-1] if self.steps else -1
        if points[-1]["step"] < last:
            keep = sum(step < points[0]["step"] for step in self.steps)
            del self.steps[keep:], self.metrics[keep:]
            last = self.steps[-1] if self.steps else -1
        fresh = [dict(point) for point in points if point["step"] > last]
        self.steps += [point["step"] for point in fresh]
        self.metrics += [point["metrics"] for point in fresh]
        return fresh

    def series(self, metric: str) -> tuple[list[float], list[float]]:
        """Steps and values of a metric, where it was told."""
        pairs = [
            (float(step), said[metric])
            for step, said in zip(self.steps, self.metrics, strict=True)
            if metric in said
        ]
        return [step for step, _ in pairs], [value for _, value in pairs]


def read(kubectl: Kubectl, name: str) -> dict[str, Any]:
    """Read an RLRun.

    Raises
    ------
    NotFound
        There is none of that name.
    """
    try:
        found: dict[str, Any] = kubectl.read(RL_RUN.path(kubectl.namespace, name))
    except NotFound as error:
        raise NotFound(
            f"there is no RLRun {name!r} in namespace {kubectl.namespace}",
            fix=error.fix or f"see which there are: innervate rl list -n {kubectl.namespace}",
        ) from None
    return found


def outcome(run: Mapping[str, Any]) -> Outcome | None:
    """How it ended; None while it goes on."""
    said = condition(run, SUCCEEDED)
    if not said or said["status"] == "Unknown":
        return None
    return Outcome(said["status"] == "True", said["reason"], said.get("message", ""))


def condition(run: Mapping[str, Any], type_: str) -> Mapping[str, Any] | None:
    """A condition of a run."""
    conditions = (run.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), None)


class Watch(Closing):
    """The curves of a run's seeds, asked for at the sidecars of the pods that train now.

    Parameters
    ----------
    kubectl
        Names the run's namespace.
    """

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._forwards: dict[str, PortForward] = {}
        self.curves: dict[int, Curve] = {}
        """By seed."""
        self.problem = ""
        """Why no curves are told; empty where nothing is known to be wrong."""

    def look(self, run: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Ask all seeds that train; yields a seed and a point, for each that is new.

        A pod that does not answer now is asked again next time: it begins or ends.
        """
        try:
            pods = self._pods(run)
        except (PermissionDenied, Unavailable) as error:
            self.problem = f"no curves: {error.message}"
            return
        self.problem = ""
        for gone in set(self._forwards) - set(pods):
            self._forwards.pop(gone).close()
        for name, seed in sorted(pods.items(), key=lambda pair: pair[1]):
            try:
                points = self._ask(name)
            except Unavailable:
                continue
            except PermissionDenied as error:
                self.problem = f"no curves: {error.message}"
                return
            for point in self.curves.setdefault(seed, Curve()).take(points):
                yield seed, point

    def close(self) -> None:
        """End the port-forwards."""
        while self._forwards:
            self._forwards.popitem()[1].close()

    def _pods(self, run: Mapping[str, Any]) -> dict[str, int]:
        """Pods that train, with their seeds; of several of one seed the first."""
        labels = f"{OWNER_UID}={run['metadata']['uid']},app.kubernetes.io/name={APPLICATION}"
        path = f"{POD.path(self._kubectl.namespace)}?labelSelector={quote(labels)}"
        seeds = {component(number): number for number in range(run["spec"].get("seeds", 1))}
        found: dict[int, str] = {}
        for pod in sorted(self._kubectl.read(path)["items"], key=lambda each: each["metadata"]["name"]):
            seed = seeds.get(pod["metadata"]["labels"].get(_COMPONENT, ""))
            if seed is not None and pod.get("status", {}).get("phase") == "Running":
                found.setdefault(seed, pod["metadata"]["name"])
        return {name: seed for seed, name in found.items()}

    def _ask(self, pod: str) -> list[dict[str, Any]]:
        forward = self._forwards.get(pod)
        if forward is None or not forward.alive:
            try:
                forward = self._forwards[pod] = PortForward(self._kubectl, f"pod/{pod}", _PROGRESS_PORT)
            except NotFound as error:
                raise Unavailable(error.message) from None
        try:
            answer = httpx.get(f"http://127.0.0.1:{forward.port}/curves", timeout=_ASK_S, trust_env=False)
            points: list[dict[str, Any]] = answer.raise_for_status().json()["points"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            self._forwards.pop(pod).close()
            raise Unavailable(f"pod {pod} does not tell its curves: {error}") from None
        return points


def page(kubectl: Kubectl, run: Mapping[str, Any], config: Config, *, seed: int | None = None) -> str:
    """The report of a run, or of one seed, as one HTML page, made from what is on its volume.

    Raises
    ------
    InnervateError
        The pod that reads does not start, or there is nothing to report yet.
    """
    chosen = [] if seed is None else [f"--seed={seed}"]
    with _reading(kubectl, run, config) as pod:
        about = json.dumps(_about(run))
        program = ("python3", "-m", "innervate_rl.run_report", f"--about={about}", *chosen)
        with _running(kubectl, pod, program) as process:
            said, words = process.communicate(timeout=_READ_S)
    if process.returncode:
        raise ClusterRefused(_last_line(words.decode(errors="replace")))
    return said.decode()


def export(
    kubectl: Kubectl, run: Mapping[str, Any], config: Config, *, into: Path, options: Sequence[str]
) -> dict[str, Any]:
    """Fetch a run's experience into a directory; returns the account of what is in it.

    Parameters
    ----------
    kubectl, run, config
        The run, and how to reach it.
    into
        Directory.
    options
        Of ``python3 -m innervate_rl.experience``.

    Raises
    ------
    InnervateError
        The pod that reads does not start, or no episode is left to export.
    """
    with _reading(kubectl, run, config) as pod:
        program = ("python3", "-m", "innervate_rl.experience", *options)
        with _running(kubectl, pod, program) as process:
            assert process.stdout  # noqa: S101  a pipe, as asked for
            unpacked = _unpack(_Steady(process.stdout.fileno()), into)
            words = process.communicate(timeout=_SILENCE_S)[1].decode(errors="replace")
    account = _account(words)
    if process.returncode or account is None or "error" in account:
        raise ClusterRefused((account or {}).get("error") or _last_line(words))
    if not unpacked:
        raise Unavailable("the archive did not arrive whole", fix="export again")
    return account


class _Steady(io.RawIOBase):
    """What a program writes, for as long as it is not silent for too long.

    Nobody tells kubectl that its connection is gone: it would wait for more for ever.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def read(self, size: int = -1, /) -> bytes:
        """Read what is there, once something is; nothing at the end."""
        ready, _, _ = select.select([self._descriptor], [], [], _SILENCE_S)
        if not ready:
            raise _silent(_SILENCE_S)
        return os.read(self._descriptor, size)


@contextmanager
def _running(kubectl: Kubectl, pod: str, program: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in the pod that reads; whatever goes wrong here, kubectl does not outlive it."""
    line = kubectl.command("exec", pod, "--", *program)
    with subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise _silent(error.timeout) from None
        except BaseException:
            process.kill()
            raise


def _silent(seconds: float) -> Unavailable:
    return Unavailable(
        f"nothing came from the pod that reads the volume for {seconds:.0f} s",
        fix="see whether the cluster answers: kubectl get --raw /readyz; then try again",
    )


def _unpack(stream: _Steady, into: Path) -> bool:
    """Unpack what a program writes; whether it was a whole archive."""
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            archive.extractall(into, filter="data")
    except tarfile.TarError:
        return False
    return True


def _account(words: str) -> dict[str, Any] | None:
    """The last line that is JSON: kubectl may say something too."""
    for line in reversed(words.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


def _reading(kubectl: Kubectl, run: Mapping[str, Any], config: Config) -> Any:
    reader = volume.Reader(
        Names.of(run["metadata"]["name"]).data, _PATH, "rl", "rl-report", memory="1Gi", scratch="8Gi"
    )
    return volume.pod(kubectl, reader, config)


def _about(run: Mapping[str, Any]) -> dict[str, Any]:
    """What the files of a run do not say of it."""
    spec, metadata = run["spec"], run["metadata"]
    said = condition(run, SUCCEEDED)
    about = {
        "name": f"{metadata['namespace']}/{metadata['name']}",
        "environment": spec["environmentRef"]["name"],
        "algorithm": spec["algorithm"]["name"],
        "gate": spec.get("gate"),
        "seeds": spec.get("seeds", 1),
        "outcome": said["reason"] if said else "",
    }
    return {name: value for name, value in about.items() if value is not None}


def _last_line(words: str) -> str:
    lines = [line for line in words.strip().splitlines() if not line.startswith("command terminated")]
    return lines[-1] if lines else "the pod that reads the volume ended without a word"
