"""Callers: they ask about every topic, know the right answers, and say what came of each."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from innervate import ChatClient, ExchangeClient, Feedback, InnervateError, Retry

from innervate_demo.loop import material

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_models.topics import Example

_CALLERS = 4
_PAUSE_S, _QUIET_S = 0.01, 0.5
"""What a caller rests between sessions, and does while a model is trained on the same machine."""
_ASKED_AGAIN = 3
"""One session in so many asks a second question."""
_LIVE_SHARE = 0.4
"""How many of the sessions are about the topic that only callers know."""
_ANSWER_TOKENS = 8
_QUESTIONS = 4000
"""Questions kept of each topic; callers begin anew after the last."""


class Tally(NamedTuple):
    """What callers have seen so far."""

    asked: int
    failed: int
    right: Counter[tuple[str, str]]
    """Right answers by release and topic."""
    of: Counter[tuple[str, str]]
    """Answers by release and topic."""


class Traffic:
    """Callers that go on until they are stopped.

    Parameters
    ----------
    pool, namespace, account
        The pool they ask, and as whom.
    seed
        Of which question follows which.
    """

    def __init__(self, pool: str, *, namespace: str, account: str, seed: int) -> None:
        self._pool, self._namespace, self._account = pool, namespace, account
        self._seed = seed
        self._sessions = itertools.count()
        self._stopped = threading.Event()
        self._busy = threading.Event()
        self._lock = threading.Lock()
        self._right: Counter[tuple[str, str]] = Counter()
        self._of: Counter[tuple[str, str]] = Counter()
        self._failures: list[str] = []
        topics = (*material.KNOWN_TOPICS, material.LIVE_TOPIC)
        self._questions = {
            topic: material.live_questions(topic, seed=seed, count=_QUESTIONS) for topic in topics
        }

    @contextmanager
    def running(self) -> Iterator[Traffic]:
        """Have callers ask meanwhile."""
        patience = Retry(timeout=60)
        with (
            ChatClient.from_kubernetes(
                self._pool, namespace=self._namespace, service_account=self._account, retry=patience
            ) as pool,
            ExchangeClient.from_kubernetes(
                self._pool, namespace=self._namespace, service_account=self._account, retry=patience
            ) as log,
        ):
            callers = [
                threading.Thread(target=self._call, args=(number, pool, log), daemon=True)
                for number in range(_CALLERS)
            ]
            for caller in callers:
                caller.start()
            try:
                yield self
            finally:
                self._stopped.set()
                for caller in callers:
                    caller.join()

    def hurry(self, *, busy: bool) -> None:
        """Have callers ask as fast as they can, or now and then."""
        if busy:
            self._busy.set()
        else:
            self._busy.clear()

    def tally(self) -> Tally:
        """Count what callers have seen so far."""
        with self._lock:
            return Tally(
                sum(self._of.values()) + len(self._failures),
                len(self._failures),
                Counter(self._right),
                Counter(self._of),
            )

    @property
    def failures(self) -> tuple[str, ...]:
        """What requests failed with."""
        with self._lock:
            return tuple(self._failures)

    def _call(self, number: int, pool: ChatClient, log: ExchangeClient) -> None:
        # Which question comes next is no secret.
        draw = random.Random(f"{self._seed}-{number}")  # noqa: S311
        while not self._stopped.is_set():
            session = f"{self._seed}-{next(self._sessions)}"
            topic = material.LIVE_TOPIC if draw.random() < _LIVE_SHARE else draw.choice(material.KNOWN_TOPICS)
            for _ in range(2 if draw.randrange(_ASKED_AGAIN) == 0 else 1):
                self._ask(draw.choice(self._questions[topic]), session, pool, log)
            if not self._stopped.wait(_PAUSE_S):
                self._busy.wait(_QUIET_S)

    def _ask(self, example: Example, session: str, pool: ChatClient, log: ExchangeClient) -> None:
        try:
            answer = pool.chat(
                example.prompt,
                model=self._pool,
                session=session,
                task=example.topic,
                max_tokens=_ANSWER_TOKENS,
                temperature=0.0,
            )
            right = answer.text.strip() == example.answer
            log.report([Feedback(request_id=answer.request_id, value=float(right), expected=example.answer)])
        except InnervateError as error:
            with self._lock:
                self._failures.append(f"{type(error).__name__}: {error}")
            return
        with self._lock:
            self._of[answer.release, example.topic] += 1
            self._right[answer.release, example.topic] += right
