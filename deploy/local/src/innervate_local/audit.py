"""Who wrote what: the API server's audit log of a cluster made here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # Housekeeping, not work: renewals and events would bury everything else.
        {
            "level": "None",
            "resources": [
                {"group": "", "resources": ["events"]},
                {"group": "events.k8s.io"},
                {"group": "coordination.k8s.io"},
                {"group": "authentication.k8s.io"},
                {"group": "authorization.k8s.io"},
            ],
        },
        {"level": "None", "nonResourceURLs": ["*"]},
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
    ],
}
"""Who wrote what, and nothing that was only read."""
_MEBIBYTES = 64


def flags(directory: Path) -> list[str]:
    """Write the audit policy and give the API server's flags for it.

    Parameters
    ----------
    directory
        Where policy and log are kept.
    """
    policy = directory / "audit-policy.json"
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.write_text(json.dumps(POLICY))
    return [
        f"--audit-policy-file={policy}",
        f"--audit-log-path={log(directory)}",
        f"--audit-log-maxsize={_MEBIBYTES}",
        "--audit-log-maxbackup=1",
    ]


def log(directory: Path) -> Path:
    """Where the log is: one JSON event a line."""
    return directory / "audit.log"


def writes(directory: Path, *, user: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the writes of a user, oldest first; Leases, Events and reviews are not recorded.

    Parameters
    ----------
    directory
        As given to `flags`.
    user
        Full user name, such as ``system:serviceaccount:NAMESPACE:NAME``.
    namespace
        Only those of one namespace.
    """
    with log(directory).open() as lines:
        for line in lines:
            event = json.loads(line)
            target = event.get("objectRef", {})
            if event["user"]["username"] == user and namespace in (None, target.get("namespace")):
                yield event
