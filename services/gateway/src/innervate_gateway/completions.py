"""Requests for completions: what they ask for, and what an engine is asked in their place."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

import orjson

from innervate_gateway.errors import Refusal, Refused

_USAGE: Final = b',"stream_options":{"include_usage":true}}'


class Completion(NamedTuple):
    """What matters of a well-formed request for a completion.

    Not the document itself: as objects it can take thirty times the memory of its bytes.
    """

    model: str
    stream: bool
    has_options: bool
    """Whether `stream_options` are given, null included."""
    wants_usage: bool
    """Whether the caller of a stream asked for the usage at its end."""


def parse_completion(body: bytes) -> Completion:
    """Read a request.

    Raises
    ------
    Refused
        It is no JSON object with a model, or asks for a stream in a way that means nothing.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(
            Refusal(400, "invalid_json", f"the body is no JSON: {error.msg} at offset {error.pos}")
        ) from None
    if not isinstance(document, dict):
        raise Refused(Refusal(400, "invalid_json", "the body must be a JSON object"))
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(Refusal(400, "model_missing", "model must name a model, as in /v1/models", "model"))
    stream = document.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise Refused(Refusal(400, "invalid_value", "stream must be true or false", "stream"))
    options = document.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise Refused(Refusal(400, "invalid_value", "stream_options must be an object", "stream_options"))
    wants_usage = bool(options and options.get("include_usage"))
    return Completion(model, bool(stream), "stream_options" in document, wants_usage)


def engine_body(completion: Completion, body: bytes, *, model: str | None) -> bytes:
    """What to send to the engine: a stream is always asked for its usage, for the accounts.

    Parameters
    ----------
    completion
        The request.
    body
        Its bytes; they are kept wherever nothing but an end has to be added, since prompts are long.
    model
        What the engine calls the model; None where it does not care.

    Raises
    ------
    Refused
        The body must be changed, and is nested too deeply for that.
    """
    renamed = model is not None and model != completion.model
    lacks_usage = completion.stream and not completion.wants_usage
    if not renamed and not lacks_usage:
        return body
    if not renamed and not completion.has_options:
        return body.rstrip(b" \t\r\n")[:-1] + _USAGE
    # The standard library's parser keeps numbers as they are, of any size.
    try:
        document = json.loads(body)
        if renamed:
            document["model"] = model
        if lacks_usage:
            document["stream_options"] = {**(document.get("stream_options") or {}), "include_usage": True}
        return json.dumps(document, separators=(",", ":")).encode()
    except RecursionError:
        raise Refused(Refusal(400, "invalid_json", "the body is nested too deeply")) from None


class Usage(NamedTuple):
    """Tokens of an exchange."""

    input: int = 0
    cached: int = 0
    """Of the input, those whose work an earlier request had done."""
    output: int = 0


def usage_in(answer: bytes) -> Usage | None:
    """The usage that an engine's whole answer tells, or none; None where it is no JSON."""
    try:
        return usage_of(orjson.loads(answer)) or Usage()
    except orjson.JSONDecodeError:
        return None


def usage_of(document: object) -> Usage | None:
    """The usage in an engine's answer, or in a chunk of it; None where there is none."""
    if not isinstance(document, dict):
        return None
    usage = document.get("usage")
    timings = document.get("timings")
    if isinstance(usage, dict):
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        if cached is None and isinstance(timings, dict):
            cached = timings.get("cache_n")
        return Usage(
            _count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens"))
        )
    if isinstance(timings, dict):
        cached = _count(timings.get("cache_n"))
        return Usage(_count(timings.get("prompt_n")) + cached, cached, _count(timings.get("predicted_n")))
    return None


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0
