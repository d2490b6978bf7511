"""A client that writes all the time and knows what was acknowledged."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from innervate import InnervateError, NewRecord

if TYPE_CHECKING:
    from innervate import MemoryClient

PAUSE_S = 0.02


class Writer:
    """Writes numbered records in a thread of its own until the `with` block ends.

    Parameters
    ----------
    client
        Who writes; it retries by itself.
    space
        Where to.
    filler
        Follows the number in each record's text, to make it larger.
    """

    def __init__(self, client: MemoryClient, space: str, *, filler: str = "") -> None:
        self._client = client
        self._space = space
        self._filler = filler
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: dict[str, str] = {}
        self.gave_up: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def advance(self, records: int = 5, *, seconds: float = 60) -> None:
        """Wait until more records were acknowledged: whatever was disturbed works again."""
        wanted = len(self.acknowledged) + records
        deadline = time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"writes stand still: {self.gave_up[-3:]}"
            time.sleep(0.1)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"write-{number}"
            try:
                text = f"entry {number}{self._filler}"
                result = self._client.put(NewRecord(text=text, key=key), space=self._space)
            except InnervateError as error:
                self.gave_up.append(f"{key}: {error}")
            else:
                self.acknowledged[key] = result.id
            time.sleep(PAUSE_S)


def check(writer: Writer, client: MemoryClient, space: str) -> None:
    """Assert that every acknowledged record is there, once, and nothing else but what gave up."""
    stored = [(record.key, record.id) for record in client.list(space=space, page_size=1000)]
    lost = writer.acknowledged.items() - set(stored)
    assert not lost, f"acknowledged and lost: {sorted(lost)[:5]} of {len(writer.acknowledged)}"
    assert len(stored) == len({key for key, _ in stored}), "a key was stored twice"
    uncertain = {line.partition(":")[0] for line in writer.gave_up}
    assert {key for key, _ in stored} <= writer.acknowledged.keys() | uncertain
