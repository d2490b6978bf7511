"""How a training went so far, in few points however long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from innervate_learner.report import Line

_POINTS: Final = 512


class History:
    """Points of a report, evenly spread over its lines, and the newest one."""

    def __init__(self) -> None:
        self._points: list[dict[str, Any]] = []
        self._lines = 0
        self._stride = 1
        self._newest: dict[str, Any] | None = None

    def add(self, line: Line) -> None:
        """Take a line; those without metrics say nothing of how it goes."""
        if not line.metrics:
            return
        point = {"step": line.step, "metrics": line.metrics}
        if self._lines % self._stride == 0:
            self._points.append(point)
            if len(self._points) >= _POINTS:
                self._points = self._points[::2]
                self._stride *= 2
        self._newest = point  # last: another thread reads
        self._lines += 1

    def points(self) -> list[dict[str, Any]]:
        """``{"step", "metrics"}`` each, the oldest first."""
        newest = self._newest
        if newest is None or self._points[-1] is newest:
            return list(self._points)
        return [*self._points, newest]
