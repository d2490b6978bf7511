"""Names of a pipeline's children, of arms and of components."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from innervate_kinds.api.names import child_name

if TYPE_CHECKING:
    from innervate_kinds.api.resource import ObjectMeta

APPLICATION = "learningpipeline"
"""Value of the label `app.kubernetes.io/name`."""
ROLLOUT = "innervate.dev/rollout"
"""Label on EvalJobs and training Jobs: number of the rollout they belong to."""
COMMAND = "innervate.dev/command"
"""Annotation with a command, as JSON: `id`, `action`, and where it must be a certain one, `candidate`."""
TRAFFIC_MANAGER = "innervate-pipeline"
"""Field manager of the pool's traffic."""


def training(pipeline: str, rollout: int) -> str:
    """Job that trains the candidate of a rollout, its ConfigMap and its NetworkPolicy."""
    return child_name(pipeline, f"learningpipeline-{rollout}-train")


def component(rollout: int) -> str:
    """Component of the pods that train the candidate of a rollout."""
    return f"train-{rollout}"


def evaluation(pipeline: str, rollout: int, gate: str, template: str) -> str:
    """EvalJob of a gate in a rollout.

    Parameters
    ----------
    pipeline, rollout, gate
        Whose it is.
    template
        Digest of its template: what is changed is asked anew.
    """
    return child_name(pipeline, f"pipeline-{rollout}-{gate}-{template[:6]}")


def release(pipeline: str, candidate: str, specification: str) -> str:
    """ModelRelease of a trained candidate.

    Its content decides: a release cannot be changed, and none may stand for another.

    Parameters
    ----------
    pipeline, candidate
        Whose it is.
    specification
        Digest of its specification.
    """
    return child_name(pipeline, f"{candidate}-{specification[:12]}")


def arms(owner: ObjectMeta, rollout: int) -> tuple[str, str]:
    """Arms of a rollout: of the stable release, and of the candidate.

    A pool's log counts by the name of an arm, so no two rollouts share one, not even rollouts of two
    pipelines of one name.
    """
    mark = hashlib.sha256(owner.uid.encode()).hexdigest()[:6]
    return f"stable-{rollout}-{mark}", f"candidate-{rollout}-{mark}"


def detection_id(owner: ObjectMeta, rollout: int) -> str:
    """Id of the detection of a rollout: the same however often it is looked at, and there is one at most."""
    return "d-" + hashlib.sha256(f"{owner.uid}/{rollout}".encode()).hexdigest()[:16]
