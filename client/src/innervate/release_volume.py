"""A pod that has a claim mounted: how a laptop reaches a store on a volume."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Self

from innervate_kinds.api import workload
from innervate_kinds.api.kind import PERSISTENT_VOLUME_CLAIM, POD
from innervate_kinds.model_release.model import Artifact
from innervate_kinds.parts import releases as parts
from innervate_releases import receiving
from innervate_releases.location import parse

from innervate.errors import ClusterRefused, InnervateError, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from innervate_kinds.api.plan import Config
    from innervate_releases.store import Key

    from innervate.kubectl import Kubectl

    Objects = Mapping[Key, tuple[str, int, Callable[[], Iterator[bytes]]]]
    """What a release consists of in a store: name for people, size, and bytes."""

_POD_SECONDS = 6 * 3600
"""A pod that its client forgot is ended after this."""
_START_PIECES = 4
_ASK_SECONDS = 300
_WAIT = "import signal; signal.pause()"


class VolumePod:
    """A pod that has a claim mounted, for as long as the context lasts."""

    def __init__(self, kubectl: Kubectl, uri: str, config: Config) -> None:
        namespace = kubectl.current_namespace()
        self._kubectl = replace(kubectl, namespace=namespace)
        self._namespace = namespace
        self._uri = uri
        self._name = f"release-push-{uuid.uuid4().hex[:8]}"
        self._manifest = _pod(self._name, Artifact(uri=uri, digest="sha256:" + "0" * 64), config)

    def __enter__(self) -> Self:
        """Start the pod and wait until it runs."""
        claim = parse(self._uri).host
        try:
            self._kubectl.read(PERSISTENT_VOLUME_CLAIM.path(self._namespace, claim))
        except NotFound:
            raise NotFound(
                f"there is no PersistentVolumeClaim {claim!r} in namespace {self._namespace}",
                fix=f"create it, or see which there are: kubectl get -n {self._namespace} pvc",
            ) from None
        self._kubectl.run("create", "-f", "-", stdin=json.dumps(self._manifest))
        try:
            self._await_running()
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the pod, whatever happened."""
        self._delete()

    def lacking(self, wanted: Sequence[Key], sizes: Mapping[Key, int] | None = None) -> set[Key]:
        """Keys that the store lacks; with ``sizes``, also those it holds with another size."""
        known = sizes or {}
        pairs = [[each.path, known.get(each)] for each in wanted]
        said = self._ask("missing", json.dumps(pairs).encode())
        return {receiving.key(path) for path in said["keys"]}

    def put(
        self, objects: Objects, *, again: bool, progress: Callable[[str, int], None] | None = None
    ) -> None:
        """Send the objects that the store lacks, or all, and see that they arrived."""
        sizes = {key: size for key, (_, size, _) in objects.items()}
        lacking = set(objects) if again else self.lacking(list(objects), sizes)
        for key, (name, size, _) in objects.items():
            if key not in lacking and progress:
                progress(name, size)

        def sent() -> Iterator[tuple[Key, int, Iterator[bytes]]]:
            for key, (name, size, content) in objects.items():
                if key in lacking:
                    yield key, size, _told(content(), name, progress)

        if lacking:
            self._ask("receive", lambda out: receiving.send(out, sent()))
        if self.lacking(list(objects), sizes):
            raise Unavailable("the release did not arrive whole", fix="push again: what arrived is kept")

    def manifest(self, digest: str) -> dict[str, Any]:
        """Manifest of a release, as the pod tells it."""
        found: dict[str, Any] = self._ask("manifest", b"", f"--digest={digest}")["manifest"]
        return found

    def _ask(self, command: str, stdin: bytes | Callable[[IO[bytes]], None], *more: str) -> dict[str, Any]:
        """Run one command of the releases' program in the pod."""
        line = self._kubectl.command(
            *("exec", "-i", self._name, "--"),
            *("python3", "-m", "innervate_releases", command, f"--uri={self._uri}", *more),
        )
        with subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin  # noqa: S101  a pipe, as asked for
            try:
                if isinstance(stdin, bytes):
                    process.stdin.write(stdin)
                else:
                    stdin(process.stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended already, and says why
            except BaseException:
                process.kill()
                raise
            process.stdin = None
            try:
                said, complained = process.communicate(timeout=_ASK_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Unavailable(f"the pod {self._name} did not answer in {_ASK_SECONDS} s") from None
        try:
            outcome: dict[str, Any] = json.loads(said)
        except ValueError:
            words = complained.decode(errors="replace").strip() or "it ended without a word"
            raise Unavailable(f"the pod {self._name} does not answer: {words}") from None
        if process.returncode:
            raise ClusterRefused(str(outcome.get("message", outcome)))
        return outcome

    def _await_running(self) -> None:
        # In pieces: each is shorter than any call of kubectl may take.
        for _ in range(_START_PIECES):
            done = self._kubectl.attempt(
                "wait", f"pod/{self._name}", "--for=condition=Ready", "--timeout=45s"
            )
            if not done.returncode:
                return
        raise Unavailable(f"the pod that is to take the release does not start: {self._why()}")

    def _why(self) -> str:
        status = self._kubectl.read(POD.path(self._namespace, self._name)).get("status") or {}
        for each in status.get("containerStatuses") or ():
            waiting = each["state"].get("waiting")
            if waiting:
                return f"{waiting.get('reason')}: {waiting.get('message', '')}"
        said = [
            each.get("message", "") for each in status.get("conditions") or () if each["status"] != "True"
        ]
        return str(next(filter(None, said), status.get("phase", "unknown")))

    def _delete(self) -> None:
        # Its program ends at once on SIGKILL; nothing is to be waited for.
        arguments = ("--ignore-not-found", "--wait=false", "--grace-period=1")
        try:
            self._kubectl.run("delete", "pod", self._name, *arguments)
        except InnervateError:
            return  # it ends by itself, by its deadline


def _told(
    content: Iterator[bytes], name: str, progress: Callable[[str, int], None] | None
) -> Iterator[bytes]:
    for chunk in content:
        yield chunk
        if progress:
            progress(name, len(chunk))


def _pod(name: str, artifact: Artifact, config: Config) -> dict[str, Any]:
    container = {
        "name": "receive",
        "image": config.image(parts.IMAGE),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-c", _WAIT],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "securityContext": workload.CONTAINER_SECURITY,
        "volumeMounts": parts.mounts(artifact, read_only=False),
    }
    return {
        "apiVersion": "v1",
        "kind": POD.kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "release-push"}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _POD_SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": workload.POD_SECURITY,
            **workload.pull_settings(config),
            "containers": [container],
            "volumes": parts.volumes(artifact),
        },
    }
