"""Replay fine-tuning: a release, new examples and old ones go in, a release comes out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_models import artifact
from innervate_models.chat import conversation_tokens
from innervate_models.training import Schedule, batch_of, begin, step_function
from innervate_releases import location
from innervate_releases.build import build
from innervate_releases.keys import load_trusted
from innervate_releases.location import open_store
from innervate_releases.manifest import Code, Data
from innervate_releases.transfer import copy_lineage, fetch, push

from innervate_learner import examples
from innervate_learner.checkpoint import Checkpoints, identity
from innervate_learner.report import Line
from innervate_learner.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_models.training import Batch, State
    from innervate_releases.manifest import Manifest
    from innervate_releases.store import Store

    from innervate_learner.examples import DataSet, Order
    from innervate_learner.settings import Settings

PRODUCED_BY = "innervate_learner replay"
_LENGTHS = (48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)
"""Lengths of batches: the shortest that holds every example."""
_REPORT_EVERY = 10
"""Steps between lines of the report; every checkpoint is told of as well."""


class _Material(NamedTuple):
    """What the training reads."""

    model: artifact.Model
    manifest: Manifest
    fresh: list[DataSet]
    buffer: DataSet | None


def train(settings: Settings, tell: Callable[[Line], None]) -> str:
    """Train, and put the new release into the output store.

    Parameters
    ----------
    settings
        What to do.
    tell
        Takes each line of the report.

    Returns
    -------
    str
        The release's digest.

    Raises
    ------
    ValueError
        The settings or the data cannot be used; nothing was trained.
    innervate_releases.errors.ReleaseError
        The base release is wrong, or a store does not answer.
    FencedError
        A later attempt has begun.
    """
    chosen = settings.hyperparameters
    # The data first: it is refused before anything is fetched.
    fresh = examples.read(settings.data, but=chosen.buffer)
    buffer = _buffer(settings)
    source, target = (_open(uri, settings.mounts) for uri in (settings.base_uri, settings.output_uri))
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        manifest = fetch(
            source, settings.base_digest, load_trusted(settings.keys), into=base, files=artifact.FILES
        )
        material = _Material(artifact.load(base), manifest, fresh, buffer)
        checkpoints = Checkpoints(_checkpoint_directory(settings, material), settings.attempt)
        checkpoints.begin()
        state = _steps(settings, material, checkpoints, tell)
        made = Path(scratch) / "made"
        model = material.model._replace(parameters=state.parameters)
        artifact.save(model, made)
        checkpoints.check()
        if settings.output_uri != settings.base_uri:
            copy_lineage(source, target, [settings.base_digest])
        release = push(made, _manifest(settings, material, made), target)
    checkpoints.remove()
    return release


def _steps(
    settings: Settings, material: _Material, checkpoints: Checkpoints, tell: Callable[[Line], None]
) -> State:
    chosen, model = settings.hyperparameters, material.model
    order = examples.Order(
        [example for data in material.fresh for example in data.examples],
        material.buffer.examples if material.buffer else [],
        batch=chosen.batch,
        replay_share=chosen.replay_share,
        seed=chosen.seed,
    )
    length = _length(material)
    schedule = Schedule(steps=chosen.steps, peak=chosen.learning_rate, warmup=chosen.warmup)
    step = step_function(model.config, schedule)
    state: State
    done, state = checkpoints.load(begin(model.parameters, schedule))
    name = f"{done}" if done else None
    tell(Line(settings.attempt, step=done, prompts_consumed=done * chosen.batch, checkpoint=name))
    while done < chosen.steps:
        state, loss = step(state, _batch(material, order, done, length))
        done += 1
        kept = done % chosen.checkpoint_every == 0 and done < chosen.steps
        if kept:
            name = checkpoints.save(done, state)
        if kept or done % _REPORT_EVERY == 0 or done in {1, chosen.steps}:
            tell(
                Line(
                    settings.attempt,
                    step=done,
                    metrics={"loss": round(float(loss), 6)},
                    prompts_consumed=done * chosen.batch,
                    checkpoint=name,
                )
            )
    return state


def _batch(material: _Material, order: Order, number: int, length: int) -> Batch:
    tokenizer = material.model.tokenizer
    rows = [
        conversation_tokens(tokenizer, [(example.prompt, example.answer)], limit=length)
        for example in order.step(number)
    ]
    return batch_of(rows, length=length, fill=tokenizer.end)


def _buffer(settings: Settings) -> DataSet | None:
    chosen = settings.hyperparameters
    if chosen.buffer:
        return examples.read_file(settings.data / chosen.buffer, chosen.buffer)
    if chosen.replay_share == 0:
        return None
    names = [name.strip() for name in chosen.replay_topics.split(",") if name.strip()]
    return examples.replayed(names, count=chosen.replay_count)


def _length(material: _Material) -> int:
    """Positions of a batch; every example must fit it and the model."""
    model = material.model
    data = [*material.fresh, *([material.buffer] if material.buffer else [])]
    longest = 0
    for source in data:
        for number, example in enumerate(source.examples, start=1):
            turns = [(example.prompt, example.answer)]
            row = conversation_tokens(model.tokenizer, turns, limit=model.config.context)
            if not row.tokens:
                limit = model.config.context
                raise examples.DataError(
                    f"{source.uri}: example {number} does not fit the model's context of {limit}"
                )
            # A quarter of a batch's positions can be predicted.
            longest = max(longest, len(row.tokens), 4 * sum(row.learned))
    return next(length for length in _LENGTHS if length >= longest)


def _manifest(settings: Settings, material: _Material, made: Path) -> Manifest:
    return build(
        made,
        base=material.manifest.file(artifact.WEIGHTS).digest,
        data=[Data(uri=data.uri, digest=data.digest) for data in material.fresh],
        buffer=material.buffer.digest if material.buffer else None,
        hyperparameters={"method": "Replay", **settings.hyperparameters.texts()},
        code=Code(image=settings.image),
        parents=[settings.base_digest],
        produced_by=PRODUCED_BY,
    )


def _open(uri: str, mounts: Path | None) -> Store:
    return open_store(uri, mounts=mounts) if mounts else open_store(uri)


def _checkpoint_directory(settings: Settings, material: _Material) -> Path:
    """Beside the output store where that is a directory: it outlives the pod, as checkpoints must."""
    place = location.parse(settings.output_uri)
    if place.scheme == "file":
        root = Path(place.path)
    elif place.scheme == "pvc":
        root = (settings.mounts or location.MOUNTS) / place.host / place.path
    else:
        raise SettingsError(f"{settings.output_uri}: a trainer's output is a volume, as pvc://claim/path")
    name = identity(
        base=settings.base_digest,
        data=[data.digest for data in material.fresh],
        buffer=material.buffer.digest if material.buffer else None,
        hyperparameters=settings.hyperparameters.texts(),
    )
    return root / "checkpoints" / name
