"""Model releases from a laptop: into stores that it reaches itself, and into volumes through a pod."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Self

from innervate_kinds.api import workload
from innervate_kinds.api.kind import CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, POD, SECRET
from innervate_kinds.model_release.model import MODEL_RELEASE, Artifact
from innervate_kinds.parts import releases as parts
from innervate_releases import digests, keys, receiving, signing, transfer
from innervate_releases import store as stores
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.location import open_store, parse

from innervate.errors import ClusterRefused, Conflict, InnervateError, InvalidArgument, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from innervate_kinds.api.plan import Config
    from innervate_releases.manifest import Manifest
    from innervate_releases.store import Key

    from innervate.kubectl import Kubectl

    _Objects = Mapping[Key, tuple[str, int, Callable[[], Iterator[bytes]]]]
    """What a release consists of in a store: name for people, size, and bytes."""

_POD_SECONDS = 6 * 3600
"""A pod that its client forgot is ended after this."""
_START_PIECES = 4
_ASK_SECONDS = 300
_WAIT = "import signal; signal.pause()"


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what can be wrong with a release into an error of the command."""
    try:
        yield
    except ReleaseError as error:
        kind = Unavailable if error.part is Part.STORE else InvalidArgument
        raise kind(str(error)) from error


def push(
    uri: str,
    directory: Path,
    manifest: Manifest,
    *,
    kubectl: Kubectl,
    config: Callable[[], Config],
    key: Ed25519PrivateKey | None = None,
    again: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> str:
    """Put a release into a store, and its signature beside it where there is a key.

    Parameters
    ----------
    uri
        The store; ``pvc://`` is a claim of the namespace, reached through a pod.
    directory, manifest
        The files, and what `innervate_releases.build.build` says of them.
    kubectl
        How to reach the cluster, for a claim.
    config
        The operator's set-up, for the pod's image.
    key
        Private key to sign with.
    again
        Send what is there already, too.
    progress
        Told a file's path and how many of its bytes were sent.

    Returns
    -------
    str
        The release's digest.
    """
    with plainly():
        if parse(uri).scheme != "pvc":
            target = open_store(uri)
            absent = [parent for parent in manifest.parents if not _held(target, parent)]
            _expect_parents(uri, absent)
            digest = transfer.push(directory, manifest, target, again=again, progress=progress)
            if key:
                transfer.sign(target, digest, key)
            return digest
        with VolumePod(kubectl, uri, config()) as pod:
            wanted = [stores.manifest(parent) for parent in manifest.parents]
            _expect_parents(uri, [each.digest for each in wanted if each in pod.lacking(wanted)])
            pod.put(_objects(directory, manifest, key), again=again, progress=progress)
        return manifest.digest


def trust(kubectl: Kubectl, name: str, public: bytes) -> None:
    """Add a public key to those whose signatures count in the namespace.

    Raises
    ------
    Conflict
        Another key has that name.
    """
    namespace = kubectl.current_namespace()
    patch = json.dumps({"data": {name: public.decode()}})
    try:
        found = kubectl.read(CONFIG_MAP.path(namespace, parts.KEYS))
    except NotFound:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": parts.KEYS}}
        kubectl.run("create", "-f", "-", stdin=json.dumps({**manifest, **json.loads(patch)}))
        return
    held = (found.get("data") or {}).get(name)
    if held is not None and held.strip() != public.decode().strip():
        raise Conflict(
            f"another key is trusted as {name!r} in namespace {namespace}",
            fix=f"choose another --name, or remove it: kubectl edit -n {namespace} configmap {parts.KEYS}",
        )
    kubectl.run("patch", "configmap", parts.KEYS, "--type=merge", f"--patch={patch}")


def keep_secret(kubectl: Kubectl, name: str, private: bytes) -> None:
    """Put a private key into a Secret of the namespace, which must not be there."""
    manifest = {
        "apiVersion": "v1",
        "kind": SECRET.kind,
        "metadata": {"name": name},
        "type": "Opaque",
        "stringData": {keys.PRIVATE_KEY: private.decode()},
    }
    try:
        kubectl.run("create", "-f", "-", stdin=json.dumps(manifest))
    except ClusterRefused as error:
        if "already exists" in error.message:
            raise Conflict(
                f"Secret {name!r} exists; a key is not overwritten",
                fix="name another with --secret, or use this one: innervate release push … --signer",
            ) from error
        raise


def keep_file(path: Path, private: bytes) -> None:
    """Write a private key into a file that only its owner reads, which must not be there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(f"{path} exists; a key is not overwritten", fix="name another file") from error
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}", field="out") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)


def declare(kubectl: Kubectl, name: str, spec: Mapping[str, Any]) -> None:
    """Create a ModelRelease; the same one may be there already.

    Raises
    ------
    Conflict
        Another release has that name.
    """
    namespace = kubectl.current_namespace()
    try:
        found = kubectl.read(MODEL_RELEASE.path(namespace, name))
    except NotFound:
        manifest = {
            "apiVersion": MODEL_RELEASE.api_version,
            "kind": MODEL_RELEASE.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        kubectl.run("create", "-f", "-", stdin=json.dumps(manifest))
        return
    if found["spec"] != spec:
        held = found["spec"]["artifact"]["digest"]
        raise Conflict(
            f"ModelRelease {name} exists and is another release ({held}); releases never change",
            fix="choose another --name",
        )


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
        self, objects: _Objects, *, again: bool, progress: Callable[[str, int], None] | None = None
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

    def _ask(self, command: str, stdin: bytes | Callable[[IO[bytes]], None]) -> dict[str, Any]:
        """Run one command of the releases' program in the pod."""
        line = self._kubectl.command(
            *("exec", "-i", self._name, "--"),
            *("python3", "-m", "innervate_releases", command, f"--uri={self._uri}"),
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


def _held(target: stores.Store, parent: str) -> bool:
    return target.size(stores.manifest(parent)) is not None


def _expect_parents(uri: str, absent: Sequence[str]) -> None:
    if absent:
        raise NotFound(
            f"{uri} does not hold the parent {absent[0]}",
            fix="push a release into the store of its parents: it is verified together with them",
        )


def _objects(directory: Path, manifest: Manifest, key: Ed25519PrivateKey | None) -> _Objects:
    """Everything that a release is in a store; the manifest after its files, as always."""
    objects: dict[Key, tuple[str, int, Callable[[], Iterator[bytes]]]] = {}
    for file in manifest.files:
        content_of = partial(digests.chunks, directory / file.path)
        objects[stores.blob(file.digest)] = (file.path, file.size, content_of)
    content = manifest.canonical()
    digest = manifest.digest
    objects[stores.manifest(digest)] = ("manifest", len(content), lambda: iter((content,)))
    if key:
        envelope = signing.sign(digest, key)
        objects[stores.signature(digest)] = ("signature", len(envelope), lambda: iter((envelope,)))
    return objects


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
