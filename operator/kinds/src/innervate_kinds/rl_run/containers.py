"""The pods of a seed and the file they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.parts import releases, trainers
from innervate_kinds.rl_run import budget
from innervate_kinds.rl_run.names import Names

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.environment.model import Environment
    from innervate_kinds.rl_run.model import RLRun
    from innervate_kinds.rl_run.state import Observed

_IMAGE, _SERVICE = "rl", "innervate-rl"
DATA_PATH = "/var/lib/innervate/run"
_EPISODES = 100
"""Episodes of the evaluation where there is no gate that says how many."""


def configuration(run: RLRun, number: int, observed: Observed, config: Config) -> str:
    """Configuration file of a seed's trainer."""
    spec = run.spec
    allowed = budget.allowance(run, observed.placement)
    return workload.to_json(
        {
            "run": {
                "namespace": run.metadata.namespace,
                "name": run.metadata.name,
                "uid": run.metadata.uid,
            },
            "seed": number,
            "environment": _environment(observed.environment),
            "policy": _policy(run, observed),
            "algorithm": spec.algorithm.model_dump(mode="json", by_alias=True),
            "budget": {"steps": spec.budget.steps, "seconds": allowed.training},
            "staleness": spec.staleness.model_dump(mode="json", by_alias=True),
            "checkpoint": spec.checkpoint.model_dump(mode="json", by_alias=True),
            "evaluation": {"episodes": spec.gate.episodes if spec.gate else _EPISODES},
            "experience": spec.experience.model_dump(mode="json", by_alias=True),
            "publish": {"uri": spec.publish.uri} if spec.publish else None,
            "telemetry": {"otlpEndpoint": config.otlp_endpoint, "serviceName": _SERVICE},
        }
    )


def pod(
    run: RLRun,
    observed: Observed,
    config: Config,
    *,
    config_map: str,
    coordinator: str = "",
    attempt: str = trainers.ATTEMPT,
) -> Manifest:
    """Pod of a seed.

    Parameters
    ----------
    run, observed, config
        As in a plan.
    config_map
        Name of the ConfigMap with the trainer's file.
    coordinator
        Host of the seed's first pod, where there are several.
    attempt
        Annotation that numbers the attempts.
    """
    names = Names.of(run.metadata.name)
    engine = run.spec.engine
    base, publish = observed.base, run.spec.publish
    claims = trainers.claims(
        reads=(base.spec.artifact.uri,) if base else (), writes=(publish.uri,) if publish else ()
    )
    own = {
        volume["name"]: volume
        for volume in workload.identity_volumes(config_map=config_map, trust=names.trust)
    }
    mounts = {mount["name"]: mount for mount in workload.identity_mounts()}
    external = engine.external
    trainer = trainers.trainer(
        config,
        image=external.image if external else config.image(_IMAGE),
        service=_SERVICE,
        command=_command(run),
        environment=_variables(run, observed, coordinator),
        attempt=attempt,
        resources=_resources(run, observed),
        mounts=[
            *(mounts[name] for name in ("config", "trust", "token")),
            {"name": "data", "mountPath": DATA_PATH},
            *trainers.store_mounts(claims),
        ],
    )
    return trainers.pod(
        config,
        trainer,
        volumes=[
            *(own[name] for name in ("config", "trust", "token")),
            {"name": "data", "persistentVolumeClaim": {"claimName": names.data}},
            *trainers.store_volumes(claims),
        ],
        place=observed.placement,
        account=names.run,
        attempt=attempt,
    )


def _resources(run: RLRun, observed: Observed) -> Manifest:
    """What a trainer may use: what is declared, and the accelerator of its ComputePool."""
    engine, pool = run.spec.engine, observed.placement
    declared = engine.external or engine.builtin
    wanted = declared.resources if declared else None
    amounts = wanted.over(trainers.RESOURCES) if wanted else trainers.RESOURCES
    accelerator = pool.spec.accelerator if pool else None
    if accelerator is None:
        return amounts
    return {**amounts, "limits": {**amounts["limits"], accelerator.resource: str(accelerator.count)}}


def _command(run: RLRun) -> Manifest:
    external = run.spec.engine.external
    if external is None:
        return {"command": ["python3", "-m", "innervate_rl"]}
    given = {"command": list(external.command), "args": list(external.args)}
    return {name: words for name, words in given.items() if words}


def _variables(run: RLRun, observed: Observed, coordinator: str) -> list[Manifest]:
    """What a trainer is told besides its file; programs that are compiled once serve later attempts."""
    values = {"INNERVATE_COMPILE_CACHE": f"{DATA_PATH}/compiled"}
    external = run.spec.engine.external
    if external and coordinator:
        values |= {"INNERVATE_COORDINATOR": coordinator, "INNERVATE_NODES": str(external.nodes)}
    if run.spec.publish:
        values["INNERVATE_OUTPUT_URI"] = run.spec.publish.uri
    base = observed.base.spec.artifact if observed.base else None
    if base:
        values |= {"INNERVATE_BASE_URI": base.uri, "INNERVATE_BASE_DIGEST": base.digest}
    found: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    return [*found, *(releases.environment(base) if base else ())]


def _environment(environment: Environment | None) -> Manifest | None:
    if environment is None:
        return None
    status, jax = environment.status, environment.spec.source.jax
    chain = (
        status.chain.model_dump(mode="json", by_alias=True, exclude_none=True)
        if status and status.chain
        else {}
    )
    return {
        "name": environment.metadata.name,
        "endpoint": None if jax or status is None else status.endpoint,
        "jax": jax.model_dump(mode="json", by_alias=True) if jax else None,
        "chain": chain,
    }


def _policy(run: RLRun, observed: Observed) -> Manifest:
    architecture = run.spec.policy.architecture
    if architecture:
        return {"architecture": architecture.model_dump(mode="json", by_alias=True)}
    artifact = observed.base.spec.artifact if observed.base else None
    return {"release": {"uri": artifact.uri, "digest": artifact.digest} if artifact else None}
