"""Jobs that train: the trainer, the sidecar that tells of it, and how their attempts are numbered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.parts import placement, releases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.parts.placement import Pool

TRAINER, SIDECAR = "trainer", "sidecar"
"""The containers: what trains, and what tells of it."""
SIDECAR_IMAGE = "learner"
RUN_PATH = "/var/run/innervate/trainer"
"""Where the trainer reports, and the sidecar reads."""
RESOURCES: dict[str, dict[str, str]] = {
    "requests": {"cpu": "500m", "memory": "512Mi"},
    "limits": {"cpu": "4", "memory": "4Gi"},
}
"""What a trainer may use where nothing is declared."""
_REFUSED = 2
"""Exit code of a trainer whose settings, data or base are wrong: another attempt would not help."""
ATTEMPT = "batch.kubernetes.io/job-index-failure-count"
"""Annotation by which an Indexed Job numbers the attempts of an index, from 0."""
_SIDECAR: Manifest = {
    "requests": {"cpu": "20m", "memory": "48Mi"},
    "limits": {"cpu": "500m", "memory": "256Mi"},
}
_TERMINATION_SECONDS = 30


def job(template: Manifest, *, attempts: int, deadline_seconds: int, pods: int = 1) -> Manifest:
    """Specification of an Indexed Job: the only one that numbers its attempts.

    Parameters
    ----------
    template
        Pod template.
    attempts
        Attempts that may fail before the Job has failed.
    deadline_seconds
        Time for all of them.
    pods
        Pods that run side by side.
    """
    return {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        "backoffLimitPerIndex": attempts - 1,
        "activeDeadlineSeconds": deadline_seconds,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": TRAINER, "operator": "In", "values": [_REFUSED]},
                }
            ]
        },
        "template": template,
    }


def trainer(
    config: Config,
    *,
    image: str,
    command: Manifest,
    environment: Sequence[Manifest],
    resources: Manifest,
    mounts: Sequence[Manifest],
    service: str = "learner",
    attempt: str = ATTEMPT,
) -> Manifest:
    """The container that trains.

    Parameters
    ----------
    config
        The operator's set-up.
    image
        Its image, which it is told.
    command
        Fields `command` and `args`, as far as they are not the image's own.
    environment
        Variables besides those that every trainer has.
    resources
        Compute resources.
    mounts
        Mounts besides the report, `/tmp` and the keys of releases.
    service
        What it is called in traces.
    attempt
        Annotation of the pod that numbers its attempt.
    """
    return {
        "name": TRAINER,
        "image": image,
        "imagePullPolicy": config.image_pull_policy,
        **command,
        "env": [
            *workload.environment(service),
            *_attempt(attempt),
            {"name": "INNERVATE_IMAGE", "value": image},
            *environment,
        ],
        "resources": resources,
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*_shared(), *mounts, releases.keys_mount()],
    }


def pod(
    config: Config,
    container: Manifest,
    *,
    volumes: Sequence[Manifest],
    place: Pool | None,
    account: str = "",
    attempt: str = ATTEMPT,
) -> Manifest:
    """Pod of a trainer: the sidecar starts first, and ends after it.

    Parameters
    ----------
    config
        The operator's set-up.
    container
        The `trainer`.
    volumes
        Volumes besides the report, `/tmp` and the keys of releases.
    place
        Where it runs.
    account
        ServiceAccount; left out, the namespace's default one. No token of it is mounted by itself.
    attempt
        As of the `trainer`.
    """
    sidecar: Manifest = {
        "name": SIDECAR,
        "image": config.image(SIDECAR_IMAGE),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_learner.sidecar"],
        "restartPolicy": "Always",
        "env": [*workload.environment("learner"), *_attempt(attempt)],
        "resources": _SIDECAR,
        "securityContext": workload.CONTAINER_SECURITY,
        "ports": [{"name": "health", "containerPort": workload.HEALTH_PORT, "protocol": "TCP"}],
        "livenessProbe": workload.http_probe("/livez", "health", period=10, failures=3),
        "volumeMounts": _shared(),
    }
    return {
        "restartPolicy": "Never",
        **({"serviceAccountName": account} if account else {}),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": workload.POD_SECURITY,
        "terminationGracePeriodSeconds": _TERMINATION_SECONDS,
        **workload.pull_settings(config),
        **placement.manifest(place),
        "initContainers": [sidecar],
        "containers": [container],
        "volumes": [
            {"name": "run", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
            *volumes,
            releases.keys_volume(),
        ],
    }


def claims(*, reads: Iterable[str], writes: Iterable[str]) -> dict[str, bool]:
    """Claims of the release stores at these URIs, and whether they are written to."""
    found: dict[str, bool] = {}
    for uris, writing in ((reads, False), (writes, True)):
        for uri in uris:
            if uri.startswith("pvc://"):
                claim = uri.removeprefix("pvc://").partition("/")[0]
                found[claim] = found.get(claim, False) or writing
    return found


def store_volumes(claims: Mapping[str, bool]) -> list[Manifest]:
    """Volumes of `claims`."""
    return [
        {"name": f"store-{index}", "persistentVolumeClaim": {"claimName": claim}}
        for index, claim in enumerate(claims)
    ]


def store_mounts(claims: Mapping[str, bool]) -> list[Manifest]:
    """Mounts of `claims`."""
    return [
        {
            "name": f"store-{index}",
            "mountPath": f"{releases.STORES_PATH}/{claim}",
            "readOnly": not writes,
        }
        for index, (claim, writes) in enumerate(claims.items())
    ]


def _shared() -> list[Manifest]:
    return [
        {"name": "run", "mountPath": RUN_PATH},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own
    ]


def _attempt(annotation: str) -> list[Manifest]:
    """The number of the attempt, which fences what an earlier one still says."""
    path = f"metadata.annotations['{annotation}']"
    return [{"name": "INNERVATE_ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": path}}}]
