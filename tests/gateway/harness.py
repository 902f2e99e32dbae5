"""A whole gateway in the test's own loop, over fake engines, spoken to over a real socket."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from inhouse.audit.read import Row, records, rows
from inhouse.audit.verify import verify
from inhouse.config.keyfile import read_existing
from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.gateway.listener import bind
from inhouse.greeting import Greeting
from inhouse.up import running

MESSAGES = [{"role": "user", "content": "hi"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": MESSAGES},
    "/v1/completions": {"model": "m", "prompt": "hi"},
    "/v1/responses": {"model": "m", "input": "hi"},
    "/v1/messages": {"model": "m", "messages": MESSAGES, "max_tokens": 64},
    "/api/chat": {"model": "m", "messages": MESSAGES},
    "/api/generate": {"model": "m", "prompt": "hi"},
}
"""The smallest request of every route that talks."""

ENDS = {
    "/v1/chat/completions": b"data: [DONE]",
    "/v1/completions": b"data: [DONE]",
    "/v1/responses": b"event: response.completed",
    "/v1/messages": b"event: message_stop",
    "/api/chat": b'"done":true',
    "/api/generate": b'"done":true',
}
"""What a whole stream ends with, and a broken one must never hold."""

_ERRORS = {
    "/v1/chat/completions": b'data: {"error":{"message":',
    "/v1/completions": b'data: {"error":{"message":',
    "/v1/responses": b'event: error\ndata: {"type":"error",',
    "/v1/messages": b'event: error\ndata: {"type":"error",',
    "/api/chat": b'{"error":"',
    "/api/generate": b'{"error":"',
}


def ends_with_error(path: str, body: bytes) -> bool:
    """Whether a stream's last event is an error, as the dialect of this path says one."""
    end = b"\n" if path.startswith("/api/") else b"\n\n"
    last = body.removesuffix(end).rpartition(end)[2]
    return body.endswith(end) and last.startswith(_ERRORS[path])


class Engine(Protocol):
    """What listens on a port."""

    @property
    def port(self) -> int: ...


@dataclass(slots=True)
class Talk:
    """A client of one gateway, with the key that it was given."""

    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    config: Config
    key: str
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def post(self, path: str, /, **fields: Any) -> httpx.Response:
        return await self.client.post(path, json=BODIES.get(path, {}) | fields)

    async def raw(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        url = self.client.base_url
        reader, writer = await asyncio.open_connection(url.host, url.port)
        self.writers.append(writer)
        writer.write(data)
        await writer.drain()
        return reader, writer

    def request(self, path: str, **fields: Any) -> bytes:
        """The bytes of a request, for a raw socket."""
        body = json.dumps(BODIES[path] | fields).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {self.key}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def audited(self) -> list[Row]:
        return list(rows(records(self.config.audit_directory)))

    async def audited_last(self) -> Row:
        """The last row, once nothing is running any more."""
        for _ in range(200):
            found = self.audited()
            if found and found[-1].outcome != "running":
                return found[-1]
            await asyncio.sleep(0.01)
        raise AssertionError("a request is still open in the audit log")

    def verify(self) -> list[str]:
        key = read_existing(self.config.secrets_directory / "audit.key")
        return [str(each) for each in verify(self.config.audit_directory, key).findings]


@contextlib.asynccontextmanager
async def gateway(
    directory: Path,
    *engines: Engine,
    kind: str = "openai",
    toml: str = "",
    wait: bool = True,
    send_buffer_bytes: int = 0,
) -> AsyncIterator[Talk]:
    """A gateway whose model `m` is served by these engines, under the same name there. With
    `send_buffer_bytes`, its system takes no more than that ahead of a client that does not read."""
    file = directory / "inhouse.toml"
    sources = [f"{kind}://127.0.0.1:{engine.port}/m" for engine in engines]
    if "[models" not in toml:
        toml += f"\n[models.m]\nengines = {json.dumps(sources)}\n"
    if "[upstream]" not in toml:
        toml += "\n[upstream]\nprobe_interval_s = 0.2\n"
    file.write_text(toml)
    config = load_config(file, directory / "data", {})
    config.data.mkdir(exist_ok=True)
    with bind("127.0.0.1:0", "gateway") as clients, bind("127.0.0.1:0", "admin") as admin:
        if send_buffer_bytes:
            clients.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        greeting = Greeting(config, json_line=True)
        async with running(config, clients, admin, greeting) as platform:
            if wait:
                assert await platform.settled() == {}
            key = await platform.first_key()
            assert key is not None
            urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in (clients, admin)]
            headers = {"authorization": f"Bearer {key}"}
            async with (
                httpx.AsyncClient(base_url=urls[0], headers=headers, timeout=20) as client,
                httpx.AsyncClient(base_url=urls[1], timeout=20) as operator,
            ):
                talk = Talk(client, operator, config, key)
                try:
                    yield talk
                finally:
                    for writer in talk.writers:
                        writer.close()
