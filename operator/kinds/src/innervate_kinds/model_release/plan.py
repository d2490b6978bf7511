"""Decides what a release needs: a Job that signs and verifies it, until there is a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.kind import JOB, NETWORK_POLICY, Reference
from innervate_kinds.api.plan import Child, Note, Plan
from innervate_kinds.model_release import names, verdict
from innervate_kinds.parts import releases

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.api.kind import Kind
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.model_release.model import ModelRelease
    from innervate_kinds.model_release.state import Observed

UNSETTLED_SECONDS = 10.0
"""Time to the next visit while there is no verdict."""
KEEP_SECONDS = 3600
"""How long a Job that ended is kept, for its log."""
REFUSED = 3
"""Exit code of a verdict that another attempt would not change."""
ATTEMPTS = 6
"""Attempts that may fail (a store that does not answer), with growing pauses: about ten minutes."""


def plan(release: ModelRelease, observed: Observed, config: Config, now: datetime) -> Plan:
    """Plan a release's children.

    A verdict that stands in the status needs no Job any more: it may vanish, and is not made again.
    """
    if settled(release):
        policy = Reference(NETWORK_POLICY, release.metadata.namespace, names.policy(release.metadata.name))
        return Plan(delete=(policy,) if observed.policy else (), notes=_notes(release))
    if observed.job and observed.job.finished and verdict.is_lost(observed.job, now):
        # Its pods are gone before anybody heard them (a lost node): ask again.
        job = Reference(JOB, release.metadata.namespace, names.job(release.metadata))
        return Plan(delete=(job,), requeue_after=UNSETTLED_SECONDS)
    return Plan(
        apply=(
            _child(release, NETWORK_POLICY, names.policy(release.metadata.name), spec=_network(release)),
            _child(release, JOB, names.job(release.metadata), spec=_job(release, config)),
        ),
        requeue_after=UNSETTLED_SECONDS,
        notes=_notes(release),
    )


def settled(release: ModelRelease) -> bool:
    """Whether the status holds the verdict of the Job that was asked for last."""
    return release.status is not None and release.status.job == names.job(release.metadata)


def _job(release: ModelRelease, config: Config) -> Manifest:
    artifact = release.spec.artifact
    first: Manifest = {}
    if release.spec.signing:
        sign = releases.container(config, artifact, names.SIGN, read_only=False)
        reference = release.spec.signing.secret_key_ref
        source = {"secretKeyRef": {"name": reference.name, "key": reference.key}}
        sign["env"] = [*sign["env"], {"name": "INNERVATE_SIGNING_KEY", "valueFrom": source}]
        first = {"initContainers": [sign]}
    labels = workload.labels(names.APPLICATION, release.metadata, component=names.VERIFIER)
    return {
        "backoffLimit": ATTEMPTS,
        "ttlSecondsAfterFinished": KEEP_SECONDS,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [REFUSED]}},
                # A drained node says nothing about the release.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "securityContext": workload.POD_SECURITY,
                **workload.pull_settings(config),
                **first,
                "containers": [releases.container(config, artifact, names.VERIFY)],
                "volumes": [*releases.volumes(artifact), releases.keys_volume()],
            },
        },
    }


def _network(release: ModelRelease) -> Manifest:
    return {
        "podSelector": {"matchLabels": workload.selector(release.metadata, component=names.VERIFIER)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": releases.egress(release.spec.artifact),
    }


def _child(release: ModelRelease, kind: Kind, name: str, **fields: Manifest) -> Child:
    manifest: Manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": release.metadata.namespace,
            "labels": workload.labels(names.APPLICATION, release.metadata, component=names.VERIFIER),
        },
        **fields,
    }
    return Child(kind, manifest)


def _notes(release: ModelRelease) -> tuple[Note, ...]:
    artifact = release.spec.artifact
    store = f"store {artifact.uri}"
    egress = [Note("egress", store)] if releases.egress(artifact) else []
    signing = release.spec.signing
    if signing is None:
        return (*egress, Note("permission", f"reads {store}"))
    name = signing.secret_key_ref.name
    return (*egress, Note("permission", f"signs the release with Secret {name!r}, and reads {store}"))
