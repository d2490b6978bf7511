"""Curves in a terminal, drawn with braille: each character is two dots wide and four high."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BLANK: Final = 0x2800
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character by column and row."""
_BARS: Final = "▁▂▃▄▅▆▇█"


class Series(NamedTuple):
    """A curve."""

    x: Sequence[float]
    y: Sequence[float]
    style: str
    """How it looks; opaque to this module."""


class Cell(NamedTuple):
    """A character of a plot."""

    character: str
    style: str


class Plot(NamedTuple):
    """A drawn plot: rows from the top, and what its edges stand for."""

    rows: list[list[Cell]]
    low: float
    high: float
    begin: float
    end: float


def plot(series: Sequence[Series], *, width: int, height: int) -> Plot | None:
    """Draw curves over each other; None where there is no point. Where two meet, the later one shows.

    Parameters
    ----------
    series
        The curves; points that are no finite numbers are left out.
    width, height
        In characters.
    """
    known = [_finite(each) for each in series]
    points = [(x, y) for each in known for x, y in zip(each.x, each.y, strict=True)]
    if not points:
        return None
    begin, end = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    if low == high:
        pad = abs(low) * 0.05 or 1.0
        low, high = low - pad, high + pad
    bits = [[0] * width for _ in range(height)]
    styles = [[""] * width for _ in range(height)]
    for each in known:
        for column, row in _dots(each, (begin, end, low, high), (2 * width - 1, 4 * height - 1)):
            bits[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
            styles[row // 4][column // 2] = each.style
    rows = [
        [Cell(chr(_BLANK + bit) if bit else " ", style) for bit, style in zip(*line, strict=True)]
        for line in zip(bits, styles, strict=True)
    ]
    return Plot(rows, low, high, begin, end)


def spark(values: Sequence[float], width: int) -> str:
    """A curve in one line of bars, each the mean of its share of the values."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return ""
    size = max(1, math.ceil(len(known) / width))
    means = [sum(known[at : at + size]) / len(known[at : at + size]) for at in range(0, len(known), size)]
    low, reach = min(means), (max(means) - min(means)) or 1.0
    return "".join(_BARS[int((mean - low) / reach * (len(_BARS) - 1))] for mean in means)


def _finite(series: Series) -> Series:
    pairs = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(x) and math.isfinite(y)]
    return Series([x for x, _ in pairs], [y for _, y in pairs], series.style)


def _dots(
    series: Series, edges: tuple[float, float, float, float], last: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Columns and rows, from the top left, of the dots of a curve whose points are joined."""
    begin, end, low, high = edges
    before: tuple[int, int] | None = None
    for x, y in zip(series.x, series.y, strict=True):
        column = round((x - begin) / (end - begin) * last[0]) if end > begin else 0
        row = round((high - y) / (high - low) * last[1])
        yield from _joined(before, (column, row)) if before else [(column, row)]
        before = (column, row)


def _joined(first: tuple[int, int], second: tuple[int, int]) -> Iterator[tuple[int, int]]:
    count = max(abs(second[0] - first[0]), abs(second[1] - first[1]), 1)
    for step in range(count + 1):
        yield (
            round(first[0] + (second[0] - first[0]) * step / count),
            round(first[1] + (second[1] - first[1]) * step / count),
        )
