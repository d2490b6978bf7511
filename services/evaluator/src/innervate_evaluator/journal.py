"""The sample log: each answer is on disk before it counts, and is never asked for again.

JSON lines. The first one says which run the log is of. Lines are appended by one writer and synced
together, so that whatever follows a line that is torn or unreadable was never promised to anybody.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from innervate_service.logs import get_logger

from innervate_evaluator.failures import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

FILE: Final = "samples.jsonl"

_log = get_logger(__name__)


class Key(NamedTuple):
    """One question to one arm."""

    id: str
    arm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of one question to one arm.

    Parameters
    ----------
    release
        Release that answered, by the gateway's word.
    request_id
        The gateway's name for the exchange.
    output
        The answer.
    scores
        Value by scorer.
    evidence
        What each value rests on, by scorer.
    unscored
        Why there is no value, by scorer.
    seconds
        From the request to the whole answer.
    input_tokens, output_tokens
        As the engine counts them.
    error
        Why there is no answer; empty where there is one.
    infrastructure
        Whether that was the infrastructure's fault: the question is asked again by the next attempt.
    """

    release: str = ""
    request_id: str = ""
    output: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, str] = field(default_factory=dict)
    unscored: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""
    infrastructure: bool = False


class Journal:
    """The log of one run. Use it as an asynchronous context manager.

    Parameters
    ----------
    directory
        On the volume.
    run
        What the run is determined by; a log of another run is refused.
    """

    def __init__(self, directory: Path, run: Mapping[str, Any]) -> None:
        self._path = directory / FILE
        self._run = dict(run)
        self._descriptor = -1
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing = False
        self.answered: dict[Key, Answered] = {}
        """What is on disk, failures of the infrastructure aside."""

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._open)
        self._writer = asyncio.create_task(self._write_all(), name="journal")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        os.close(self._descriptor)

    async def append(self, key: Key, answered: Answered) -> None:
        """Put one answer on disk; returns when it is there.

        Raises
        ------
        RunFailed
            The volume does not take it.
        """
        line = json.dumps({"id": key.id, "arm": key.arm, **_fields(answered)}, ensure_ascii=False)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((line.encode() + b"\n", done))
        self._wake.set()
        await done
        if not answered.infrastructure:
            self.answered[key] = answered

    async def _write_all(self) -> None:
        while self._waiting or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _ in batch))
            except OSError as error:
                failure = _disk(self._path, error)
                for _, done in batch:
                    if not done.done():
                        done.set_exception(failure)
                continue
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _write(self, content: bytes) -> None:
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
        except OSError:
            # What was half written must not swallow the next line.
            os.ftruncate(self._descriptor, start)
            raise

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFailed(
                "AlreadyRunning", "another runner of this job still writes the sample log", permanent=False
            ) from error
        except OSError as error:
            raise _disk(self._path, error) from error
        try:
            kept = self._load()
            os.ftruncate(self._descriptor, kept)
            if kept == 0:
                self._write(json.dumps({"run": self._run}, sort_keys=True).encode() + b"\n")
                _sync_directory(self._path.parent)
        except OSError as error:
            raise _disk(self._path, error) from error

    def _load(self) -> int:
        """Take what the log holds; returns the length of what can be read."""
        kept = 0
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            for number, line in enumerate(file):
                content = _parsed(line)
                if content is None:
                    _log.warning("the sample log's end was torn and is cut off", line=number + 1)
                    break
                if number == 0:
                    self._compare(content)
                else:
                    answered = Answered(**{key: content[key] for key in content if key not in {"id", "arm"}})
                    if not answered.infrastructure:
                        self.answered[Key(content["id"], content["arm"])] = answered
                kept += len(line)
        return kept

    def _compare(self, content: Mapping[str, Any]) -> None:
        before = content.get("run", {})
        changed = sorted(name for name in {*before, *self._run} if before.get(name) != self._run.get(name))
        if changed:
            raise RunFailed(
                "RunChanged",
                f"the sample log is of a run with other settings ({', '.join(changed)}); "
                "create another EvalJob for what has changed",
                permanent=True,
            )


def _fields(answered: Answered) -> dict[str, Any]:
    return {name: getattr(answered, name) for name in Answered.__slots__}


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _disk(path: Path, error: OSError) -> RunFailed:
    reason = (error.strerror or str(error)).lower()
    return RunFailed(
        "DiskFailing", f"the volume does not take {path.name}: {reason}; see spec.storage", permanent=False
    )


def _sync_directory(directory: Path) -> None:
    """A new file's name is durable only with its directory."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
