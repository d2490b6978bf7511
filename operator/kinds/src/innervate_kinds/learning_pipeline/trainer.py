"""The Job that trains a candidate, what it reads, and the ModelRelease of what it made."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.kind import CONFIG_MAP, JOB
from innervate_kinds.api.plan import Child
from innervate_kinds.learning_pipeline import names
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.parts import releases, trainers
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
    spec = trainers.job(
        maker.template(
            component,
            configuration=workload.digest(text),
            labels=label,
            spec=_pod(train, base, observed, config, config_map=name),
        ),
        attempts=ATTEMPTS,
        deadline_seconds=train.deadline_seconds,
    )
    return (
        maker.child(CONFIG_MAP, name, component, labels=label, data={"config.json": text}),
        policy,
        maker.child(JOB, name, component, labels=label, spec=spec),
    )


def _pod(
    train: Train, base: ReleaseState, observed: Observed, config: Config, *, config_map: str
) -> Manifest:
    claims = trainers.claims(reads=(base.artifact.uri,), writes=(train.output.uri,))
    trainer = trainers.trainer(
        config,
        image=train.image or config.image(IMAGE),
        command={} if train.image else {"command": ["python3", "-m", "innervate_learner"]},
        environment=[
            {"name": "INNERVATE_OUTPUT_URI", "value": train.output.uri},
            {"name": "INNERVATE_BASE_URI", "value": base.artifact.uri},
            {"name": "INNERVATE_BASE_DIGEST", "value": base.artifact.digest},
            *releases.environment(base.artifact),
        ],
        resources=train.resources.over(trainers.RESOURCES) if train.resources else trainers.RESOURCES,
        mounts=[
            {"name": "config", "mountPath": workload.CONFIG_PATH, "readOnly": True},
            *(
                {"name": f"data-{index}", "mountPath": f"{DATA_PATH}/{index}", "readOnly": True}
                for index in range(len(train.data))
            ),
            *trainers.store_mounts(claims),
        ],
    )
    return trainers.pod(
        config,
        trainer,
        volumes=[
            {"name": "config", "configMap": {"name": config_map}},
            *_data(train),
            *trainers.store_volumes(claims),
        ],
        place=observed.placement,
    )


def _data(train: Train) -> list[Manifest]:
    volumes: list[Manifest] = []
    for index, source in enumerate(train.data):
        if source.persistent_volume_claim:
            claim = {"claimName": source.persistent_volume_claim.claim_name, "readOnly": True}
            volumes.append({"name": f"data-{index}", "persistentVolumeClaim": claim})
        elif source.config_map_ref:
            volumes.append({"name": f"data-{index}", "configMap": {"name": source.config_map_ref.name}})
    return volumes
