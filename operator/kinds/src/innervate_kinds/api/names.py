"""Names of children that are valid, unique and no longer than their kind allows."""

from __future__ import annotations

import hashlib
import re

OWNER_UID = "innervate.dev/owner-uid"
"""Label on every child and its pods: the UID of the resource it belongs to."""
DESIRED_HASH = "innervate.dev/desired-hash"
"""Annotation on every applied child: digest of the manifest as last applied."""
TRACEPARENT = "innervate.dev/traceparent"
"""Annotation that a client may set on a resource: the trace its change belongs to."""
PAUSED = "innervate.dev/paused"
"""Annotation that stops reconciling."""
ABANDON = "innervate.dev/abandon"
"""Annotation that releases a resource without undoing what is outside its namespace."""
ADOPT = "innervate.dev/adopt"
"""Annotation that lets a resource take over data that an earlier one of its name retained."""
FINALIZER = "innervate.dev/cleanup"
"""Our finalizer, where something outside the namespace must be undone."""

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def child_name(owner: str, suffix: str, *, limit: int = 63) -> str:
    """Name of a child: ``<owner>-<suffix>``, or a shortened owner with a digest where that is no DNS label.

    Parameters
    ----------
    owner
        Name of the resource: any DNS subdomain of up to 253 characters.
    suffix
        What the child is; contains the kind.
    limit
        Longest name allowed: 63 for Services; 52 for StatefulSets (a pod label appends a digest).

    Raises
    ------
    ValueError
        If the suffix leaves no room for the owner.
    """
    plain = f"{owner}-{suffix}"
    if len(plain) <= limit and _LABEL.fullmatch(plain):
        return plain
    digest = hashlib.sha256(owner.encode()).hexdigest()[:8]
    room = limit - len(suffix) - len(digest) - 2
    if room < 1:
        raise ValueError(f"the suffix {suffix!r} leaves no room for a name within {limit} characters")
    stem = re.sub(r"[^-a-z0-9]", "-", owner.lower())[:room].strip("-")
    if not stem or not stem[0].isalpha():
        stem = f"x{stem}"[:room]
    return f"{stem.rstrip('-')}-{digest}-{suffix}"


def label_value(text: str) -> str:
    """Label value for a text: the text itself where it is valid, else shortened with a digest."""
    if len(text) <= 63 and re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", text):
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    stem = re.sub(r"[^-A-Za-z0-9_.]", "-", text)[:54].strip("-_.")
    return f"{stem}-{digest}" if stem else digest
