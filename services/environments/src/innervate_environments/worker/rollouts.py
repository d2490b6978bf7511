"""Episodes of a package written for ``verifiers``: its own rollout, the caller in place of the model.

The library's environments ask a client for each message of the model. Here that client waits for the caller's
next action, so that turns, tools, stops and cleaning up are the library's own.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from innervate_environments.spaces import MAX_TEXT, Text
from innervate_environments.worker import packages
from innervate_environments.worker.instances import Description, Move

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_environments.worker.instances import Instance
    from innervate_environments.worker.packages import Package

_CALL: Final = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_TOOLS: Final = (
    'Tools are called by <tool_call>{"name": "…", "arguments": {…}}</tool_call>, '
    "once or several times in a message:"
)
_MODEL: Final = "policy"


class PackageMaker:
    """Makes episodes of a package. See `Maker`.

    Parameters
    ----------
    name
        Of the package.
    arguments
        Of its ``load_environment``.
    max_turns
        Turns after which an episode ends; None for what the package itself declares.
    """

    def __init__(self, name: str, arguments: Mapping[str, Any], *, max_turns: int | None) -> None:
        self._name = name
        self._arguments = dict(arguments)
        self._max_turns = max_turns
        self._known: Package | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def preload(self) -> None:
        """Nothing: the library starts threads as it is imported, and then no process may be forked."""

    def describe(self) -> Description:
        """See `Maker`."""
        package = self._package()
        told = {
            "rewards": [function._asdict() for function in package.functions],
            "counts": {split: package.count(split) for split in package.rows},
            "digest": package.digest(),
            "version": str(getattr(package.library, "__version__", "")),
        }
        return Description(Text(MAX_TEXT), Text(MAX_TEXT), max(package.environment.max_turns, 0), told)

    def make(self) -> Instance:
        """See `Maker`."""
        package = self._package()
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return _Episodes(package, self._loop)

    def _package(self) -> Package:
        if self._known is None:
            self._known = packages.load(self._name, self._arguments, max_turns=self._max_turns)
        return self._known


class _Episodes:
    """One slot's episodes. See `Instance`."""

    def __init__(self, package: Package, loop: asyncio.AbstractEventLoop) -> None:
        self._package = package
        self._loop = loop
        self._kind = _client_type(package.library)
        self._client: Any = None
        self._rollout: asyncio.Task[Any] | None = None

    def begin(self, seed: int | None, options: Mapping[str, Any] | None) -> tuple[Any, Mapping[str, Any]]:
        if seed is None or options is None:
            raise ValueError("an episode needs a task and a seed")
        self.close()
        # What a package draws without a generator of its own follows the seed.
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  what packages draw from
        row = dict(self._package.rows[options["split"]][options["task"]])
        self._client = self._kind()
        self._rollout = self._loop.create_task(
            self._package.environment.rollout(row, self._client, _MODEL, {})
        )
        if self._proceed():
            raise ValueError("the episode ended before the first answer")
        messages, tools = [_plain(each) for each in self._client.prompt], self._client.tools
        tooling = (
            "\n".join([_TOOLS, *(json.dumps(tool, ensure_ascii=False) for tool in tools)]) if tools else ""
        )
        identifier = f"{options['split']}-{options['task']}"
        info = {"task": options["task"], "split": options["split"], "id": identifier, "metadata": {}}
        return _text(messages, tooling), info | {"messages": messages, "tools": tools}

    def step(self, action: Any) -> Move:
        self._client.reply(self._message(action))
        if not self._proceed():
            messages = _since_answer(self._client.prompt)
            return Move(_text(messages), 0.0, terminated=False, truncated=False, info={"messages": messages})
        assert self._rollout is not None  # noqa: S101  it proceeded
        rollout, self._rollout = self._rollout, None
        state = rollout.result()
        error = state.get("error")
        if error is not None:
            raise RuntimeError(f"{type(error).__name__}: {error}")
        scores = self._loop.run_until_complete(packages.score(self._package, state))
        text = _text(_since_answer(state["completion"]))
        return Move(text, 0.0, terminated=True, truncated=False, info={"scores": scores})

    def close(self) -> None:
        """Give up the episode that there is."""
        if self._rollout is not None:
            rollout, self._rollout = self._rollout, None
            rollout.cancel()
            self._loop.run_until_complete(asyncio.gather(rollout, return_exceptions=True))

    def _proceed(self) -> bool:
        """Go on until the model is asked again; tells whether the episode ended instead."""
        assert self._rollout is not None  # noqa: S101  the server steps no slot without an episode
        asked = self._loop.create_task(self._client.asked.wait())
        self._loop.run_until_complete(
            asyncio.wait({self._rollout, asked}, return_when=asyncio.FIRST_COMPLETED)
        )
        asked.cancel()
        if self._rollout.done():
            # An episode that raised is no end.
            self._rollout.result()
            return True
        return False

    def _message(self, text: str) -> Any:
        """The policy's answer as the library has a model's."""
        types = self._package.library.types
        calls = _calls(text) if self._client.tools else []
        content = _CALL.sub("", text).strip() if calls else text
        tool_calls = [
            types.ToolCall(id=f"call-{at}", name=name, arguments=arguments)
            for at, (name, arguments) in enumerate(calls)
        ]
        message = types.ResponseMessage(
            role="assistant",
            content=content,
            tool_calls=tool_calls or None,
            finish_reason="tool_calls" if tool_calls else "stop",
            is_truncated=False,
        )
        return types.Response(id="", created=0, model=_MODEL, message=message)


class _Caller:
    """The caller in the place of a model's client."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.prompt: Sequence[Any] = ()
        self.tools: list[dict[str, Any]] = []
        self._answer: asyncio.Future[Any] | None = None

    async def get_response(self, prompt: Sequence[Any], *_: Any, tools: Any = None, **__: Any) -> Any:
        """Tell that the model is asked, and wait for its message."""
        self.prompt = prompt
        self.tools = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in tools or ()
        ]
        self._answer = asyncio.get_running_loop().create_future()
        self.asked.set()
        return await self._answer

    def reply(self, message: Any) -> None:
        """Answer as the model."""
        assert self._answer is not None  # noqa: S101  it was asked
        self.asked.clear()
        self._answer.set_result(message)

    async def close(self) -> None:
        """Nothing is held."""


def _client_type(library: Any) -> Any:
    made: Any = type("Caller", (_Caller, library.Client), {})
    # Of the rest of the library's client, `get_response` leaves nothing to be used.
    made.__abstractmethods__ = frozenset()
    return made


def _calls(text: str) -> list[tuple[str, str]]:
    """Names and arguments of the tools that a message calls; what is no JSON is a part of its text."""
    calls = []
    for found in _CALL.findall(text):
        try:
            call = json.loads(found)
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, KeyError):
            return []
        calls.append((str(name), arguments if isinstance(arguments, str) else json.dumps(arguments)))
    return calls


def _plain(message: Any) -> dict[str, str]:
    """Role and text of a message."""
    content = message.content
    if content is not None and not isinstance(content, str):
        parts = [part if isinstance(part, dict) else part.model_dump() for part in content]
        if any(part.get("type") != "text" for part in parts):
            raise TypeError("a message of the package has content that is no text")
        content = "".join(part["text"] for part in parts)
    return {"role": message.role, "content": content or ""}


def _since_answer(messages: Sequence[Any]) -> list[dict[str, str]]:
    """What came after the policy's last message."""
    answers = [at for at, each in enumerate(messages) if each.role == "assistant"]
    return [_plain(each) for each in messages[answers[-1] + 1 if answers else 0 :]]


def _text(messages: Sequence[Mapping[str, str]], *more: str) -> str:
    """What a policy of text is shown of messages."""
    text = "\n\n".join(part for part in (*(each["content"] for each in messages), *more) if part)
    if len(text) > MAX_TEXT:
        raise ValueError(f"the package gave {len(text)} characters, more than {MAX_TEXT}")
    return text
