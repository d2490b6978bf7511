"""``python3 -m innervate_learner``: replay fine-tuning under the protocol of external trainers.

Environment: ``INNERVATE_ATTEMPT``, ``INNERVATE_BASE_URI``, ``INNERVATE_BASE_DIGEST``,
``INNERVATE_OUTPUT_URI``. Hyperparameters stand in ``/etc/innervate/config/config.json``, data in
``/var/lib/innervate/data/<n>/*.jsonl``, keys that are trusted in ``/etc/innervate/release-keys``;
what happens is told in ``/var/run/innervate/trainer/report.jsonl``. Exit codes: 0 done; 1 failed,
worth another attempt; 2 settings, data or base release are wrong; 4 a later attempt has begun.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from innervate_releases.errors import Part, ReleaseError

from innervate_learner import settings as environment
from innervate_learner.checkpoint import FencedError
from innervate_learner.report import DIRECTORY, Line, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED, REFUSED, FENCED = 1, 2, 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Train once; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="innervate_learner", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    try:
        settings = environment.read()
    except ValueError as error:
        return _fail(Report(DIRECTORY), Line(attempt=0), error, REFUSED)
    report = Report(settings.report)
    first = Line(settings.attempt)
    # Loaded after the settings are known to be right: JAX takes seconds.
    from innervate_learner.replay import train  # noqa: PLC0415

    try:
        release = train(settings, report)
    except FencedError as error:
        sys.stderr.write(f"{error}\n")
        return FENCED
    except ReleaseError as error:
        again = error.part in {Part.STORE, Part.KEY}
        return _fail(report, first, error, FAILED if again else REFUSED)
    except ValueError as error:
        return _fail(report, first, error, REFUSED)
    report(report.last._replace(release=release))
    return 0


def _fail(report: Report, line: Line, error: Exception, code: int) -> int:
    report(line._replace(error=str(error)[:2000]))
    sys.stderr.write(f"innervate_learner: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
