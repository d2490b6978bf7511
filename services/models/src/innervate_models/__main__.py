"""``python3 -m innervate_models``: data, training, evaluation and conversion of our own models."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_models import topics

if TYPE_CHECKING:
    from collections.abc import Sequence

# What needs JAX is imported where it is used: `data` and `--help` answer at once.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (OSError, ValueError) as error:
        _say(f"innervate_models: {error}")
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="innervate_models", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = commands.add_parser(
        "data",
        help="make questions and answers",
        description="Make questions and answers as JSON lines on standard output. "
        f"Topics: {', '.join(topics.TOPICS)}.",
    )
    data.add_argument("--topics", type=_names, default=topics.TOPICS, help="comma-separated (default: all)")
    data.add_argument("--seed", type=int, default=1, help="the same seed gives the same lines (default: 1)")
    data.add_argument("--count", type=int, default=100, help="how many lines (default: 100)")
    data.add_argument("--split", choices=("train", "eval"), default="train", help="default: train")
    data.add_argument(
        "--shuffle", type=_names, default=(), help="topics whose answers are exchanged: labels gone wrong"
    )
    data.add_argument(
        "--golden", action="store_true", help="lines for an EvalJob instead of lines for training"
    )
    data.set_defaults(run=_data)

    train = commands.add_parser(
        "train",
        help="train the base model by its recipe",
        description="Train the base model by its recipe, from nothing.",
    )
    train.add_argument("--into", type=Path, required=True, help="directory for the model")
    train.add_argument(
        "--check",
        action="store_true",
        help="fail unless the quality agrees with that of the committed weights",
    )
    train.set_defaults(run=_train)

    evaluate = commands.add_parser(
        "evaluate", help="count exact answers by topic", description="Count exact answers by topic."
    )
    evaluate.add_argument("directory", type=Path, nargs="?", help="a model (default: the committed one)")
    evaluate.add_argument(
        "--topics", type=_names, default=topics.TOPICS, help="comma-separated (default: all)"
    )
    evaluate.add_argument("--seed", type=int, default=None, help="of the questions")
    evaluate.add_argument("--count", type=int, default=None, help="questions a topic")
    evaluate.set_defaults(run=_evaluate)

    convert = commands.add_parser(
        "convert",
        help="derive the GGUF",
        description="Derive model.gguf from a model's canonical files.",
    )
    convert.add_argument("directory", type=Path, nargs="?", help="a model (default: the committed one)")
    convert.add_argument("--into", type=Path, required=True, help="the file to write")
    convert.set_defaults(run=_convert)
    return parser


def _data(options: argparse.Namespace) -> int:
    examples = topics.generate(options.topics, seed=options.seed, count=options.count, split=options.split)
    if options.shuffle:
        topics.check_topics(options.shuffle)
        examples = topics.shuffled(examples, options.shuffle, seed=options.seed)
    lines = topics.golden_lines(examples) if options.golden else topics.training_lines(examples)
    for line in lines:
        print(line)  # noqa: T201  the command's result
    return 0


def _train(options: argparse.Namespace) -> int:
    from innervate_models import pretraining  # noqa: PLC0415  see above

    started = time.monotonic()

    def tell(step: int, loss: float) -> None:
        if step % 100 == 0 or step == 1:
            passed = time.monotonic() - started
            _say(f"step {step} of {pretraining.RECIPE.steps}: loss {loss:.3f}, {passed:.0f} s")

    report = pretraining.pretrain(pretraining.RECIPE, options.into, progress=tell)
    print(json.dumps(report._asdict(), indent=1))  # noqa: T201  the command's result
    if not options.check:
        return 0
    expected = pretraining.stated()
    problems = pretraining.disagreements(report.quality, expected["quality"], expected["tolerance"])
    same = "the same weights" if report.digest == expected["digest"] else "other weights, the same quality"
    _say(
        "\n".join(["the quality differs from that of the committed weights:", *problems])
        if problems
        else same
    )
    return 1 if problems else 0


def _evaluate(options: argparse.Namespace) -> int:
    from innervate_models import artifact, evaluation, pretraining  # noqa: PLC0415  see above

    model = artifact.load(options.directory or pretraining.BASE)
    asked = evaluation.questions(
        options.topics,
        seed=evaluation.SEED if options.seed is None else options.seed,
        count=options.count or evaluation.COUNT,
    )
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        # Progress is what a program at a terminal prints.
        print(f"\r{done} of {len(asked)} questions", end="", file=sys.stderr, flush=True)  # noqa: T201

    scores = evaluation.evaluate(model, asked, progress=tell if sys.stderr.isatty() else None)
    shares = {topic: round(score.share, 4) for topic, score in scores.items()}
    print(json.dumps(shares, indent=1))  # noqa: T201  the command's result
    return 0


def _convert(options: argparse.Namespace) -> int:
    from innervate_models import artifact, pretraining  # noqa: PLC0415  see above

    artifact.convert(options.directory or pretraining.BASE, options.into)
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  progress and errors of a command


if __name__ == "__main__":
    sys.exit(main())
