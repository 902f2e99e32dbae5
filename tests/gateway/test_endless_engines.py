"""Engines that never stop sending: the gateway gives up at a bound, and does not grow.

The gateway is a process of its own, so that what it holds can be told from what the engine does.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from tests.conftest import Running, started
from tests.gateway.harness import BODIES, ENDS
from tests.gateway.raw_engine import RawEngine, begin, chat, chunk, says, whole

MIB = 1 << 20
KINDS = {
    # the dialects, as clients ask for them, and how the engine behind speaks
    "openai": ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"],
    "vllm": ["/v1/responses", "/v1/messages"],
    "ollama": ["/api/chat", "/api/generate"],
}
TOML = """
[gateway]
listen = "127.0.0.1:0"
request_timeout_s = 3
max_answer_bytes = 1048576
[limits]
requests_per_minute = 0
concurrent_requests = 0
queue_length = 100
[upstream]
probe_interval_s = 60
probe_timeout_s = 2
fall = 100
[models]
"""
OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS: dict[str, tuple[bytes, bytes]] = {
    # how it begins, and what comes again and again
    "a header": (OK + b"x: ", b"a" * 65_536),
    "headers": (OK, b"x: a\r\n" * 10_000),
    "1xx answers": (b"", b"HTTP/1.1 102 P\r\n\r\n" * 4000),
    "a line": (begin() + chunk(b'data: {"x":"'), chunk(b"x" * 65_536)),
    "a line without framing": (OK + b"\r\n" + b'{"x":"', b"x" * 65_536),
    "a line in pieces": (begin() + chunk(b'data: {"x":"'), chunk(b"x" * 8) * 5000),
    "an event without its end": (begin(), chunk(b"data: [\n") * 8000),
    "an object without its end": (begin(), chunk(b'{"a":') * 8000),
    "a chunk's extension": (begin() + b"5;", b"x" * 65_536),
    "a chunk's size": (begin(), b"0" * 65_536),
    "a trailer": (begin() + b"0\r\nx: ", b"x" * 65_536),
    "trailers": (begin() + b"0\r\n", b"x: a\r\n" * 10_000),
    "a promised length": (OK + b"content-length: 10000000000\r\n\r\n", b"[" * 65_536),
}


class Endless:
    """Sends the same until it is hung up on; knows how much that was."""

    def __init__(self, kind: str) -> None:
        self.begins, self.goes_on = ENDLESS[kind]
        self.pause_s = 0.0
        self.sent = 0

    async def __call__(
        self, _: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes
    ) -> None:
        writer.write(self.begins)
        self.sent = 0
        while self.sent < 2000 * MIB:
            writer.write(self.goes_on)
            self.sent += len(self.goes_on)
            await writer.drain()
            await asyncio.sleep(self.pause_s)


async def probed(_: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    """A probe's answer, for each kind of engine."""
    done = b'{"model":"m","done":true,"done_reason":"stop","message":{"content":"x"}}'
    writer.write(whole(done if b"keep_alive" in body else chat()))


@asynccontextmanager
async def serving(directory: Path, toml: str) -> AsyncIterator[tuple[Running, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        up = started(directory / "data", toml)
        running = await asyncio.to_thread(up.__enter__)
        stack.push_async_callback(asyncio.to_thread, up.__exit__, None, None, None)
        headers = {"authorization": f"Bearer {running.key}"}
        client = httpx.AsyncClient(base_url=running.url, headers=headers, timeout=20)
        yield running, await stack.enter_async_context(client)


def models(engine: RawEngine) -> str:
    return "".join(f'{kind} = "{kind}://127.0.0.1:{engine.port}/m"\n' for kind in KINDS)


def peak_bytes(running: Running) -> int:
    """The most memory that the process had since the last call."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    Path(f"/proc/{running.process.pid}/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


async def ask(client: httpx.AsyncClient, path: str, kind: str, *, stream: bool) -> httpx.Response:
    return await client.post(path, json=BODIES[path] | {"model": kind, "stream": stream})


async def test_what_never_ends_is_given_up(tmp_path: Path) -> None:
    endless = Endless("a line")
    async with (
        RawEngine(endless, probed) as engine,
        serving(tmp_path, TOML + models(engine)) as (running, client),
    ):
        for kind, paths in KINDS.items():  # once around, before memory is looked at
            for path in paths:
                await ask(client, path, kind, stream=True)
        peak_bytes(running)
        before = peak_bytes(running)
        for name, (endless.begins, endless.goes_on) in ENDLESS.items():
            for kind, paths in KINDS.items():
                for path in paths:
                    for stream in (True, False):
                        case = f"{name}, {kind}, {path}, {stream}"
                        answer = await ask(client, path, kind, stream=stream)
                        assert answer.status_code == 502, f"{case}: {answer.text[:200]}"
                        assert ENDS[path] not in answer.content, case
                        assert b"took longer" not in answer.content, case
                        assert endless.sent < 24 * MIB, case
            grown = peak_bytes(running) - before
            assert grown < 32 * MIB, f"{name}: {grown / MIB:.1f} MiB more"


SIGNS_OF_LIFE = [b": keepalive\n\n", b"\n", b" "]


async def test_signs_of_life_alone_hold_to_the_request_deadline(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        toml, asked = TOML, []
        for number, sign in enumerate(SIGNS_OF_LIFE):
            endless = Endless("a line")
            endless.begins, endless.goes_on, endless.pause_s = begin(), chunk(sign), 0.05
            engine = await stack.enter_async_context(RawEngine(endless, probed))
            for kind, paths in KINDS.items():
                name = f"{kind}{number}"
                toml += f'{name} = "{kind}://127.0.0.1:{engine.port}/m"\n'
                if not sign.startswith(b":"):  # else a whole answer or a line cannot be one
                    asked += [(name, path, False) for path in paths]
                if not sign.startswith(b":") or kind != "ollama":
                    asked += [(name, path, True) for path in paths]
        _, client = await stack.enter_async_context(serving(tmp_path, toml))
        answers = await asyncio.gather(
            *(ask(client, path, name, stream=stream) for name, path, stream in asked)
        )
        for answer in answers:
            assert ENDS[answer.request.url.path] not in answer.content
            assert b"the request took longer than 3 s" in answer.content, answer.text


async def test_a_probe_of_what_never_ends_is_given_up(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        toml, endless = TOML.replace("fall = 100", "fall = 1"), {}
        for number, name in enumerate(ENDLESS):
            endless[name] = Endless(name)
            engine = RawEngine(says(whole(chat())), endless[name])
            port = (await stack.enter_async_context(engine)).port
            kind = list(KINDS)[number % len(KINDS)]
            toml += f'm{number} = "{kind}://127.0.0.1:{port}/m"\n'
        running, _ = await stack.enter_async_context(serving(tmp_path, toml))
        await asyncio.sleep(0.5)
        assert peak_bytes(running) < 160 * MIB
        for name, each in endless.items():
            assert 0 < each.sent < 24 * MIB, name
        ready = await asyncio.to_thread(httpx.get, f"{running.admin_url}/readyz")
        states = [engine["state"] for model in ready.json()["models"].values() for engine in model]
        assert states == ["down"] * len(ENDLESS), ready.text
