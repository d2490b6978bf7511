"""A trace as a picture of text: one line for each span, a bar for its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sized

    from rich.console import RenderableType

    from innervate.jaeger import Trace

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEAST_BAR = 12
_LONGEST_SERVICE = 24
_LONGEST_OPERATION = 60
_TIME_AND_GAPS = 7 + 4
_SIBLINGS = 8
"""So many children of a span that do the same are shown, and the others counted."""


def render(trace: Trace, width: int, *, whole: bool = False) -> RenderableType:
    """Picture of a trace.

    Parameters
    ----------
    trace
        The trace.
    width
        Characters of the terminal.
    whole
        Show every span, however many do the same.
    """
    steps = list(trace.walk(siblings=None if whole else _SIBLINGS))
    services = list(dict.fromkeys(span.service for span, _, _ in steps))
    colours = {service: _COLOURS[number % len(_COLOURS)] for number, service in enumerate(services)}
    operations = [_operation(span.operation, depth, left_out) for span, depth, left_out in steps]
    first = min(_LONGEST_SERVICE, max(len("service"), *map(len, services)))
    second = min(_LONGEST_OPERATION, max(len("operation"), *map(len, operations)))
    second = max(_LEAST_BAR, min(second, width - first - _TIME_AND_GAPS - _LEAST_BAR))
    bar = max(_LEAST_BAR, width - first - second - _TIME_AND_GAPS)
    failed = sum(span.error is not None for span in trace.spans)
    title = Text.assemble(
        ("trace ", "bold"),
        trace.id,
        f"  {_count(trace.spans, 'span')}, {_count(services, 'service')}, {duration(trace.duration_us)}",
        (f", {failed} failed" if failed else "", "bold red"),
    )
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style="bold", expand=False)
    table.add_column("service", no_wrap=True, width=first)
    table.add_column("operation", no_wrap=True, overflow="ellipsis", width=second)
    table.add_column("time", justify="right", no_wrap=True, width=7)
    table.add_column("", no_wrap=True)
    for (span, _, _), operation in zip(steps, operations, strict=True):
        bad = span.error is not None
        style = "bold red" if bad else colours[span.service]
        table.add_row(
            Text(span.service, colours[span.service]),
            Text(operation, "red" if bad else ""),
            Text(duration(span.duration_us), "red" if bad else "dim"),
            Text(_bar(span.start_us - trace.start_us, span.duration_us, trace.duration_us, bar), style),
        )
    reasons = [
        Text(f"✗ {span.service} {span.operation}: {span.error}", "red") for span, _, _ in steps if span.error
    ]
    return Group(title, table, *reasons)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" + ("s" if len(things) != 1 else "")


def _operation(name: str, depth: int, left_out: int) -> str:
    more = f" (and {left_out} more)" if left_out else ""
    return ("  " * (depth - 1) + "└ " + name if depth else name) + more


def duration(microseconds: int) -> str:
    """Length of time with three digits that mean something."""
    if microseconds < 1000:
        return f"{microseconds} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms" if microseconds < 999_500 else "1 s"
    return f"{microseconds / 1_000_000:.3g} s"


def _bar(offset: int, length: int, whole: int, width: int) -> str:
    """Bar from offset to offset + length on a line of `width` characters that stands for `whole`."""
    scale = width * 8 / max(1, whole)
    start = min(round(offset * scale), width * 8 - 1)
    # The left edge is on a whole character, the right edge on an eighth of one.
    first = start // 8
    eighths = max(1, round((offset + length) * scale) - first * 8)
    full, part = divmod(min(eighths, (width - first) * 8), 8)
    return " " * first + "█" * full + (_EIGHTHS[part] if part else "")
