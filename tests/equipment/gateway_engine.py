"""A small engine with OpenAI's interface, which does what a test tells it to."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

Headers = dict[str, str]


@dataclass
class Asked:
    """A request as the engine got it."""

    path: str
    headers: Headers
    raw_head: str
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)


def answer_document(text: str = "hello", **usage: int) -> dict[str, Any]:
    counts = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10} | usage
    counts["prompt_tokens_details"] = {"cached_tokens": 2}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": "cmpl-1", "object": "chat.completion", "choices": [choice], "usage": counts}


def event(document: dict[str, Any] | str) -> bytes:
    text = document if isinstance(document, str) else json.dumps(document)
    return f"data: {text}\n\n".encode()


def stream_events(words: tuple[str, ...] = ("one", "two", "three"), *, usage: bool = True) -> list[bytes]:
    events = [event({"choices": [{"index": 0, "delta": {"content": word}}]}) for word in words]
    if usage:
        counts = {"prompt_tokens": 7, "completion_tokens": len(words)}
        events.append(event({"choices": [], "usage": counts}))
    return [*events, event("[DONE]")]


@dataclass
class Engine:
    """Answers as the next entry of `script` says, and as `behaviour` once that is empty.

    A behaviour is the name of a method below.
    """

    behaviour: str = "answer"
    script: deque[str] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to let those go on that hold."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once somebody holds."""
    gone: int = 0
    """Requests whose asker went away."""
    document: dict[str, Any] = field(default_factory=answer_document)
    events: list[bytes] = field(default_factory=stream_events)
    port: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self.open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                pairs = (line.split(": ", 1) for line in lines[1:] if line)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.asked.append(Asked(lines[0].split(" ")[1], headers, head, body))
                name = self.script.popleft() if self.script else self.behaviour
                if await getattr(self, f"_{name}")(writer, self.asked[-1]) is False:
                    return
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, asked: Asked) -> None:
        if asked.document.get("stream"):
            await self._stream(writer, asked)
        else:
            self._send(writer, 200, json.dumps(self.document).encode())

    async def _stream(self, writer: asyncio.StreamWriter, asked: Asked) -> None:  # noqa: ARG002
        self._begin_stream(writer)
        for each in self.events:
            writer.write(b"%x\r\n%b\r\n" % (len(each), each))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async def _hold(self, writer: asyncio.StreamWriter, asked: Asked) -> None:
        """Answer once the gate is open."""
        self.reached.set()
        await self.gate.wait()
        if writer.is_closing():
            self.gone += 1
        await self._answer(writer, asked)

    async def _hold_stream(self, writer: asyncio.StreamWriter, asked: Asked) -> None:  # noqa: ARG002
        """Send the first event, the rest once the gate is open."""
        self._begin_stream(writer)
        first, *rest = self.events
        writer.write(b"%x\r\n%b\r\n" % (len(first), first))
        await writer.drain()
        self.reached.set()
        await self.gate.wait()
        for each in rest:
            writer.write(b"%x\r\n%b\r\n" % (len(each), each))
        writer.write(b"0\r\n\r\n")

    async def _busy(self, writer: asyncio.StreamWriter, asked: Asked) -> None:  # noqa: ARG002
        self._send(writer, 503, b'{"error":{"message":"Loading model"}}')

    async def _refuse(self, writer: asyncio.StreamWriter, asked: Asked) -> None:  # noqa: ARG002
        self._send(writer, 400, b'{"error":{"message":"context too long"}}')

    async def _deny(self, writer: asyncio.StreamWriter, asked: Asked) -> None:  # noqa: ARG002
        self._send(writer, 401, b'{"error":{"message":"Invalid API Key"}}')

    async def _reset(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:  # noqa: ARG002
        writer.transport.abort()
        return False

    async def _reset_after_head(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:  # noqa: ARG002
        self._begin_stream(writer)
        await writer.drain()
        writer.transport.abort()
        return False

    async def _reset_in_stream(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:  # noqa: ARG002
        self._begin_stream(writer)
        first = self.events[0]
        writer.write(b"%x\r\n%b\r\n" % (len(first), first))
        await writer.drain()
        self.reached.set()
        await self.gate.wait()
        writer.transport.abort()
        return False

    async def _garbage(self, writer: asyncio.StreamWriter, asked: Asked) -> None:  # noqa: ARG002
        writer.write(b"this is no HTTP\r\n\r\n")

    async def _until_closed(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:  # noqa: ARG002
        """Answer without a length: the end of the connection is the end of the answer."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        writer.write(json.dumps(self.document).encode())
        return False

    async def _stream_until_closed(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:  # noqa: ARG002
        """Stream without chunks: the end of the connection is the end of the stream."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.write(b"".join(self.events))
        return False

    async def _cut_until_closed(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:  # noqa: ARG002
        """Answer without a length, but for its last byte."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        writer.write(json.dumps(self.document).encode()[:-1])
        return False

    async def _answer_and_close(self, writer: asyncio.StreamWriter, asked: Asked) -> bool:
        """Answer as if the connection stayed open, and close it."""
        await self._answer(writer, asked)
        return False

    def _begin_stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            b"server: engine\r\nx-innervate-arm: forged\r\n\r\n"
        )

    def _send(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        writer.write(
            b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\nserver: engine\r\n"
            b"set-cookie: a=b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)
        )
