"""Names of an eval job's children, and of the parts of its pod."""

from __future__ import annotations

from typing import NamedTuple

from innervate_kinds.api.names import child_name

APPLICATION = "evaljob"
"""Value of the label `app.kubernetes.io/name`."""
RUNNER = "runner"
"""The component, and the container that asks."""
REPORT_FILE = "report.html"
"""The report for people, on the job's volume."""


class Names(NamedTuple):
    """Name of every child of one eval job."""

    job: str
    """ServiceAccount, Job and NetworkPolicy."""
    config: str
    """ConfigMap with the runner's configuration."""
    trust: str
    """ConfigMap with the trust anchors."""
    data: str
    """PersistentVolumeClaim with sample log and report."""

    @classmethod
    def of(cls, job: str) -> Names:
        """Names of the children of the eval job of that name."""
        return cls(
            job=child_name(job, "evaljob"),
            config=child_name(job, "evaljob-config"),
            trust=child_name(job, "evaljob-trust"),
            data=child_name(job, "evaljob-data"),
        )
