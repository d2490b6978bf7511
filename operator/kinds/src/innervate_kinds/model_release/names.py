"""Names of a release's children."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from innervate_kinds.api.names import child_name

if TYPE_CHECKING:
    from innervate_kinds.api.resource import ObjectMeta

APPLICATION = "modelrelease"
"""Value of the label `app.kubernetes.io/name`."""
VERIFIER = "verifier"
"""The component: a Job that signs where it is told to, and verifies."""
SIGN, VERIFY = "sign", "verify"
"""Its containers."""
ASK = "innervate.dev/verify"
"""Annotation that asks for a verification: a new value, a new Job."""


def policy(release: str) -> str:
    """Name of the NetworkPolicy."""
    return child_name(release, "modelrelease")


def job(release: ObjectMeta) -> str:
    """Name of the Job that was asked for last: of its own for each value of the annotation `ASK`."""
    asked = release.annotations.get(ASK, "")
    if not asked:
        return child_name(release.name, "modelrelease")
    return child_name(release.name, f"modelrelease-{hashlib.sha256(asked.encode()).hexdigest()[:8]}")
