"""The Job that trains a candidate, what it reads, and the ModelRelease of what it made."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.kind import CONFIG_MAP, JOB
from innervate_kinds.api.plan import Child
from innervate_kinds.learning_pipeline import names
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.parts import placement, releases
from innervate_kinds.parts.children import Maker

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.learning_pipeline.model import LearningPipeline, Train
    from innervate_kinds.learning_pipeline.record import Trial
    from innervate_kinds.learning_pipeline.state import Observed, ReleaseState

IMAGE = "learner"
ATTEMPTS = 3
"""Attempts that may fail before training has failed."""
DATA_PATH = "/var/lib/innervate/data"
RUN_PATH = "/var/run/innervate/trainer"
_REFUSED = 2
"""Exit code of a trainer whose settings, data or base are wrong: another attempt would not help."""
_ATTEMPT = "batch.kubernetes.io/job-index-failure-count"
"""Annotation by which an Indexed Job numbers the attempts of an index, from 0."""
_TRAINER: dict[str, dict[str, str]] = {
    "requests": {"cpu": "500m", "memory": "512Mi"},
    "limits": {"cpu": "4", "memory": "4Gi"},
}
_SIDECAR: Manifest = {
    "requests": {"cpu": "20m", "memory": "48Mi"},
    "limits": {"cpu": "500m", "memory": "256Mi"},
}


def specification(train: Train, digest: str) -> Manifest:
    """Specification of the ModelRelease of a trained candidate."""
    spec: Manifest = {"artifact": {"uri": train.output.uri, "digest": digest}}
    if train.signing:
        spec["signing"] = train.signing.model_dump(mode="json", by_alias=True)
    return spec


def release_name(pipeline: LearningPipeline, trial: Trial, train: Train, digest: str) -> str:
    """Name of that ModelRelease."""
    content = workload.to_json(specification(train, digest))
    return names.release(pipeline.metadata.name, trial.name, hashlib.sha256(content.encode()).hexdigest())


def release(pipeline: LearningPipeline, trial: Trial, train: Train) -> Child:
    """The ModelRelease of a trained candidate; it outlives the pipeline, as other releases come from it."""
    digest = trial.artifact_digest or ""
    maker = Maker(pipeline.metadata, names.APPLICATION)
    name = release_name(pipeline, trial, train, digest)
    made = maker.child(MODEL_RELEASE, name, "release", spec=specification(train, digest))
    return Child(made.kind, made.manifest, owned=False, adopt=True)


def job(
    pipeline: LearningPipeline, train: Train, base: ReleaseState, observed: Observed, config: Config
) -> tuple[Child, ...]:
    """The Job that trains the candidate under way, and what it needs."""
    rollout = pipeline.status.rollout if pipeline.status else 0
    name, component = names.training(pipeline.metadata.name, rollout), names.component(rollout)
    maker = Maker(pipeline.metadata, names.APPLICATION)
    label = {names.ROLLOUT: str(rollout)}
    text = workload.to_json({"method": train.method, "hyperparameters": train.hyperparameters})
    policy = maker.network(name, component, ingress=[], egress=releases.egress(base.artifact))
    policy.manifest["metadata"]["labels"].update(label)
    spec = {
        "completionMode": "Indexed",
        "completions": 1,
        "parallelism": 1,
        "backoffLimitPerIndex": ATTEMPTS - 1,
        "activeDeadlineSeconds": train.deadline_seconds,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": names.TRAINER,
                        "operator": "In",
                        "values": [_REFUSED],
                    },
                }
            ]
        },
        "template": maker.template(
            component,
            configuration=workload.digest(text),
            labels=label,
            spec=_pod(train, base, observed, config, config_map=name),
        ),
    }
    return (
        maker.child(CONFIG_MAP, name, component, labels=label, data={"config.json": text}),
        policy,
        maker.child(JOB, name, component, labels=label, spec=spec),
    )


def _pod(
    train: Train, base: ReleaseState, observed: Observed, config: Config, *, config_map: str
) -> Manifest:
    claims = _claims(train, base)
    shared = [
        {"name": "run", "mountPath": RUN_PATH},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own
    ]
    image = train.image or config.image(IMAGE)
    trainer: Manifest = {
        "name": names.TRAINER,
        "image": image,
        "imagePullPolicy": config.image_pull_policy,
        **({} if train.image else {"command": ["python3", "-m", "innervate_learner"]}),
        "env": [
            *workload.environment("learner"),
            *_attempt(),
            {"name": "INNERVATE_IMAGE", "value": image},
            {"name": "INNERVATE_OUTPUT_URI", "value": train.output.uri},
            {"name": "INNERVATE_BASE_URI", "value": base.artifact.uri},
            {"name": "INNERVATE_BASE_DIGEST", "value": base.artifact.digest},
            *releases.environment(base.artifact),
        ],
        "resources": train.resources.over(_TRAINER) if train.resources else _TRAINER,
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *shared,
            {"name": "config", "mountPath": workload.CONFIG_PATH, "readOnly": True},
            *(
                {"name": f"data-{index}", "mountPath": f"{DATA_PATH}/{index}", "readOnly": True}
                for index in range(len(train.data))
            ),
            *(
                {
                    "name": f"store-{index}",
                    "mountPath": f"{releases.STORES_PATH}/{claim}",
                    "readOnly": not writes,
                }
                for index, (claim, writes) in enumerate(claims.items())
            ),
            releases.keys_mount(),
        ],
    }
    sidecar: Manifest = {
        "name": names.SIDECAR,
        "image": config.image(IMAGE),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_learner.sidecar"],
        "restartPolicy": "Always",
        "env": [*workload.environment("learner"), *_attempt()],
        "resources": _SIDECAR,
        "securityContext": workload.CONTAINER_SECURITY,
        "ports": [{"name": "health", "containerPort": workload.HEALTH_PORT, "protocol": "TCP"}],
        "livenessProbe": workload.http_probe("/livez", "health", period=10, failures=3),
        "volumeMounts": shared,
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": workload.POD_SECURITY,
        "terminationGracePeriodSeconds": 30,
        **workload.pull_settings(config),
        **placement.manifest(observed.placement),
        "initContainers": [sidecar],
        "containers": [trainer],
        "volumes": [
            {"name": "run", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
            {"name": "config", "configMap": {"name": config_map}},
            *_data(train),
            *(
                {"name": f"store-{index}", "persistentVolumeClaim": {"claimName": claim}}
                for index, claim in enumerate(claims)
            ),
            releases.keys_volume(),
        ],
    }


def _attempt() -> list[Manifest]:
    """The number of the attempt, which fences what an earlier one still says."""
    path = f"metadata.annotations['{_ATTEMPT}']"
    return [{"name": "INNERVATE_ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": path}}}]


def _claims(train: Train, base: ReleaseState) -> dict[str, bool]:
    """Claims of release stores, and whether they are written to."""
    found: dict[str, bool] = {}
    for uri, writes in ((base.artifact.uri, False), (train.output.uri, True)):
        if uri.startswith("pvc://"):
            claim = uri.removeprefix("pvc://").partition("/")[0]
            found[claim] = found.get(claim, False) or writes
    return found


def _data(train: Train) -> list[Manifest]:
    volumes: list[Manifest] = []
    for index, source in enumerate(train.data):
        if source.persistent_volume_claim:
            claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
            volumes.append({"name": f"data-{index}", "persistentVolumeClaim": claim})
        elif source.config_map_ref:
            volumes.append({"name": f"data-{index}", "configMap": {"name": source.config_map_ref.name}})
    return volumes
