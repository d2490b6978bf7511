"""Structured logs: a constant message plus key/values, one JSON object a line, trace id included."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace

_FIELDS = "innervate_fields"
"""Attribute of a log record that carries the key/values."""
_REPEAT_SECONDS = 60.0
"""A library's same complaint is logged once in this time."""


class Logger:
    """Logs a constant message with key/values.

    Parameters
    ----------
    name
        Name of the standard logger underneath.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **fields: Any) -> None:
        """For someone who looks for a fault."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Something happened as it should."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something did not, and is dealt with."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Someone has to act."""
        self._log(logging.ERROR, message, fields)

    def exception(self, message: str, error: BaseException, **fields: Any) -> None:
        """A bug: with the traceback."""
        self._log(logging.ERROR, message, fields, error=error)

    def _log(
        self, level: int, message: str, fields: dict[str, Any], *, error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            # The record is to name the caller of debug(), info(), …, not this module.
            self._logger.log(level, message, exc_info=error, extra={_FIELDS: fields}, stacklevel=3)


def get_logger(name: str) -> Logger:
    """The logger of a module: ``_log = get_logger(__name__)``."""
    return Logger(name)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; never fails on a value that JSON does not know."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            line["trace_id"] = trace.format_trace_id(span.trace_id)
            line["span_id"] = trace.format_span_id(span.span_id)
        fields = getattr(record, _FIELDS, None)
        if isinstance(fields, dict):
            # A field never hides what every line has.
            line |= {key: value for key, value in fields.items() if key not in line}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class RepeatFilter(logging.Filter):
    """Lets the same message template of a library through once a minute.

    The trace exporter complains for every batch while its collector is down, and the span queue for
    every span that it drops.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be logged."""
        if not record.name.startswith("opentelemetry"):
            return True
        key = (record.name, str(record.msg))
        now = time.monotonic()
        if now - self._last.get(key, float("-inf")) < _REPEAT_SECONDS:
            return False
        self._last[key] = now
        return True


def configure_logs(level: str = "INFO") -> None:
    """Send every log of the process to standard error as JSON, replacing what was configured."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RepeatFilter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
