"""What is wrong with a store's pods, in plain words that stay the same while it stays wrong."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.api.names import label_value
from innervate_kinds.memory_store.names import PASSWORD_KEY, REDIS, Names

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.parts.pods import ContainerState, PodState, Workload

_GRACE = timedelta(seconds=5)
"""What passes by itself within this time is not told: a volume being bound, a Secret just created."""
_LONG = timedelta(seconds=60)
"""What starts this long is worth a look, even where nothing tells what is wrong."""
_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}
_DISK_FULL = ("No space left", "Short write while writing to the AOF file")
"""What Redis says of a full disk before it ends rather than acknowledge what is not written."""
_REDIS_PREFIX = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [#*.-] ")
_LONGEST = 300


class Problem(NamedTuple):
    """What is wrong: a word for programs and words for people."""

    reason: str
    message: str


def show(store: MemoryStore, component: str) -> str:
    """Command that shows the pods of a component."""
    return f"`kubectl describe -n {store.metadata.namespace} pods -l {_selector(store, component)}`"


def _log(store: MemoryStore, component: str) -> str:
    selector = _selector(store, component)
    return f"`kubectl logs -n {store.metadata.namespace} -l {selector} --all-containers --tail=5`"


def _selector(store: MemoryStore, component: str) -> str:
    instance = label_value(store.metadata.name)
    return f"app.kubernetes.io/instance={instance},app.kubernetes.io/component={component}"


def problem(store: MemoryStore, workload: Workload, component: str, now: datetime) -> Problem | None:
    """The first known problem of the pods that are not ready; None when nothing is known."""
    waiting = [pod for pod in workload.pods if not pod.ready]
    for pod in waiting:
        found = _pod(store, pod, now)
        if found:
            return found
    if any(now - pod.created >= _LONG for pod in waiting):
        message = f"a pod is not ready after a minute; its log tells why: {_log(store, component)}"
        return Problem("NotReady", message)
    return None


def _pod(store: MemoryStore, pod: PodState, now: datetime) -> Problem | None:
    if pod.unschedulable and pod.unschedulable_since and now - pod.unschedulable_since >= _GRACE:
        return Problem("Unschedulable", f"no node takes a pod: {pod.unschedulable}")
    for container in pod.containers:
        found = _waiting(store, pod, container, now)
        if found:
            return found
    for container in pod.containers:
        if (
            not container.ready
            and container.ended
            and (container.exit_code or container.ended == "OOMKilled")
        ):
            return _ended(store, container)
    return None


def _waiting(store: MemoryStore, pod: PodState, container: ContainerState, now: datetime) -> Problem | None:
    if container.waiting in _IMAGE:
        message = (
            f"image {container.image!r} cannot be pulled; check its name, the registry and the pull secrets: "
            f"`kubectl get events -n {store.metadata.namespace} --field-selector reason=Failed`"
        )
        return Problem("ImageNotPulled", message)
    if container.waiting not in _CONFIG or now - pod.created < _GRACE:
        return None
    if "secret" in container.waiting_message.lower():
        return Problem("SecretMissing", f"{container.waiting_message}; {_mend_secret(store)}")
    return Problem("Crashing", f"container {container.name!r} cannot be created: {container.waiting_message}")


def _mend_secret(store: MemoryStore) -> str:
    where = f"-n {store.metadata.namespace}"
    external = store.spec.storage.external
    if external is None:
        name = Names.of(store.metadata.name).redis
        return (
            f"Redis takes any password that stands there: `kubectl create secret generic {where} {name} "
            f'--from-literal={PASSWORD_KEY}="$(openssl rand -hex 24)"`'
        )
    reference = external.url_from.secret_key_ref
    return (
        "it is named in spec.storage.external.urlFrom: `kubectl create secret generic "
        f"{where} {reference.name} --from-literal={reference.key}=rediss://…`"
    )


def _ended(store: MemoryStore, container: ContainerState) -> Problem:
    if container.ended == "OOMKilled":
        redis = container.name == REDIS
        field = "spec.storage.redis.memory" if redis else "spec.service.resources.limits.memory"
        message = (
            f"container {container.name!r} used more memory than its limit and was killed; raise {field}"
        )
        return Problem("MemoryExceeded", message)
    if container.name == REDIS and any(sign in container.ended_message for sign in _DISK_FULL):
        size = store.spec.storage.redis.size if store.spec.storage.redis else ""
        message = f"the volume of Redis is full; raise spec.storage.redis.size (now {size})"
        return Problem("DiskFull", message)
    message = f"container {container.name!r} ended with exit code {container.exit_code}"
    words = _last_words(container.ended_message)
    return Problem("Crashing", f"{message}: {words}" if words else message)


def _last_words(log: str) -> str:
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
