"""Batches that are made while the policy learns from earlier ones."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from innervate_models.model import Parameters

    from innervate_rl.grpo.collecting import Batch, Collector


class Ahead:
    """A thread that collects, never further ahead than the policy lag allows.

    Batch n is begun only when at most `lag` updates are missing of the n that come before it, so nothing that
    was answered at once can be too old when its turn comes.

    Parameters
    ----------
    collector
        Who collects.
    parameters, version
        The policy to begin with, and how many updates made it.
    lag
        Most updates between drawing answers and learning from them, 1 or more.
    """

    def __init__(self, collector: Collector, parameters: Parameters, *, version: int, lag: int) -> None:
        self._collector, self._lag = collector, lag
        self._parameters, self._version = parameters, version
        self._changed = threading.Condition()
        self._made: deque[Batch] = deque()
        self._problem: BaseException | None = None
        self._closed = False
        self._begun = version
        self._thread = threading.Thread(target=self._work, name="rollouts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def take(self) -> Batch:
        """The next batch; what ended the thread is raised here."""
        with self._changed:
            self._changed.wait_for(lambda: self._made or self._problem)
            if not self._made and self._problem is not None:
                raise self._problem
            return self._made.popleft()

    def publish(self, parameters: Parameters, *, version: int) -> None:
        """From now on answers are drawn from this policy."""
        with self._changed:
            self._parameters, self._version = parameters, version
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._begun <= self._version + self._lag)
                    if self._closed:
                        return
                    parameters, version = self._parameters, self._version
                    self._begun += 1
                batch = self._collector.collect(parameters, version=version)
                with self._changed:
                    self._made.append(batch)
                    self._changed.notify_all()
        # Whatever it is: the thread that waits for batches must not wait forever.
        except BaseException as error:  # noqa: BLE001
            with self._changed:
                self._problem = error
                self._changed.notify_all()
