"""Pictures of numbers as SVG inside HTML: lines over steps, and strips of what was done."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS: Final = (
    *("#0969da", "#cf222e", "#1a7f37", "#9a6700", "#8250df", "#bf3989", "#1b7c83", "#bc4c00"),
    *("#57606a", "#218bff", "#fa4549", "#2da44e", "#bf8700", "#a475f9", "#e85aad", "#3192aa"),
)
"""Told apart on white and on black."""
_WIDTH, _HEIGHT = 640, 220
_LEFT, _BOTTOM, _TOP, _RIGHT = 64, 28, 10, 10
_POINTS: Final = 240
"""Points of a line; more are averaged, for nobody sees them."""


class Line(NamedTuple):
    """A line of a picture."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str


class Mark(NamedTuple):
    """A level to compare with."""

    label: str
    y: float


class _Range(NamedTuple):
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Range:
        low, high = min(values), max(values)
        if high - low < 1e-9 * max(1.0, abs(high)):
            pad = abs(high) * 0.05 or 1.0
            return cls(low - pad, high + pad)
        return cls(low, high)

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def lines(title: str, drawn: Sequence[Line], *, mark: Mark | None = None, across: str = "step") -> str:
    """A picture of lines over one axis; empty where there is no point to draw."""
    thin = [_thinned(line) for line in drawn]
    thin = [line for line in thin if line.x]
    if not thin:
        return ""
    horizontal = _Range.of([x for line in thin for x in line.x])
    levels = [y for line in thin for y in line.y] + ([mark.y] if mark else [])
    vertical = _Range.of(levels)

    def place(x: float, y: float) -> tuple[float, float]:
        right, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP
        return (
            round(_LEFT + horizontal.share(x) * right, 1),
            round(_TOP + (1 - vertical.share(y)) * down, 1),
        )

    parts = [
        f"<figure><figcaption>{_text(title)}</figcaption>",
        f"<svg role='img' viewBox='0 0 {_WIDTH} {_HEIGHT}' width='100%' aria-label='{_text(title)}'>",
        *_grid(horizontal, vertical, place, across),
    ]
    if mark:
        _, level = place(horizontal.low, mark.y)
        parts.append(
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{level}' y2='{level}' stroke='#cf222e' "
            f"stroke-dasharray='4 3'/><text x='{_LEFT + 4}' y='{level - 4}' "
            f"fill='#cf222e'>{_text(mark.label)}</text>"
        )
    for line in thin:
        points = " ".join(f"{x},{y}" for x, y in (place(*pair) for pair in zip(line.x, line.y, strict=True)))
        shape = (
            f"<polyline fill='none' stroke-width='1.5' points='{points}'"
            if len(line.x) > 1
            else "<circle r='3' cx='{}' cy='{}' fill='{}'".format(*place(line.x[0], line.y[0]), line.colour)
        )
        parts.append(f"{shape} stroke='{line.colour}'><title>{_text(line.label)}</title>")
        parts.append("</polyline>" if len(line.x) > 1 else "</circle>")
    return "".join([*parts, "</svg>", legend(drawn), "</figure>"])


def legend(drawn: Sequence[Line]) -> str:
    """Names of the lines, where there are several."""
    if len(drawn) < 2:
        return ""
    names = (f"<span><i style='background:{line.colour}'></i>{_text(line.label)}</span>" for line in drawn)
    return f"<p class='k'>{''.join(names)}</p>"


def strip(label: str, values: Sequence[int]) -> str:
    """A row of coloured fields, one for each step: what was done of a few choices."""
    if not values:
        return ""
    kinds = sorted(set(values))
    width = (_WIDTH - _LEFT - _RIGHT) / len(values)
    parts, begin = [], 0
    for at in range(1, len(values) + 1):
        if at == len(values) or values[at] != values[begin]:
            colour = COLOURS[kinds.index(values[begin]) % len(COLOURS)]
            parts.append(
                f"<rect x='{_LEFT + begin * width:.1f}' width='{(at - begin) * width:.2f}' height='12' "
                f"fill='{colour}'/>"
            )
            begin = at
    keys = [Line(f"{label} {kind}", (), (), COLOURS[at % len(COLOURS)]) for at, kind in enumerate(kinds)]
    return (
        f"<svg role='img' viewBox='0 0 {_WIDTH} 12' width='100%' aria-label='{_text(label)}'>"
        f"{''.join(parts)}</svg>{legend(keys)}"
    )


def number(value: Any) -> str:
    """A number as people read it."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    )


def _thinned(line: Line) -> Line:
    """With at most `_POINTS` points, each the mean of its neighbours."""
    pairs = [
        (float(x), float(y))
        for x, y in zip(line.x, line.y, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    size = math.ceil(len(pairs) / _POINTS) or 1
    groups = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    return line._replace(
        x=[sum(x for x, _ in group) / len(group) for group in groups],
        y=[sum(y for _, y in group) / len(group) for group in groups],
    )


def _grid(horizontal: _Range, vertical: _Range, place: Any, across: str) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        level = vertical.low + share * (vertical.high - vertical.low)
        _, y = place(horizontal.low, level)
        parts.append(
            f"<line class='g' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y}' y2='{y}'/>"
            f"<text x='{_LEFT - 6}' y='{y + 4}' text-anchor='end'>{number(level)}</text>"
        )
    for share, anchor in ((0.0, "start"), (1.0, "end")):
        at = horizontal.low + share * (horizontal.high - horizontal.low)
        x, _ = place(at, vertical.low)
        parts.append(
            f"<text x='{x}' y='{_HEIGHT - 8}' text-anchor='{anchor}'>{number(round(at))}"
            f"{' ' + across + 's' if share else ''}</text>"
        )
    return parts


def _text(value: str) -> str:
    return html.escape(value, quote=True)
