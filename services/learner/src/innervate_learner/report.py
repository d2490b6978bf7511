"""What trainers tell: JSON lines in a file, the same for every trainer.

``{"attempt", "step", "metrics", "promptsConsumed", "checkpoint", "final"}``; `final` is null
until the last line, where it names what was made, ``{"release": "sha256:…"}``, or says what came
out, ``{"result": {…}}``, or both. A line with ``"error"`` says why there will be none.
"""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = Path("/var/run/innervate/trainer")
FILE = "report.jsonl"
ATTEMPT = "INNERVATE_ATTEMPT"
"""Environment variable with the number of this attempt; left out, 0."""
MAX_LINE = 64 << 10
"""Longest line that is read."""
MAX_RESULT = 2048
"""Most bytes of a result as JSON: a termination message must hold it."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Line(NamedTuple):
    """One line."""

    attempt: int
    step: int = 0
    metrics: dict[str, float] = {}  # noqa: RUF012  never changed
    prompts_consumed: int = 0
    checkpoint: str | None = None
    """Name of the last checkpoint, where there is one."""
    release: str | None = None
    """Digest of the finished release: only in the last line."""
    error: str | None = None
    result: dict[str, Any] | None = None
    """Numbers and short texts by name, or objects of them: only in the last line."""

    @property
    def final(self) -> bool:
        """Whether this is a last line."""
        return self.release is not None or self.result is not None

    def encode(self) -> str:
        """The line as it stands in the file, with its end."""
        final: dict[str, Any] = {"release": self.release} if self.release else {}
        if self.result is not None:
            final["result"] = self.result
        content: dict[str, Any] = {
            "attempt": self.attempt,
            "step": self.step,
            "metrics": self.metrics,
            "promptsConsumed": self.prompts_consumed,
            "checkpoint": self.checkpoint,
            "final": final or None,
        }
        if self.error:
            content["error"] = self.error
        return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def attempt_number(text: str | None) -> int:
    """Read an attempt's number.

    Raises
    ------
    ValueError
        It is no number.
    """
    if not text:
        return 0
    if not text.isdecimal():
        raise ValueError(f"{ATTEMPT}={text!r} is no attempt's number")
    return int(text)


def decode(text: str) -> Line:
    """Read a line.

    Raises
    ------
    ValueError
        It is not as agreed; the message says what is wrong.
    """
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  one kind of error for one kind of fault
    metrics = content.get("metrics") or {}
    if not isinstance(metrics, dict) or not all(_is_number(value) for value in metrics.values()):
        raise ValueError("metrics must be numbers by name")
    counts = [content.get(name, 0) for name in ("attempt", "step", "promptsConsumed")]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        raise ValueError("attempt, step and promptsConsumed must be whole numbers, 0 or more")
    if "attempt" not in content:
        raise ValueError("attempt is missing")
    final = content.get("final")
    release, result = _final(final) if final else (None, None)
    checkpoint, error = content.get("checkpoint"), content.get("error")
    return Line(
        attempt=counts[0],
        step=counts[1],
        metrics={str(name): float(value) for name, value in metrics.items()},
        prompts_consumed=counts[2],
        checkpoint=checkpoint if isinstance(checkpoint, str) else None,
        release=release,
        error=error if isinstance(error, str) else None,
        result=result,
    )


def whole_lines(buffer: bytearray) -> Iterator[str]:
    """Take the whole lines off a buffer's front; what is longer than `MAX_LINE` is given up in pieces."""
    while (end := buffer.find(b"\n")) >= 0 or len(buffer) > MAX_LINE:
        cut = end if 0 <= end <= MAX_LINE else MAX_LINE
        yield buffer[:cut].decode(errors="replace")
        del buffer[: cut + (cut == end)]


class Report:
    """Appends lines to the report, each at once, and shows them.

    Parameters
    ----------
    directory
        Where the report lies; it is made where it does not exist.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / FILE
        self.last = Line(attempt=0)

    def __call__(self, line: Line) -> None:
        """Append a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line.encode())
        self.last = line
        sys.stderr.write(line.encode())
        sys.stderr.flush()


def _final(final: Any) -> tuple[str | None, dict[str, Any] | None]:
    """Release and result of a last line."""
    known = isinstance(final, dict) and bool(final.keys() & {"release", "result"})
    release = final.get("release") if known else None
    if not known or (release is not None and not (isinstance(release, str) and _DIGEST.fullmatch(release))):
        raise ValueError("final must be null or name a release as sha256:…, or hold a result")
    result = final.get("result")
    if result is None:
        return release, None
    if not _is_result(result):
        raise ValueError("final.result must be numbers and texts by name")
    if len(json.dumps(result)) > MAX_RESULT:
        raise ValueError(f"final.result is longer than {MAX_RESULT} bytes")
    return release, result


def _is_result(value: Any, depth: int = 2) -> bool:
    return isinstance(value, dict) and all(
        one is None or isinstance(one, str) or _is_number(one) or (depth > 1 and _is_result(one, depth - 1))
        for one in value.values()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
