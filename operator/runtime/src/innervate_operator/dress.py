"""From what a room plans to what is sent: labels, owner, digest, drawn secrets. Pure but for the drawing."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.names import DESIRED_HASH, OWNER_UID
from innervate_kinds.api.plan import Generated

from innervate_operator.drift import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.plan import Child, Manifest

    from innervate_operator.ownership import Owner

ENSURED = "innervate.dev/ensured"
"""Annotation on a plan's first child: which objects were created beforehand, never to be read again."""

TRACEPARENT = "TRACEPARENT"
"""Environment variable by which a process goes on with the trace of what started it."""


def autoscaled(live: Mapping[str, Any] | None) -> bool:
    """Whether something other than a person scales the object, by the managers of its scale subresource."""
    if live is None:
        return False
    managed = live["metadata"].get("managedFields") or ()
    # `kubectl scale` is drift, to be repaired; an autoscaler is a decision, to be left alone.
    return any(not entry["manager"].startswith("kubectl") for entry in managed)


def dress(child: Child, owner: Owner, *, live: Mapping[str, Any] | None, ensured: str = "") -> Manifest:
    """Manifest as it is applied, all but the identity of the live object.

    Parameters
    ----------
    child
        As planned.
    owner
        Whom it belongs to.
    live
        The object as it is, for what an autoscaler owns.
    ensured
        Value of the `ENSURED` annotation; empty for none.
    """
    metadata = child.manifest["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    if ensured:
        annotations[ENSURED] = ensured
    worn = {
        **metadata,
        "labels": {**(metadata.get("labels") or {}), OWNER_UID: owner.uid},
        "annotations": annotations,
    }
    if child.owned:
        worn["ownerReferences"] = [owner.reference()]
    manifest: Manifest = {**child.manifest, "metadata": worn}
    if child.scaled and autoscaled(live):
        manifest["spec"] = {key: value for key, value in manifest["spec"].items() if key != "replicas"}
    annotations[DESIRED_HASH] = digest(manifest)
    return manifest


def traced(job: Manifest, traceparent: str) -> Manifest:
    """Job whose containers go on with a trace.

    Only of a Job can it be said which change caused its pods; and only a Job is not rolled by it.
    """
    template = job["spec"]["template"]
    entry = {"name": TRACEPARENT, "value": traceparent}
    pod = {
        **template["spec"],
        **{
            part: [
                {**container, "env": [*(container.get("env") or ()), entry]}
                for container in template["spec"][part]
            ]
            for part in ("initContainers", "containers")
            if part in template["spec"]
        },
    }
    return {**job, "spec": {**job["spec"], "template": {**template, "spec": pod}}}


def drawn(child: Child, owner: Owner) -> Manifest:
    """Manifest of an object to create once, its `Generated` values drawn by the system's generator."""
    manifest = {key: _draw(value, encode=key == "data") for key, value in child.manifest.items()}
    metadata = dict(manifest["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), OWNER_UID: owner.uid}
    if child.owned:
        metadata["ownerReferences"] = [owner.reference()]
    return {**manifest, "metadata": metadata}


def _draw(value: Any, *, encode: bool) -> Any:
    if isinstance(value, Generated):
        text = secrets.token_urlsafe(value.length)[: value.length]
        return base64.b64encode(text.encode()).decode() if encode else text
    if isinstance(value, dict):
        return {key: _draw(content, encode=encode) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [_draw(content, encode=encode) for content in value]
    return value
