"""The demonstration's namespace: what it declares there, and how it waits."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import yaml
from innervate import waiting
from innervate.kubectl import Kubectl
from innervate_kinds.registry import ROOMS
from innervate_local import images
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from innervate_kinds.api.kind import Kind
    from innervate_local.places import Place

NAMESPACE = "loop"
POOL = PIPELINE = "assistant"
CALLER = "caller"
"""ServiceAccount of those who ask."""
CLAIM = "models"
SIGNER = "release-signer"
"""Secret with the key that the cluster signs with: the command's own default."""
_SOON_S = 400
_EMPTY_S = 300


class Scene:
    """The namespace in a cluster.

    Parameters
    ----------
    place
        The cluster.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kubectl = Kubectl(namespace=NAMESPACE)

    def clear(self) -> None:
        """Begin anew: what an earlier demonstration left is removed."""
        self._place.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", f"--timeout={_EMPTY_S}s")
        self._place.kubectl("create", "namespace", NAMESPACE)

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Declare objects in the namespace."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self._kubectl.run(
            *("apply", "--server-side", "--force-conflicts", "--filename=-"), stdin=json.dumps(listed)
        )

    def states(self, kind: str, name: str, *, within_s: float = _SOON_S) -> Iterator[Mapping[str, Any]]:
        """Give a resource's manifest now and after each change, until the time is over."""
        return waiting.states(self._kubectl, _kind(kind), NAMESPACE, name, timeout=within_s)

    def await_(
        self,
        kind: str,
        name: str,
        done: Callable[[Mapping[str, Any]], bool],
        *,
        within_s: float = _SOON_S,
        told: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Mapping[str, Any]:
        """Wait until a resource's status is as wanted.

        Parameters
        ----------
        kind, name
            The resource.
        done
            Looks at the status.
        within_s
            Seconds to wait at most.
        told
            Is given every status on the way.

        Raises
        ------
        LocalError
            When the time is over, with what the resource says of itself.
        """
        last: Mapping[str, Any] = {}
        for resource in self.states(kind, name, within_s=within_s):
            last = resource.get("status") or {}
            if told:
                told(last)
            if done(last):
                return last
        raise LocalError(f"{kind} {name} did not get there in {within_s:.0f} s: {_conditions(last)}")

    def ready(self, kind: str, name: str, *, within_s: float = _SOON_S) -> Mapping[str, Any]:
        """Wait until a resource is ready."""
        return self.await_(kind, name, lambda status: is_true(status, "Ready"), within_s=within_s)


def example(name: str) -> str:
    """One of the example manifests in ``deploy/examples/loop``, as it stands there."""
    return (images.workspace() / "deploy" / "examples" / "loop" / f"{name}.yaml").read_text(encoding="utf-8")


def parsed(name: str) -> dict[str, Any]:
    """The same as an object."""
    manifest: dict[str, Any] = yaml.safe_load(example(name))
    return manifest


def foundation() -> list[dict[str, Any]]:
    """What has to be there before the first release: a volume for releases, an account to call as."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": CALLER}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}, "spec": claim},
    ]


def files(name: str, **content: str) -> dict[str, Any]:
    """Make a ConfigMap of lines; a file's name has an underscore where its dot is."""
    data = {key.replace("_", "."): value for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def is_true(status: Mapping[str, Any], condition: str) -> bool:
    """Tell whether a condition is true."""
    return any(
        each["type"] == condition and each["status"] == "True" for each in status.get("conditions") or ()
    )


def seconds_since(moment: float) -> str:
    """Time since a moment of the monotonic clock, for people."""
    return f"{time.monotonic() - moment:.1f} s"


def _conditions(status: Mapping[str, Any]) -> str:
    said = (
        f"{each['type']}={each['status']} {each['reason']}: {each.get('message', '')}"
        for each in status.get("conditions") or ()
        if each["type"] in ("Ready", "Succeeded", "Stalled")
    )
    return "; ".join(said) or "it says nothing"


def _kind(name: str) -> Kind:
    return next(room.kind for room in ROOMS if room.kind.kind == name)
