"""Log lines are JSON, whatever they carry."""

from __future__ import annotations

import json
import logging

from innervate_service.logs import JsonFormatter, RepeatFilter, get_logger
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags


def line(caplog):
    return json.loads(JsonFormatter().format(caplog.records[-1]))


def test_key_values_stand_beside_a_constant_message(caplog):
    with caplog.at_level(logging.INFO):
        get_logger("x").info("record put", space="support", count=3, unknown=object())
    read = line(caplog)
    assert read["message"] == "record put"
    assert read["level"] == "info"
    assert (read["space"], read["count"]) == ("support", 3)
    assert caplog.records[-1].filename == "test_logs.py"


def test_a_field_cannot_forge_what_every_line_has(caplog):
    with caplog.at_level(logging.INFO):
        get_logger("x").info("a\nb", level="debug", logger="other", name="n", args=1)
    read = line(caplog)
    assert (read["level"], read["logger"], read["name"]) == ("info", "x", "n")
    assert "\n" not in JsonFormatter().format(caplog.records[-1])


def test_the_trace_is_named(caplog):
    context = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(context)), caplog.at_level(logging.INFO):
        get_logger("x").info("hello")
        read = line(caplog)
    assert read["trace_id"] == f"{0xABC:032x}"
    assert read["span_id"] == f"{0xDEF:016x}"


def test_an_exporters_complaint_is_not_repeated():
    repeat = RepeatFilter()

    def record(name, message):
        return logging.LogRecord(name, logging.ERROR, "", 0, message, ("a",), None)

    assert repeat.filter(record("opentelemetry.exporter", "Failed %s"))
    assert not repeat.filter(record("opentelemetry.exporter", "Failed %s"))
    assert repeat.filter(record("opentelemetry.exporter", "Other %s"))
    assert repeat.filter(record("innervate_service", "Failed %s"))
    assert repeat.filter(record("innervate_service", "Failed %s"))
