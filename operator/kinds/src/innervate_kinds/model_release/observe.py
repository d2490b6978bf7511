"""Gathers what is there of a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import JOB, NETWORK_POLICY
from innervate_kinds.model_release import names
from innervate_kinds.model_release.state import Observed
from innervate_kinds.parts import jobs, pods

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.model_release.model import ModelRelease


def observe(release: ModelRelease, reader: Reader, _probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the release's Job and its pods."""
    owner, name = release.metadata, names.job(release.metadata)
    running = [
        pod
        for pod in pods.owned(reader, owner)
        if (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") == name
    ]
    found = pods.mine(reader, owner, JOB, name)
    policy = pods.mine(reader, owner, NETWORK_POLICY, names.policy(owner.name))
    return Observed(job=jobs.job(found, running, names.VERIFIER), policy=policy is not None)
