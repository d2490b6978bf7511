"""Names of a run's children, and of the parts of its pods."""

from __future__ import annotations

from typing import NamedTuple

from innervate_kinds.api.kind import Kind
from innervate_kinds.api.names import child_name

APPLICATION = "rlrun"
"""Value of the label `app.kubernetes.io/name`."""
RUN_COMPONENT = "run"
"""Component of what all seeds share."""
SUSPEND_MANAGER = "innervate-suspend"
"""Field manager of what holds a seed's Job."""
QUEUE = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue knows whose queue a Job waits in."""
REMAINING = "innervate.dev/remaining-seconds"
"""Annotation of a JobSet that was held: time that it has once it goes on."""
JOB_SET = Kind("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets")
REPLICATED = "trainer"
"""Name of the one group of pods in a JobSet."""
_LONGEST = 48
"""What runs a seed appends its own marks to this name in the names of its pods and their hosts."""


class Names(NamedTuple):
    """Name of every child that the seeds share."""

    run: str
    """ServiceAccount and NetworkPolicy."""
    trust: str
    """ConfigMap with the trust anchors."""
    data: str
    """PersistentVolumeClaim with checkpoints, curves, experience and reports."""

    @classmethod
    def of(cls, run: str) -> Names:
        """Names of the children of the run of that name."""
        return cls(
            run=child_name(run, "rlrun"),
            trust=child_name(run, "rlrun-trust"),
            data=child_name(run, "rlrun-data"),
        )


def seed(run: str, number: int) -> str:
    """Job or JobSet of a seed, its ConfigMap, and the Service by which its pods find each other."""
    return child_name(run, f"rlrun-{number}", limit=_LONGEST)


def job_of(job_set: str) -> str:
    """The one Job of a JobSet."""
    return f"{job_set}-{REPLICATED}-0"


def component(number: int) -> str:
    """Component of a seed's pods."""
    return f"seed-{number}"
