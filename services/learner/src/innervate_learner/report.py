"""What trainers tell: JSON lines in a file, the same for every trainer.

``{"attempt", "step", "metrics", "promptsConsumed", "checkpoint", "final"}``; `final` is null
until the last line, where it is ``{"release": "sha256:…"}``. A line with ``"error"`` says why
there will be none.
"""

from __future__ import annotations

import json
import math
import re
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

    def encode(self) -> str:
        """The line as it stands in the file, with its end."""
        content: dict[str, Any] = {
            "attempt": self.attempt,
            "step": self.step,
            "metrics": self.metrics,
            "promptsConsumed": self.prompts_consumed,
            "checkpoint": self.checkpoint,
            "final": {"release": self.release} if self.release else None,
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
    release = final.get("release") if isinstance(final, dict) else None
    if final and not (isinstance(release, str) and _DIGEST.fullmatch(release)):
        raise ValueError("final must be null or name a release as sha256:…")
    checkpoint, error = content.get("checkpoint"), content.get("error")
    return Line(
        attempt=counts[0],
        step=counts[1],
        metrics={str(name): float(value) for name, value in metrics.items()},
        prompts_consumed=counts[2],
        checkpoint=checkpoint if isinstance(checkpoint, str) else None,
        release=release,
        error=error if isinstance(error, str) else None,
    )


def whole_lines(buffer: bytearray) -> Iterator[str]:
    """Take the whole lines off a buffer's front; what is longer than `MAX_LINE` is given up in pieces."""
    while (end := buffer.find(b"\n")) >= 0 or len(buffer) > MAX_LINE:
        cut = end if 0 <= end <= MAX_LINE else MAX_LINE
        yield buffer[:cut].decode(errors="replace")
        del buffer[: cut + (cut == end)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
