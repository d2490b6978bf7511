"""The client of an inference pool: OpenAI's chat interface, with what the pool adds to it."""

from __future__ import annotations

import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import httpx
from opentelemetry import propagate

from innervate import errors, tracing
from innervate.clients import BlockingClient
from innervate.pools import INFERENCE_POOL
from innervate.retry import Attempts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.trace import Span

    from innervate.retry import Retry
    from innervate.route import Address, Route

_BY_STATUS: dict[int, type[errors.InnervateError]] = {
    400: errors.InvalidArgument,
    401: errors.Unauthenticated,
    403: errors.PermissionDenied,
    404: errors.NotFound,
    408: errors.DeadlineExceeded,
    409: errors.Conflict,
    413: errors.InvalidArgument,
    422: errors.InvalidArgument,
    429: errors.Exhausted,
    431: errors.InvalidArgument,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.DeadlineExceeded,
}
_AGAIN = frozenset({429, 503})
"""Nothing was done: trying again is right, after the time that the answer names."""


class Message(TypedDict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a pool answered.

    Parameters
    ----------
    text
        The answer.
    request_id
        Under which the exchange is logged, and feedback is given.
    release, arm
        What answered.
    finish_reason
        Why it ended: ``stop``, or ``length`` at `max_tokens`.
    input_tokens, output_tokens
        What it cost.
    """

    text: str
    request_id: str
    release: str
    arm: str
    finish_reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


class ChatClient(BlockingClient):
    """An inference pool, for programs that block. Safe to share between threads.

    A request is repeated while the pool refuses it as too busy or cannot be reached, and never once
    it may have been answered.

    Parameters
    ----------
    route
        The way to the pool; `connect` and `from_kubernetes` make the usual ones.
    retry
        How patient to be.

    Examples
    --------
    >>> with ChatClient.from_kubernetes("assistant", namespace="shop") as pool:  # doctest: +SKIP
    ...     answer = pool.chat("What do orchids need?", session="monday")
    ...     print(answer.text, answer.release)
    """

    served = INFERENCE_POOL

    def __init__(self, route: Route, *, retry: Retry | None = None) -> None:
        super().__init__(route, retry=retry)
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None
        self._model = ""

    def chat(
        self,
        messages: str | Sequence[Message],
        *,
        model: str = "",
        session: str = "",
        task: str = "",
        release: str = "",
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> Answer:
        """Ask.

        Parameters
        ----------
        messages
            The conversation, or one question of a user.
        model
            The pool's model; left out, the first that it lists, which is asked for once.
        session
            Requests of one session are answered by one release, as long as traffic stays.
        task
            What the request is part of, for the log.
        release
            Have this release answer, one of those the pool's traffic names.
        max_tokens, temperature, seed
            As OpenAI's; left out, the engine's own.
        """
        if isinstance(messages, str):
            messages = [Message(role="user", content=messages)]
        chosen = {"model": model, "max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        body = {
            "messages": list(messages),
            **{key: value for key, value in chosen.items() if value not in (None, "")},
        }
        named = {"session": session, "task": task, "release": release}
        headers = {f"x-innervate-{key}": value for key, value in named.items() if value}
        with tracing.failing_span(f"chat {self._route.store}", _attributes(model, session, seed)) as span:
            return _noted(span, self._send(span, body, headers))

    def close(self) -> None:
        """End connections and port-forward."""
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = self._address = None
        super().close()

    def _send(self, span: Span, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        attempts = Attempts(self._retry, f"chat on {self._route.store}")
        while True:
            number = attempts.number
            try:
                return self._attempt(attempts, body, headers)
            except errors.InnervateError as error:
                delay = attempts.after(error)
                tracing.note_retry(span, number, error)
                time.sleep(delay)

    def _attempt(self, attempts: Attempts, body: dict[str, Any], headers: dict[str, str]) -> Answer:
        if not self._model and "model" not in body:
            listed = _json(self._request(attempts, "GET", "/v1/models", None, {}))
            self._model = str(listed["data"][0]["id"]) if listed.get("data") else ""
        named = {"model": self._model, **body}
        return _answer(self._request(attempts, "POST", "/v1/chat/completions", named, headers))

    def _request(
        self,
        attempts: Attempts,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: dict[str, str],
    ) -> httpx.Response:
        address = self._route.address()
        http = self._connected(address)
        carried = {**headers, "authorization": f"Bearer {self._route.token()}", "host": address.server_name}
        propagate.inject(carried)
        try:
            response = http.request(
                method,
                f"https://{address.authority}{path}",
                json=body,
                headers=carried,
                # The whole time, not that of an attempt: an answer may take long, and is not asked for twice.
                timeout=httpx.Timeout(attempts.left(), connect=attempts.timeout()),
                extensions={"sni_hostname": address.server_name},
            )
        except httpx.TransportError as error:
            self._route.lost(address)
            raise _failure(error, self._route.store) from error
        if response.is_success:
            return response
        refused = _refusal(response)
        if isinstance(refused, errors.Unauthenticated) and attempts.renew_token():
            self._route.renew_token()
            refused.retry_after = 0.0
        raise refused

    def _connected(self, address: Address) -> httpx.Client:
        with self._lock:
            if self._http is None or address != self._address:
                # Requests of other threads still end on the old connections; they go with the last.
                context = ssl.create_default_context(cadata=address.ca.decode())
                self._http = httpx.Client(verify=context, trust_env=False)
                self._address = address
            return self._http


def _attributes(model: str, session: str, seed: int | None) -> dict[str, str | int]:
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "innervate",
        "gen_ai.request.model": model,
        "gen_ai.conversation.id": session,
        "gen_ai.request.seed": seed,
    }
    return {key: value for key, value in given.items() if value not in (None, "")}


def _noted(span: Span, answer: Answer) -> Answer:
    span.set_attribute("gen_ai.usage.input_tokens", answer.input_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", answer.output_tokens)
    span.set_attribute("innervate.release", answer.release)
    span.set_attribute("innervate.arm", answer.arm)
    return answer


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise errors.ServiceFailed(f"the pool answered with no JSON object: {response.text[:200]!r}")
    return content


def _answer(response: httpx.Response) -> Answer:
    content = _json(response)
    try:
        choice, usage = content["choices"][0], content.get("usage") or {}
        text = choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError) as error:
        raise errors.ServiceFailed(
            f"the pool's answer is no chat completion: {response.text[:200]!r}"
        ) from error
    return Answer(
        text=text,
        request_id=response.headers.get("x-innervate-request-id", ""),
        release=response.headers.get("x-innervate-release", ""),
        arm=response.headers.get("x-innervate-arm", ""),
        finish_reason=choice.get("finish_reason") or "",
        input_tokens=usage.get("prompt_tokens", 0),
        output_tokens=usage.get("completion_tokens", 0),
    )


def _refusal(response: httpx.Response) -> errors.InnervateError:
    try:
        said = response.json()["error"]
        message, field = str(said["message"]), str(said.get("param") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, field = response.text[:200] or response.reason_phrase, ""
    retry_after = None
    if response.status_code in _AGAIN:
        named = response.headers.get("retry-after", "")
        retry_after = float(named) if named.isdecimal() else 0.0
    kind = _BY_STATUS.get(response.status_code, errors.ServiceFailed)
    return kind(message, field=field, retry_after=retry_after)


def _failure(error: httpx.TransportError, pool: str) -> errors.InnervateError:
    if isinstance(error, httpx.ReadTimeout):
        return errors.DeadlineExceeded(f"{pool} did not answer in time")
    # Only where nothing was sent is it certain that nothing was answered.
    again = 0.0 if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else None
    return errors.Unavailable(f"{pool} cannot be reached: {error}", retry_after=again)
