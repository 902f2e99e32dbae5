"""An engine scripted at the level of bytes: what no proper engine sends."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]
"""Answers one request: reader, writer, the request's body. Closes the writer to hang up."""

EVENT_STREAM = b"text/event-stream"


def chat(text: str = "ok") -> bytes:
    """A whole answer of OpenAI's chat."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    return json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()


def event(value: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + end


def delta(text: str, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return {"model": "m", "choices": [choice]}


def stream(*values: object, end: bytes = b"\n\n") -> bytes:
    """A stream of events that ends as it should."""
    finish = [event(delta("", finish="stop"), end), event(b"[DONE]", end)]
    return b"".join([*(event(value, end) for value in values), *finish])


def whole(body: bytes, status: int = 200) -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def chunked(*pieces: bytes) -> bytes:
    return begin() + b"".join(chunk(piece) for piece in pieces) + b"0\r\n\r\n"


def begin() -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def says(wire: bytes) -> Script:
    """A script that sends these bytes."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(wire)
        await writer.drain()

    return script


class RawEngine:
    """An engine on a free port, whose answers are scripted; probes get a proper one."""

    def __init__(self, script: Script, probe: Script | None = None) -> None:
        self._script = script
        self._probe = probe or says(whole(chat()))
        self._tasks: set[asyncio.Task[Any]] = set()
        self.seen: list[bytes] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def asked(self) -> None:
        """Wait until a request has come."""
        async with asyncio.timeout(10):
            while not self.seen:
                await asyncio.sleep(0.005)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                if b"x-request-id: probe" in head:
                    await self._probe(reader, writer, body)
                else:
                    self.seen.append(body)
                    await self._script(reader, writer, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
