"""Running a program: event loop, logs, and what a wrong configuration looks like."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import uvloop

from innervate_service.config import ConfigError
from innervate_service.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a program: uvloop, JSON logs, and a plain line with exit code 2 for a wrong configuration.

    ``INNERVATE_LOG_LEVEL`` is the level of the logs, by default INFO.
    """
    configure_logs(os.environ.get("INNERVATE_LOG_LEVEL") or "INFO")
    try:
        uvloop.run(main())
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201  for a person who reads the pod's log
        sys.exit(2)
