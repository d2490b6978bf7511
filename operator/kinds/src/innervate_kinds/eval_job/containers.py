"""The pod of an eval job and the file it reads: the runner, and the scorer beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api import workload
from innervate_kinds.eval_job.names import RUNNER, SCORER, Names
from innervate_kinds.parts import placement, service

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.eval_job.model import EvalJob
    from innervate_kinds.eval_job.template import Dataset
    from innervate_kinds.parts.placement import Pool

_IMAGE = "evaluator"
_DATA_PATH = "/var/lib/innervate/evaluation"
_DATASET_PATH = "/var/lib/innervate/dataset"
_SCORER_PATH = "/var/run/innervate/scorer"
_SOCKET = f"{_SCORER_PATH}/scorer.sock"
_RUNNER_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
}
_SCORER_RESOURCES: Manifest = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "256Mi"},
}
_TERMINATION_SECONDS = 30


def runner_config(job: EvalJob, config: Config, *, endpoint: str, model: str) -> str:
    """Configuration of the runner.

    Parameters
    ----------
    job
        The resource.
    config
        The operator's set-up.
    endpoint
        Address of the pool's gateway.
    model
        Name of the model in requests.
    """
    spec = job.spec
    run = spec.run.model_dump(
        mode="json", by_alias=True, exclude={"placement", "resources", "deadline_seconds"}
    )
    baseline = spec.baseline
    return workload.to_json(
        {
            "job": {"namespace": job.metadata.namespace, "name": job.metadata.name},
            "target": {
                "endpoint": endpoint,
                "model": model,
                "release": spec.target.release_ref.name if spec.target.release_ref else None,
            },
            "baseline": (
                {
                    "release": baseline.release_ref.name if baseline.release_ref else None,
                    "value": baseline.value,
                }
                if baseline
                else None
            ),
            "dataset": {
                "path": f"{_DATASET_PATH}/{_dataset_file(spec.dataset)}",
                "sha256": spec.dataset.sha256,
                "source": source(spec.dataset),
            },
            "scorers": [each.model_dump(mode="json", by_alias=True) for each in spec.scorers],
            "gate": (
                spec.gate.model_dump(mode="json", by_alias=True, exclude={"on_underpowered"})
                if spec.gate
                else None
            ),
            "run": run,
            "telemetry": {"otlpEndpoint": config.otlp_endpoint, "serviceName": "innervate-evaluator"},
            "healthListen": f"0.0.0.0:{workload.HEALTH_PORT}",
            "metricsListen": f"0.0.0.0:{workload.METRICS_PORT}",
            "paths": {
                "authorities": f"{workload.TRUST_PATH}/ca.crt",
                "token": f"{workload.TOKEN_PATH}/token",
                "data": _DATA_PATH,
                "scorer": _SOCKET,
            },
        }
    )


def source(dataset: Dataset) -> str:
    """Where the questions are, in words."""
    if dataset.config_map_ref:
        return f"ConfigMap {dataset.config_map_ref.name!r}, key {dataset.config_map_ref.key!r}"
    claim = dataset.persistent_volume_claim
    return f"PersistentVolumeClaim {claim.claim_name!r}, file {claim.path!r}" if claim else "the dataset"


def pod(job: EvalJob, config: Config, pool: Pool | None) -> Manifest:
    """Pod of the Job: the scorer starts first, and ends with the runner."""
    names = Names.of(job.metadata.name)
    own = {
        volume["name"]: volume
        for volume in workload.identity_volumes(config_map=names.config, trust=names.trust)
    }
    scorer = {"name": "scorer", "mountPath": _SCORER_PATH}
    return {
        **service.pod(config, account=names.job, termination_seconds=_TERMINATION_SECONDS),
        **placement.manifest(pool),
        "restartPolicy": "Never",
        "initContainers": [_scorer(config, scorer)],
        "containers": [_runner(job, config, scorer)],
        "volumes": [
            *(own[name] for name in ("config", "trust", "token", "tmp")),
            {"name": "scorer", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": names.data}},
            _dataset_volume(job.spec.dataset),
        ],
    }


def _runner(job: EvalJob, config: Config, scorer: Manifest) -> Manifest:
    resources = job.spec.run.resources
    ports = {"health": workload.HEALTH_PORT, "metrics": workload.METRICS_PORT}
    return {
        "name": RUNNER,
        **_program(config, "innervate_evaluator"),
        "env": workload.environment("innervate-evaluator"),
        "ports": [
            {"name": name, "containerPort": number, "protocol": "TCP"} for name, number in ports.items()
        ],
        "startupProbe": workload.http_probe("/livez", "health", period=1, failures=120),
        "livenessProbe": workload.http_probe("/livez", "health", period=15, failures=4),
        "resources": resources.over(_RUNNER_RESOURCES) if resources else _RUNNER_RESOURCES,
        "volumeMounts": [
            *(mount for mount in workload.identity_mounts() if mount["name"] != "identity"),
            scorer,
            {"name": "data", "mountPath": _DATA_PATH},
            {"name": "dataset", "mountPath": _DATASET_PATH, "readOnly": True},
        ],
    }


def _scorer(config: Config, scorer: Manifest) -> Manifest:
    """Without token and trust: what scores answers has no business elsewhere."""
    port = workload.AGENT_HEALTH_PORT
    return {
        "name": SCORER,
        **_program(config, "innervate_evaluator.scorer"),
        "args": [f"--socket={_SOCKET}", f"--health-listen=0.0.0.0:{port}"],
        "restartPolicy": "Always",
        "env": workload.environment("innervate-scorer"),
        "ports": [{"name": "scorer-health", "containerPort": port, "protocol": "TCP"}],
        "startupProbe": workload.http_probe("/readyz", port, period=1, failures=120),
        "livenessProbe": workload.http_probe("/livez", port, period=15, failures=4),
        "resources": _SCORER_RESOURCES,
        "volumeMounts": [scorer],
    }


def _program(config: Config, module: str) -> Manifest:
    return {
        "image": config.image(_IMAGE),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", module],
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _dataset_file(dataset: Dataset) -> str:
    if dataset.config_map_ref:
        return dataset.config_map_ref.key
    return dataset.persistent_volume_claim.path if dataset.persistent_volume_claim else ""


def _dataset_volume(dataset: Dataset) -> Manifest:
    volume: dict[str, Any] = {"name": "dataset"}
    if dataset.config_map_ref:
        # Optional: without it a ConfigMap that vanishes would hold the pod, and nothing would tell why.
        volume["configMap"] = {"name": dataset.config_map_ref.name, "optional": True}
    elif dataset.persistent_volume_claim:
        name = dataset.persistent_volume_claim.claim_name
        volume["persistentVolumeClaim"] = {"claimName": name, "readOnly": True}
    return volume
