"""Asking a model through a pool's gateway: OpenAI's chat interface, over TLS, as the runner's account."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
from opentelemetry import propagate

from innervate_evaluator.failures import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from innervate_evaluator.config import JobConfig, PathsConfig, RunConfig, TargetConfig

_PATH: Final = "/v1/chat/completions"
_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 20.0
_SILENCE_SECONDS: Final = 60.0
"""A gateway that answers nobody for so long, and for spec.run.retrySeconds, ends the run."""
_SHOWN: Final = 300
_PASSING: Final = frozenset({401, 404, 408, 409, 425, 429, 500, 502, 503, 504})
"""Answers that may be others in a moment. A token, a route or a release takes time to reach every
gateway, so that 401 and 404 are given as long as an overload."""


class Answer(NamedTuple):
    """What the model said."""

    output: str
    release: str
    """By the gateway's word."""
    request_id: str
    seconds: float
    input_tokens: int
    output_tokens: int


class Unanswered(Exception):
    """A question without an answer.

    Parameters
    ----------
    message
        What went wrong.
    infrastructure
        Whether that is nothing the question could help.
    """

    def __init__(self, message: str, *, infrastructure: bool) -> None:
        super().__init__(message)
        self.message = message
        self.infrastructure = infrastructure


class _Passing(Exception):
    """Worth another try, perhaps not before so many seconds."""

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Gateway:
    """The gateway of a pool. Use it as an asynchronous context manager.

    Parameters
    ----------
    target
        Where it is and how the model is called.
    job
        Whose questions they are.
    run
        Limits.
    paths
        Token and authorities.
    """

    def __init__(self, target: TargetConfig, job: JobConfig, run: RunConfig, paths: PathsConfig) -> None:
        self._target = target
        self._job = job
        self._run = run
        self._paths = paths
        self._session: aiohttp.ClientSession | None = None
        self._answered = time.monotonic()
        """When the gateway last answered anything that counts."""

    async def __aenter__(self) -> Self:
        try:
            context = await asyncio.to_thread(ssl.create_default_context, cafile=str(self._paths.authorities))
        except (OSError, ssl.SSLError) as error:
            raise RunFailed(
                "TrustMissing",
                f"authorities {self._paths.authorities} cannot be read: {error}",
                permanent=False,
            ) from error
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=self._run.parallelism),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, text: str, *, release: str | None) -> Answer:
        """Ask one question, again and again while the infrastructure fails.

        Parameters
        ----------
        text
            The question.
        release
            Release that is to answer; None lets the gateway choose.

        Raises
        ------
        Unanswered
            There is no answer in time, or there can be none.
        RunFailed
            Nobody would get one.
        """
        begin = time.monotonic()
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                answer = await self._try(text, release)
            except _Passing as error:
                # Half of the wait is drawn, so that many runners do not come back together.
                pause = max(error.after, wait * random.uniform(0.5, 1.0))  # noqa: S311  no secret
                if time.monotonic() - begin + pause > self._run.retry_seconds:
                    self._check(str(error))
                    raise Unanswered(str(error), infrastructure=True) from error
                await asyncio.sleep(pause)
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
            else:
                self._answered = time.monotonic()
                return answer

    def _check(self, message: str) -> None:
        """End the run rather than try every question in vain."""
        silence = time.monotonic() - self._answered
        if silence > max(_SILENCE_SECONDS, self._run.retry_seconds):
            raise RunFailed(
                "GatewayFailing",
                f"the gateway has answered nothing for {silence:.0f} s; the last words were: {message}",
                permanent=False,
            )

    async def _try(self, text: str, release: str | None) -> Answer:
        if self._session is None:
            raise RuntimeError("the gateway is used outside of its context")
        body = {
            "model": self._target.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self._run.max_tokens,
            "temperature": 0,
            "seed": self._run.seed,
        }
        begin = time.monotonic()
        try:
            async with self._session.post(
                self._target.endpoint.rstrip("/") + _PATH,
                json=body,
                headers=self._headers(release),
                timeout=aiohttp.ClientTimeout(total=self._run.request_seconds),
                allow_redirects=False,
            ) as response:
                content = await _bounded(response)
                status, headers = response.status, response.headers
        except TimeoutError as error:
            raise _Passing(f"no answer within {self._run.request_seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise _Passing(f"{type(error).__name__}: {error}"[:_SHOWN]) from error
        if status != 200:
            raise _refusal(status, headers, content)
        return _answer(content, headers, release, seconds=time.monotonic() - begin)

    def _headers(self, release: str | None) -> dict[str, str]:
        try:
            # Read each time: the kubelet renews it, and the file is in memory.
            token = self._paths.token.read_text(encoding="ascii").strip()
        except OSError as error:
            raise _Passing(f"the token cannot be read: {error.strerror}") from error
        headers = {
            "authorization": f"Bearer {token}",
            "x-innervate-task": self._job.name,
            "x-innervate-deadline-seconds": f"{self._run.request_seconds:g}",
        }
        if release is not None:
            headers["x-innervate-release"] = release
        propagate.inject(headers)
        return headers


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > _MAX_BODY_BYTES:
            raise Unanswered(f"the response is longer than {_MAX_BODY_BYTES} bytes", infrastructure=False)
    return bytes(content)


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> Exception:
    message = f"status {status}: {_words(content)}"
    if status == 403:
        return RunFailed(
            "AccessDenied",
            f"the gateway does not let the runner's account ask ({message}); "
            "allow it in the InferencePool's spec.access",
            permanent=True,
        )
    if status in _PASSING or status > 504:
        after = headers.get("retry-after", "")
        return _Passing(message, after=float(after) if after.isascii() and after.isdigit() else 0.0)
    return Unanswered(message, infrastructure=False)


def _words(content: bytes) -> str:
    try:
        error = json.loads(content)["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        text = content.decode("utf-8", "replace")
    return text[:_SHOWN] or "no words"


def _answer(content: bytes, headers: Mapping[str, str], release: str | None, *, seconds: float) -> Answer:
    try:
        body: Any = json.loads(content)
        output = body["choices"][0]["message"]["content"]
        usage = body.get("usage") or {}
        tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _Passing(f"the response is no chat completion: {_words(content)}") from error
    if not isinstance(output, str):
        raise _Passing("the response's content is no text")
    answering = headers.get("x-innervate-release", "")
    if release is not None and answering != release:
        # Counting another release's answers would make the verdict a lie.
        raise _Passing(f"release {answering or 'unknown'} answered instead of {release}")
    return Answer(output, answering, headers.get("x-innervate-request-id", ""), seconds, *tokens)
