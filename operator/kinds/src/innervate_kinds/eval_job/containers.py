"""The pod of an eval job and the file it reads: the runner, and the scorer beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.eval_job.names import RUNNER, Names
from innervate_kinds.parts import dataset, placement, scorer, service

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.eval_job.model import EvalJob
    from innervate_kinds.parts.placement import Pool

_DATA_PATH = "/var/lib/innervate/evaluation"
_RUNNER_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"cpu": "1", "memory": "512Mi"},
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
                "path": dataset.file(spec.dataset),
                "sha256": spec.dataset.sha256,
                "source": dataset.source(spec.dataset),
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
                "scorer": scorer.SOCKET,
            },
        }
    )


def pod(job: EvalJob, config: Config, pool: Pool | None) -> Manifest:
    """Pod of the Job: the scorer starts first, and ends with the runner."""
    names = Names.of(job.metadata.name)
    own = {
        volume["name"]: volume
        for volume in workload.identity_volumes(config_map=names.config, trust=names.trust)
    }
    return {
        **service.pod(config, account=names.job, termination_seconds=_TERMINATION_SECONDS),
        **placement.manifest(pool),
        "restartPolicy": "Never",
        "initContainers": [scorer.sidecar(config)],
        "containers": [_runner(job, config)],
        "volumes": [
            *(own[name] for name in ("config", "trust", "token", "tmp")),
            scorer.volume(),
            {"name": "data", "persistentVolumeClaim": {"claimName": names.data}},
            dataset.volume(job.spec.dataset),
        ],
    }


def _runner(job: EvalJob, config: Config) -> Manifest:
    resources = job.spec.run.resources
    ports = {"health": workload.HEALTH_PORT, "metrics": workload.METRICS_PORT}
    return {
        "name": RUNNER,
        "image": config.image("evaluator"),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_evaluator"],
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": workload.environment("innervate-evaluator"),
        "ports": [
            {"name": name, "containerPort": number, "protocol": "TCP"} for name, number in ports.items()
        ],
        "startupProbe": workload.http_probe("/livez", "health", period=1, failures=120),
        "livenessProbe": workload.http_probe("/livez", "health", period=15, failures=4),
        "resources": resources.over(_RUNNER_RESOURCES) if resources else _RUNNER_RESOURCES,
        "volumeMounts": [
            *(mount for mount in workload.identity_mounts() if mount["name"] != "identity"),
            scorer.mount(),
            {"name": "data", "mountPath": _DATA_PATH},
            dataset.mount(),
        ],
    }
