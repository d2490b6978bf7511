"""``python3 -m innervate_rl``: one seed of a run, under the protocol of external trainers.

The configuration is ``/etc/innervate/config/config.json``. Environment: ``INNERVATE_ATTEMPT``,
``INNERVATE_IMAGE``, ``TRACEPARENT``, ``INNERVATE_COMPILE_CACHE`` (a directory for compiled programs).
What happens is told in ``/var/run/innervate/trainer/report.jsonl``; all files of the seed lie in
``/var/lib/innervate/run/seeds/<seed>``. Exit codes: 0 done; 1 failed, worth another attempt; 2 settings
or the base release are wrong; 4 a later attempt has begun.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from typing import TYPE_CHECKING, Protocol, cast

from innervate_learner.report import DIRECTORY, Line, Report
from innervate_releases.errors import Part, ReleaseError
from innervate_service import telemetry
from innervate_service.config import ConfigError
from opentelemetry import propagate, trace

from innervate_rl import settings as environment
from innervate_rl import stopping
from innervate_rl.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_rl.result import Outcome
    from innervate_rl.settings import Settings

FAILED, REFUSED, FENCED = 1, 2, 4
_TRAINERS = {"PPO": "innervate_rl.ppo.trainer", "GRPO": "innervate_rl.grpo.trainer"}
"""Modules with a function `train` each."""

_tracer = trace.get_tracer("innervate_rl")


class Train(Protocol):
    """What a trainer offers.

    It raises ConfigError where its settings are wrong, RunError where another attempt may do better,
    ReleaseError about releases, and FencedError where a later attempt has begun.
    """

    def __call__(self, settings: Settings, tell: Callable[[Line], None]) -> Outcome:
        """Train one seed, evaluate it, write its files; `tell` takes each line of the report but the last."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train once; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="innervate_rl", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    try:
        settings = environment.read()
    except ConfigError as error:
        return _fail(Report(DIRECTORY), Line(attempt=0), error, REFUSED)
    telemetry.configure(settings.configuration.telemetry)
    stopping.listen()
    try:
        return _run(settings)
    finally:
        asyncio.run(telemetry.shutdown())


def _run(settings: Settings) -> int:
    # Loaded after the settings are known to be right: JAX takes seconds.
    from innervate_learner.checkpoint import FencedError  # noqa: PLC0415

    report = Report(settings.report)
    report.last = Line(settings.attempt)
    parent = propagate.extract({"traceparent": settings.traceparent})
    chosen = settings.configuration
    attributes: dict[str, str | int] = {
        "innervate.rl.run": f"{chosen.run.namespace}/{chosen.run.name}",
        "innervate.rl.seed": chosen.seed,
        "innervate.rl.algorithm": chosen.algorithm.name,
        "innervate.rl.environment": chosen.environment.name,
    }
    try:
        with _tracer.start_as_current_span("train", context=parent, attributes=attributes) as span:
            train = cast("Train", importlib.import_module(_TRAINERS[chosen.algorithm.name]).train)
            outcome = train(settings, report)
            span.set_attribute("innervate.rl.steps", outcome.result.steps)
            span.set_attribute("innervate.rl.reward", outcome.result.reward)
    except FencedError as error:
        sys.stderr.write(f"{error}\n")
        return FENCED
    except ReleaseError as error:
        again = error.part in {Part.STORE, Part.KEY}
        return _fail(report, report.last, error, FAILED if again else REFUSED)
    except ConfigError as error:
        return _fail(report, report.last, error, REFUSED)
    except RunError as error:
        return _fail(report, report.last, error, FAILED)
    _page(settings)
    result = outcome.result.document()
    report(report.last._replace(release=outcome.release, result=result))
    return 0


def _page(settings: Settings) -> None:
    """Write the page for people; what was trained is not lost where that fails."""
    from innervate_rl import run_report  # noqa: PLC0415  as above
    from innervate_rl.experience.parts import PartError  # noqa: PLC0415

    try:
        run_report.write(settings)
    except (PartError, OSError) as error:
        sys.stderr.write(f"innervate_rl: the run's page was not written: {error}\n")


def _fail(report: Report, line: Line, error: Exception, code: int) -> int:
    report(line._replace(error=str(error)[:2000]))
    sys.stderr.write(f"innervate_rl: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
