"""``python3 -m innervate_learner.sidecar``: follows any trainer's report and says at the end what came of it.

A native sidecar: the kubelet ends it (SIGTERM) after the trainer has ended. It serves ``/livez``,
``/progress`` and ``/curves`` (JSON) and ``/metrics`` on port 8081. Lines of another attempt than its
own are not counted. The termination message is the last word: ``{"final": true, …}`` with ``"release"``,
``"result"`` or both, or ``{"final": false, "error", …}``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innervate_learner import report
from innervate_learner.history import History
from innervate_learner.report import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

TERMINATION_MESSAGE = Path("/dev/termination-log")
LISTEN = ("0.0.0.0", 8081)  # noqa: S104  probes come from the node
_PERIOD = 0.5
"""Seconds between looks at the file."""
MAX_MESSAGE = 4096
"""Bytes of a termination message: the kubelet cuts there, and JSON must stay whole."""
_UNSAID = "the trainer ended without a final report that names a release or holds a result"
_MESSAGE = 1500
"""Characters of an error."""


class Follower:
    """Reads a report as it grows.

    Parameters
    ----------
    path
        The report.
    attempt
        Lines of this attempt count.
    """

    def __init__(self, path: Path, attempt: int) -> None:
        self._path = path
        self._attempt = attempt
        self._offset = 0
        self._rest = bytearray()
        self.last = Line(attempt)
        self.history = History()
        self.foreign = 0
        """Lines of other attempts."""
        self.broken = 0
        """Lines that are not as agreed."""
        self.problem = ""
        """What was wrong with the last of those."""

    def look(self) -> None:
        """Read what was appended since the last look."""
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while chunk := file.read(1 << 16):
                self._offset += len(chunk)
                self._rest += chunk
                for text in report.whole_lines(self._rest):
                    self._take(text)

    def finish(self) -> None:
        """Read to the end; a last line may lack its end."""
        self.look()
        if self._rest:
            self._take(self._rest.decode(errors="replace"))
            self._rest.clear()

    def progress(self) -> dict[str, Any]:
        """Where the trainer is."""
        last = self.last
        made = {"release": last.release, "result": last.result}
        return {name: value for name, value in made.items() if value is not None} | {
            "attempt": self._attempt,
            "step": self.last.step,
            "metrics": self.last.metrics,
            "promptsConsumed": self.last.prompts_consumed,
            "checkpoint": self.last.checkpoint,
            "foreignLines": self.foreign,
            "brokenLines": self.broken,
        }

    def last_word(self) -> dict[str, Any]:
        """What came of the training, short enough for a termination message."""
        said = self.progress()
        if self.last.final:
            word = {"final": True, **said}
        else:
            why = (
                self.last.error
                or "the trainer ended without a final report that names a release or holds a result"
            )
            if not self.last.error and self.problem:
                why += f"; a line of its report is not as agreed: {self.problem}"
            word = {"final": False, "error": why[:_MESSAGE], **said}
        if _size(word) > MAX_MESSAGE:
            word |= {"metrics": {}, "checkpoint": None}
        while _size(word) > MAX_MESSAGE:
            word["error"] = word["error"][: len(word["error"]) // 2]
        return word

    def _take(self, text: str) -> None:
        if not text.strip():
            return
        try:
            line = report.decode(text)
        except ValueError as error:
            self.broken += 1
            self.problem = str(error)[:200]
            return
        if line.attempt != self._attempt:
            self.foreign += 1
        elif not self.last.final:  # after the last line there is nothing to say
            self.last = line
            self.history.add(line)


def serve(follower: Follower, address: tuple[str, int] = LISTEN) -> ThreadingHTTPServer:
    """Answer probes, in threads of its own; returns the server, which runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = _page(follower, self.path.split("?", 1)[0])
            kind, text = found or ("text/plain", "not found\n")
            body = text.encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Probes are not worth a line."""

    server = ThreadingHTTPServer(address, Handler)
    threading.Thread(target=server.serve_forever, name="probes", daemon=True).start()
    return server


def main(arguments: Sequence[str] | None = None) -> int:
    """Follow until told to end; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="innervate_learner.sidecar",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    directory = Path(os.environ.get("INNERVATE_REPORT") or report.DIRECTORY)
    message = Path(os.environ.get("INNERVATE_TERMINATION_MESSAGE") or TERMINATION_MESSAGE)
    host, _, port = (os.environ.get("INNERVATE_HEALTH_LISTEN") or "").rpartition(":")
    follower = Follower(directory / report.FILE, report.attempt_number(os.environ.get(report.ATTEMPT)))
    server = serve(follower, (host, int(port)) if port else LISTEN)
    shown = follower.last
    while not ended.wait(_PERIOD):
        follower.look()
        if follower.last is not shown:
            shown = follower.last
            _say(follower.progress())
    follower.finish()
    server.shutdown()
    word = follower.last_word()
    _say(word)
    # The kubelet made the file; there is none where this runs by itself.
    if message.exists():
        message.write_text(json.dumps(word), encoding="utf-8")
    return 0


def _size(word: dict[str, Any]) -> int:
    return len(json.dumps(word))


def _page(follower: Follower, path: str) -> tuple[str, str] | None:
    """Media type and text of a page."""
    if path in {"/livez", "/readyz"}:
        return "text/plain", "ok\n"
    if path == "/progress":
        return "application/json", json.dumps(follower.progress()) + "\n"
    if path == "/curves":
        return "application/json", json.dumps({"points": follower.history.points()}) + "\n"
    if path == "/metrics":
        return "text/plain; version=0.0.4", _metrics(follower)
    return None


def _metrics(follower: Follower) -> str:
    numbers = {
        "innervate_training_step": follower.last.step,
        "innervate_training_prompts_consumed": follower.last.prompts_consumed,
        "innervate_training_foreign_lines": follower.foreign,
        "innervate_training_broken_lines": follower.broken,
    }
    lines = [f"# TYPE {name} gauge\n{name} {value}\n" for name, value in numbers.items()]
    lines.append("# TYPE innervate_training_metric gauge\n")
    for name, value in follower.last.metrics.items():
        label = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'innervate_training_metric{{name="{label}"}} {value}\n')
    return "".join(lines)


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
