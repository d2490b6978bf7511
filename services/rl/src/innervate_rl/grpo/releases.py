"""Where the model comes from, and where it goes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_models import artifact
from innervate_releases.build import build
from innervate_releases.keys import load_trusted
from innervate_releases.location import open_store
from innervate_releases.manifest import Code
from innervate_releases.transfer import copy_lineage, fetch, push
from innervate_service.config import ConfigError

if TYPE_CHECKING:
    from innervate_releases.store import Store

    from innervate_rl.settings import Release, Settings

PRODUCED_BY = "innervate_rl GRPO"


class Base(NamedTuple):
    """The release that training begins from."""

    model: artifact.Model
    weights: str
    """Digest of its weights' file."""


def fetch_base(settings: Settings) -> Base:
    """Fetch, verify and load the base release.

    Raises
    ------
    ConfigError
        No release is given, or it holds no model of this kind.
    innervate_releases.errors.ReleaseError
        The release is wrong, or its store does not answer.
    """
    release = _base(settings)
    with tempfile.TemporaryDirectory() as scratch:
        manifest = fetch(
            _open(settings, release.uri),
            release.digest,
            load_trusted(settings.keys),
            into=Path(scratch),
            files=artifact.FILES,
        )
        try:
            model = artifact.load(Path(scratch))
        except artifact.ArtifactError as error:
            raise ConfigError(f"policy.release: {error}") from error
    return Base(model, manifest.file(artifact.WEIGHTS).digest)


def publish(settings: Settings, base: Base, model: artifact.Model, hyperparameters: dict[str, str]) -> str:
    """Put the trained model into the store that the settings name; returns the release's digest."""
    chosen = settings.configuration
    if chosen.publish is None:
        raise ConfigError("publish is not given: there is no store to put a release into")
    release = _base(settings)
    target = _open(settings, chosen.publish.uri)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        artifact.save(model, made)
        manifest = build(
            made,
            base=base.weights,
            hyperparameters={"method": "GRPO", "seed": str(chosen.seed), **hyperparameters},
            code=Code(image=settings.image),
            parents=[release.digest],
            produced_by=PRODUCED_BY,
        )
        if chosen.publish.uri != release.uri:
            copy_lineage(_open(settings, release.uri), target, [release.digest])
        return push(made, manifest, target)


def _base(settings: Settings) -> Release:
    release = settings.configuration.policy.release
    if release is None:
        raise ConfigError("policy.release must be given: GRPO trains a language model")
    return release


def _open(settings: Settings, uri: str) -> Store:
    return open_store(uri, mounts=settings.mounts) if settings.mounts else open_store(uri)
