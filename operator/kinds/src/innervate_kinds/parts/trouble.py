"""What is wrong with pods, in plain words that stay the same while it stays wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.api.names import label_value

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from innervate_kinds.api.resource import ObjectMeta
    from innervate_kinds.parts.pods import ContainerState, PodState, Workload

_GRACE = timedelta(seconds=5)
"""What passes by itself within this time is not told: a volume being bound, a Secret just created."""
_LONG = timedelta(seconds=60)
"""What starts this long is worth a look, even where nothing tells what is wrong."""
_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}
_REDIS_PREFIX = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [#*.-] ")
_LONGEST = 300


class Problem(NamedTuple):
    """What is wrong: a word for programs and words for people."""

    reason: str
    message: str


def _nothing(_container: ContainerState) -> Problem | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """Whose pods are looked at, and what a resource says of them in its own words.

    Parameters
    ----------
    owner
        Metadata of the resource.
    name
        The component.
    mend_secret
        How a missing Secret is mended, after what the kubelet says of it.
    memory_field
        Field to raise where a container of that name used too much memory; empty where there is none.
    recognize
        The problem in how a container ended, where its own words tell a known one.
    """

    owner: ObjectMeta
    name: str
    mend_secret: str = "create it"  # noqa: S105  an advice, not a password
    memory_field: Callable[[str], str]
    recognize: Callable[[ContainerState], Problem | None] = _nothing


def show(owner: ObjectMeta, component: str) -> str:
    """Command that shows the pods of a component."""
    return f"`kubectl describe -n {owner.namespace} pods -l {_selector(owner, component)}`"


def problem(component: Component, workload: Workload, now: datetime) -> Problem | None:
    """The first known problem of the pods that are not ready; None when nothing is known."""
    waiting = [pod for pod in workload.pods if not pod.ready]
    for pod in waiting:
        found = _pod(component, pod, now)
        if found:
            return found
    if any(now - pod.created >= _LONG for pod in waiting):
        message = f"a pod is not ready after a minute; its log tells why: {_log(component)}"
        return Problem("NotReady", message)
    return None


def last_words(log: str) -> str:
    """Last line of a log without what differs each time: the time and the process."""
    lines = log.strip().splitlines()
    if not lines:
        return ""
    try:
        entry = json.loads(lines[-1])
        text = str(entry["message"]) if isinstance(entry, dict) and "message" in entry else lines[-1]
    except ValueError:
        text = lines[-1]
    return _REDIS_PREFIX.sub("", text)[:_LONGEST]


def _log(component: Component) -> str:
    selector = _selector(component.owner, component.name)
    return f"`kubectl logs -n {component.owner.namespace} -l {selector} --all-containers --tail=5`"


def _selector(owner: ObjectMeta, component: str) -> str:
    return f"app.kubernetes.io/instance={label_value(owner.name)},app.kubernetes.io/component={component}"


def _pod(component: Component, pod: PodState, now: datetime) -> Problem | None:
    if pod.unschedulable and pod.unschedulable_since and now - pod.unschedulable_since >= _GRACE:
        return Problem("Unschedulable", f"no node takes a pod: {pod.unschedulable}")
    for container in pod.containers:
        found = _waiting(component, pod, container, now)
        if found:
            return found
    for container in pod.containers:
        if (
            not container.ready
            and container.ended
            and (container.exit_code or container.ended == "OOMKilled")
        ):
            return _ended(component, container)
    return None


def _waiting(component: Component, pod: PodState, container: ContainerState, now: datetime) -> Problem | None:
    if container.waiting in _IMAGE:
        namespace = component.owner.namespace
        message = (
            f"image {container.image!r} cannot be pulled; check its name, the registry and the pull secrets: "
            f"`kubectl get events -n {namespace} --field-selector reason=Failed`"
        )
        return Problem("ImageNotPulled", message)
    if container.waiting not in _CONFIG or now - pod.created < _GRACE:
        return None
    if "secret" in container.waiting_message.lower():
        return Problem("SecretMissing", f"{container.waiting_message}; {component.mend_secret}")
    return Problem("Crashing", f"container {container.name!r} cannot be created: {container.waiting_message}")


def _ended(component: Component, container: ContainerState) -> Problem:
    if container.ended == "OOMKilled":
        field = component.memory_field(container.name)
        message = f"container {container.name!r} used more memory than its limit and was killed"
        return Problem("MemoryExceeded", f"{message}; raise {field}" if field else message)
    known = component.recognize(container)
    if known:
        return known
    message = f"container {container.name!r} ended with exit code {container.exit_code}"
    words = last_words(container.ended_message)
    return Problem("Crashing", f"{message}: {words}" if words else message)
