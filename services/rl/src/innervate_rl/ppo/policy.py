"""A policy as files, and as a release."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from innervate_releases.build import build
from innervate_releases.keys import load_trusted
from innervate_releases.location import MOUNTS, open_store
from innervate_releases.manifest import Code
from innervate_releases.transfer import copy_lineage, fetch, push
from innervate_service.config import ConfigError
from safetensors.numpy import load_file, save_file

from innervate_rl.ppo import network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_rl.ppo.hyperparameters import Hyperparameters
    from innervate_rl.ppo.source import Source
    from innervate_rl.settings import Settings

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
_ARCHITECTURE: Final = "InnervateTanhPolicy"
_PRODUCED_BY: Final = "innervate_rl PPO"

Arrays = dict[str, np.ndarray[Any, Any]]


def begin(settings: Settings, source: Source) -> Arrays:
    """Parameters to begin with: those of the base release, or new ones.

    Raises
    ------
    ConfigError
        The release is no policy for this environment.
    innervate_releases.errors.ReleaseError
        It is wrong, or its store does not answer.
    """
    chosen = settings.configuration
    if chosen.policy.architecture is not None:
        hidden = chosen.policy.architecture.hidden_sizes
        return network.initial(source.observation_size, source.actions, hidden, seed=chosen.seed)
    release = chosen.policy.release
    assert release is not None  # noqa: S101  the settings have one of the two
    with tempfile.TemporaryDirectory() as scratch:
        into = Path(scratch)
        store = open_store(release.uri, mounts=settings.mounts or MOUNTS)
        fetch(store, release.digest, load_trusted(settings.keys), into=into, files=[CONFIG, WEIGHTS])
        about = json.loads((into / CONFIG).read_text(encoding="utf-8"))
        found = load_file(into / WEIGHTS)
    try:
        sizes = (about["observation_size"], about["actions"])
        expected = network.initial(*sizes, about["hidden_sizes"], seed=0)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"policy.release: {CONFIG} of {release.digest} describes no policy") from error
    if sizes != (source.observation_size, source.actions):
        raise ConfigError(
            f"policy.release: {release.digest} sees {sizes[0]} numbers and chooses among {sizes[1]} actions; "
            f"the environment has {source.observation_size} and {source.actions}"
        )
    if {name: array.shape for name, array in found.items()} != {
        name: array.shape for name, array in expected.items()
    }:
        raise ConfigError(f"policy.release: {WEIGHTS} of {release.digest} does not fit its {CONFIG}")
    return {name: found[name].astype(np.float32) for name in expected}


def save(parameters: Mapping[str, Any], directory: Path, *, environment: str) -> None:
    """Write a policy's files: the same policy gives the same bytes."""
    arrays = {name: np.ascontiguousarray(parameters[name], np.float32) for name in sorted(parameters)}
    count = network.layers(dict(parameters))
    widths = [arrays[f"{network.POLICY}.{layer}.weight"].shape for layer in range(count)]
    about = {
        "actions": widths[-1][1],
        "activation": "tanh",
        "architectures": [_ARCHITECTURE],
        "environment": environment,
        "hidden_sizes": [width for _, width in widths[:-1]],
        "observation_size": widths[0][0],
    }
    save_file(arrays, directory / WEIGHTS)
    (directory / CONFIG).write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def check_store(settings: Settings) -> None:
    """Look for the output store, where there is to be one, before a training is spent on it.

    Raises
    ------
    innervate_releases.errors.ReleaseError
        It is not there.
    """
    if settings.configuration.publish is not None:
        open_store(settings.configuration.publish.uri, mounts=settings.mounts or MOUNTS)


def publish(
    parameters: Mapping[str, Any], settings: Settings, chosen: Hyperparameters, chain: Mapping[str, str]
) -> str:
    """Put the policy into the output store as a release without a signature; gives its digest.

    Raises
    ------
    innervate_releases.errors.ReleaseError
        The store does not answer.
    """
    configuration = settings.configuration
    assert configuration.publish is not None  # noqa: S101  asked only where it is set
    base = configuration.policy.release
    mounts = settings.mounts or MOUNTS
    target = open_store(configuration.publish.uri, mounts=mounts)
    environment = configuration.environment.jax.id if configuration.environment.jax else None
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        save(parameters, made, environment=environment or configuration.environment.name)
        manifest = build(
            made,
            hyperparameters={
                "algorithm": configuration.algorithm.name,
                "environment": configuration.environment.name,
                "seed": str(configuration.seed),
                "steps": str(configuration.budget.steps),
                **{f"chain.{name}": digest for name, digest in chain.items() if digest},
                **{name: str(value) for name, value in chosen.model_dump(by_alias=True).items()},
            },
            code=Code(image=settings.image),
            parents=[base.digest] if base else [],
            produced_by=_PRODUCED_BY,
        )
        if base and base.uri != configuration.publish.uri:
            copy_lineage(open_store(base.uri, mounts=mounts), target, [base.digest])
        return push(made, manifest, target)
