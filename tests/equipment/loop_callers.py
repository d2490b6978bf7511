"""Callers that ask a pool all the time from this machine, and say what came of each answer."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from loop_pool import HTTPS, POOL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loop_pool import GatewayCalls, LoopPool

_ASKED_ON_ONE_CONNECTION = 10
"""Then the caller connects anew, so that its requests reach every gateway."""
_CONNECT_SECONDS, _ANSWER_SECONDS = 60.0, 60.0
_AGAIN_SECONDS = 0.2
_REPORTED_SECONDS = 60.0
_TOKENS = 8


class Question(NamedTuple):
    """What is asked, and what is right."""

    prompt: str
    answer: str


class Answered(NamedTuple):
    """A request whose answer came whole."""

    request_id: str
    release: str
    arm: str
    begun: float
    """By the monotonic clock."""
    seconds: float
    right: bool


@dataclass
class Tally:
    """What callers met."""

    answered: list[Answered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Requests that were sent and not answered whole, or refused."""
    unreported: list[str] = field(default_factory=list)
    """Answers whose feedback did not get through."""


class _Line(http.client.HTTPSConnection):
    """A connection to an address whose certificate is for the Service's name."""

    def __init__(self, address: str, name: str, tls: ssl.SSLContext) -> None:
        super().__init__(address, HTTPS, context=tls, timeout=_ANSWER_SECONDS)
        self._name, self._tls = name, tls

    def connect(self) -> None:
        line = socket.create_connection((self.host, self.port), timeout=5)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(line, server_hostname=self._name)
        self.sock.settimeout(_ANSWER_SECONDS)


class Callers:
    """Asks from several threads until the `with` block ends.

    Parameters
    ----------
    pool
        Whom to ask.
    questions
        What to ask, drawn anew for each request.
    seed
        Of the drawing.
    callers, pause
        Threads, and seconds that each rests between two requests.
    """

    def __init__(
        self,
        pool: LoopPool,
        questions: Sequence[Question],
        *,
        seed: int,
        callers: int = 3,
        pause: float = 0.02,
    ) -> None:
        self._pool, self._questions, self._seed = pool, questions, seed
        self._count, self._pause = callers, pause
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._tally = Tally()

    @contextmanager
    def running(self) -> Iterator[Callers]:
        """Have them ask meanwhile."""
        tls = ssl.create_default_context(cadata=self._pool.trust().decode())
        address = self._pool.service_address()
        threads = [
            threading.Thread(target=self._work, args=(number, address, tls)) for number in range(self._count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def take(self) -> Tally:
        """What they met since this was last asked."""
        with self._lock:
            taken, self._tally = self._tally, Tally()
        return taken

    def answers(self) -> int:
        """How many answers came since `take`."""
        with self._lock:
            return len(self._tally.answered)

    def _work(self, number: int, address: str, tls: ssl.SSLContext) -> None:
        draw = random.Random(f"{self._seed}-{number}")
        with self._pool.gateway(address) as reports:
            line: _Line | None = None
            for turn in itertools.count():
                if self._stopped.is_set():
                    break
                if line is None or turn % _ASKED_ON_ONE_CONNECTION == 0:
                    if line is not None:
                        line.close()
                    line = self._connected(address, tls)
                if line is None:
                    continue
                question = draw.choice(self._questions)
                answered = self._ask(line, question, f"{self._seed}-{number}-{turn}", stream=turn % 2 == 0)
                if answered is None:
                    line.close()
                    line = None
                else:
                    self._report(reports, answered)
                self._stopped.wait(self._pause)
            if line is not None:
                line.close()

    def _connected(self, address: str, tls: ssl.SSLContext) -> _Line | None:
        """A new connection: as clients do, what was not sent yet is tried again."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            line = _Line(address, self._pool.server_name, tls)
            try:
                line.connect()
            except OSError as error:
                line.close()
                if time.monotonic() > deadline:
                    self._failed(f"no connection in {_CONNECT_SECONDS:g} s: {error!r}")
                    return None
                if self._stopped.wait(_AGAIN_SECONDS):
                    return None
            else:
                return line

    def _ask(self, line: _Line, question: Question, session: str, *, stream: bool) -> Answered | None:
        body = {
            "model": POOL,
            "stream": stream,
            "max_tokens": _TOKENS,
            "temperature": 0,
            "messages": [{"role": "user", "content": question.prompt}],
        }
        headers = {
            "authorization": f"Bearer {self._pool.token()}",
            "content-type": "application/json",
            "x-innervate-session": session,
        }
        begun = time.monotonic()
        try:
            line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            answer = line.getresponse()
            content = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            self._failed(f"{type(error).__name__}: {error}")
            return None
        text = _text(content, stream=stream) if answer.status == 200 else None
        if text is None:
            self._failed(f"{answer.status}: {content[:300]}")
            return None
        answered = Answered(
            answer.headers["x-innervate-request-id"],
            answer.headers["x-innervate-release"],
            answer.headers["x-innervate-arm"],
            begun,
            time.monotonic() - begun,
            text.strip() == question.answer,
        )
        with self._lock:
            self._tally.answered.append(answered)
        return answered

    def _report(self, gateway: GatewayCalls, answered: Answered) -> None:
        """Tell what came of it, and again until it is heard: that is safe."""
        deadline = time.monotonic() + _REPORTED_SECONDS
        while True:
            try:
                gateway.report(answered.request_id, float(answered.right))
            except grpc.RpcError as error:
                if time.monotonic() > deadline or self._stopped.wait(_AGAIN_SECONDS):
                    with self._lock:
                        self._tally.unreported.append(f"{answered.request_id}: {error}")
                    return
            else:
                return

    def _failed(self, what: str) -> None:
        with self._lock:
            self._tally.failures.append(what)


def _text(content: str, *, stream: bool) -> str | None:
    """Text of a whole answer; None where it is cut off."""
    if not stream:
        message: dict[str, Any] = json.loads(content)["choices"][0]["message"]
        return str(message["content"] or "")
    events = [event[6:] for event in content.split("\n\n") if event.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return None
    choices = [json.loads(event)["choices"] for event in events[:-1]]
    return "".join(each[0]["delta"].get("content") or "" for each in choices if each)
