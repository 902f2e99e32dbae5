"""Clients that read slowly, leave, hurry ahead, or say goodbye in their own way."""

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.gateway.harness import Talk, gateway
from tests.gateway.raw_engine import (
    RawEngine,
    begin,
    chat,
    chunk,
    chunked,
    delta,
    event,
    says,
    stream,
    whole,
)
from tests.gateway.test_connection import served, talking

from inhouse.gateway.connection import Connection
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.listening import Listening

CHAT = "/v1/chat/completions"
BIG = chat("y" * 6_000_000)


async def greet(exchange: Exchange) -> None:
    exchange.respond(200, b"", b"x")


def slow_socket(talk: Talk) -> socket.socket:
    """A client whose system takes little ahead of it."""
    url = talk.client.base_url
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connected.connect((url.host, url.port))
    connected.settimeout(15)
    return connected


def read_all(connected: socket.socket, wait_s: float = 0.0, pause_s: float = 0.0) -> bytes:
    """Read to the end, after a while, in pieces of 64 KiB."""
    time.sleep(wait_s)
    got = b""
    with connected:
        while data := connected.recv(65_536):
            got += data
            time.sleep(pause_s)
    return got


@asynccontextmanager
async def hanging(tmp_path: Path) -> AsyncIterator[tuple[RawEngine, Talk, asyncio.Event]]:
    """A gateway over an engine that never answers; the event says that it was hung up on."""
    hung_up = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
        if not await reader.read(1):
            hung_up.set()
        writer.close()

    async with RawEngine(hang) as engine, gateway(tmp_path, engine) as talk:
        yield engine, talk, hung_up


@pytest.mark.parametrize("size", [10, 120_000, 300_000])
async def test_a_client_that_leaves_frees_the_engine_however_its_prompt_came(
    tmp_path: Path, size: int
) -> None:
    async with hanging(tmp_path) as (engine, talk, hung_up):
        message = [{"role": "user", "content": "x" * size}]
        _, writer = await talk.raw(talk.request(CHAT, messages=message))
        await engine.asked()
        writer.transport.abort()
        await asyncio.wait_for(hung_up.wait(), 1)


async def test_a_client_that_leaves_behind_many_pipelined_requests_frees_the_engine(
    tmp_path: Path,
) -> None:
    async with hanging(tmp_path) as (engine, talk, hung_up):
        more = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 20_000
        _, writer = await talk.raw(talk.request(CHAT) + more)
        await engine.asked()
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await asyncio.wait_for(hung_up.wait(), 1)


async def test_a_half_closed_client_is_gone(tmp_path: Path) -> None:
    async with hanging(tmp_path) as (engine, talk, hung_up):
        _, writer = await talk.raw(talk.request(CHAT))
        await engine.asked()
        writer.write_eof()
        await asyncio.wait_for(hung_up.wait(), 1)
        assert (await talk.audited_last()).outcome == "cancelled"


@pytest.mark.parametrize("how", [b"connection: close\r\n", b"connection: TE, close\r\n", b"1.0"])
async def test_a_large_answer_reaches_a_slow_reader_before_the_connection_goes(
    tmp_path: Path, how: bytes
) -> None:
    async with RawEngine(says(whole(BIG))) as engine, gateway(tmp_path, engine) as talk:
        request = talk.request(CHAT)
        if how == b"1.0":
            request = request.replace(b"HTTP/1.1", b"HTTP/1.0")
        else:
            request = request.replace(b"host: a\r\n", b"host: a\r\n" + how)
        connected = slow_socket(talk)
        await asyncio.to_thread(connected.sendall, request)
        head, _, body = (await asyncio.to_thread(read_all, connected, 2.5)).partition(b"\r\n\r\n")
        assert body == BIG
        assert b"connection: close" in head


async def test_a_steady_slow_reader_is_not_cut(tmp_path: Path) -> None:
    toml = '[gateway]\nlisten = "127.0.0.1:0"\nwrite_timeout_s = 2\n'
    async with RawEngine(says(whole(BIG))) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        connected = slow_socket(talk)
        request = talk.request(CHAT).replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n")
        await asyncio.to_thread(connected.sendall, request)
        assert (await asyncio.to_thread(read_all, connected, 0, 0.01)).endswith(BIG)


async def test_a_reader_that_stopped_is_cut(tmp_path: Path) -> None:
    toml = '[gateway]\nlisten = "127.0.0.1:0"\nwrite_timeout_s = 1\n'
    async with RawEngine(says(whole(BIG))) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        connected = slow_socket(talk)
        await asyncio.to_thread(connected.sendall, talk.request(CHAT))
        assert not (await asyncio.to_thread(read_all, connected, 2.5)).endswith(BIG)


async def test_a_stop_lets_an_answer_that_is_on_its_way_arrive(tmp_path: Path) -> None:
    async with RawEngine(says(whole(BIG))) as engine:
        async with gateway(tmp_path, engine) as talk:
            connected = slow_socket(talk)
            await asyncio.to_thread(connected.sendall, talk.request(CHAT))
            await engine.asked()
            assert (await talk.audited_last()).outcome == "answered"
            reading = asyncio.create_task(asyncio.to_thread(read_all, connected, 0.3))
        assert (await reading).endswith(BIG)


async def test_what_is_answered_while_the_gateway_stops_says_close(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def later(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        await go_on.wait()
        writer.write(whole(chat()))

    async with RawEngine(later) as engine:
        async with gateway(tmp_path, engine) as talk:
            reader, writer = await talk.raw(talk.request(CHAT))
            talk.writers.clear()
            await engine.asked()
            asyncio.get_running_loop().call_later(0.3, go_on.set)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer


async def test_a_stream_to_a_client_that_asked_for_close_says_close(tmp_path: Path) -> None:
    engine_says = says(chunked(stream(delta("hi"))))
    async with RawEngine(engine_says) as engine, gateway(tmp_path, engine) as talk:
        request = talk.request(CHAT, stream=True)
        reader, _ = await talk.raw(request.replace(b"host: a", b"host: a\r\nconnection: close"))
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"connection: close" in answer
        assert b"[DONE]" in answer


async def test_answers_to_pipelined_requests_wait_for_the_client_to_read() -> None:
    async def much(exchange: Exchange) -> None:
        exchange.respond(200, b"", b"z" * 10_000)

    async with served(much) as (listener, shared):
        host, _, port = listener.address.rpartition(":")
        with socket.socket() as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            connected.connect((host, int(port)))
            connected.settimeout(1)

            def send() -> None:
                connected.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 2000)

            await asyncio.to_thread(send)
            await asyncio.sleep(0.5)
            assert held_by(shared) < 262_144


def held_by(shared: Listening) -> int:
    return max(each.transport.get_write_buffer_size() for each in shared.connections)


async def test_a_stream_to_a_stalled_reader_is_read_no_further(tmp_path: Path) -> None:
    """A client that stops reading holds a bounded part of the answer; the engine waits."""
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        nonlocal sent
        writer.write(begin())
        piece = event(delta("x" * 1000))
        while sent < 60_000_000:
            writer.write(chunk(piece))
            sent += len(piece)
            await writer.drain()

    async with RawEngine(endless) as engine, gateway(tmp_path, engine) as talk:
        with slow_socket(talk) as connected:
            await asyncio.to_thread(connected.sendall, talk.request(CHAT, stream=True))
            await engine.asked()
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.3)
            assert sent < 20_000_000  # what the kernel's buffers on the way take
            assert 0 < most_held() < 262_144


def most_held() -> int:
    """The most that any connection of a client holds unsent."""
    connections = [each for each in gc.get_objects() if isinstance(each, Connection)]
    return max(
        each.transport.get_write_buffer_size()
        for each in connections
        if not each.transport.is_closing()
    )


async def test_expect_in_http_1_0_is_ignored(tmp_path: Path) -> None:
    async with RawEngine(says(whole(chat()))) as engine, gateway(tmp_path, engine) as talk:
        request = talk.request(CHAT).replace(b"HTTP/1.1", b"HTTP/1.0")
        head, _, body = request.partition(b"\r\n\r\n")
        reader, writer = await talk.raw(head + b"\r\nexpect: 100-continue\r\n\r\n")
        await asyncio.sleep(0.1)
        writer.write(body)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200")


async def test_a_next_head_has_its_own_time() -> None:
    async with (
        served(greet, idle_timeout_s=1.0, head_timeout_s=5.0) as (listener, _),
        talking(listener) as peer,
    ):
        await peer.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await peer.until(b"\r\n\r\nx")
        await asyncio.sleep(0.7)
        await peer.say(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.8)
        await peer.say(b"host: a\r\n\r\n")
        assert (await peer.until(b"\r\n\r\nx")).startswith(b"HTTP/1.1 200")


async def test_a_slow_next_head_is_late() -> None:
    async with (
        served(greet, idle_timeout_s=30.0, head_timeout_s=0.3) as (listener, _),
        talking(listener) as peer,
    ):
        await peer.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        await peer.until(b"\r\n\r\nx")
        await peer.say(b"GET / HTTP/1.1\r\n")
        assert b"408" in await peer.until(b"\r\n")


async def test_a_body_that_crawls_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inhouse.gateway.connection.BODY_GRACE_S", 0.2)
    async with hanging(tmp_path) as (_, talk, __):
        request = talk.request(CHAT, messages=[{"role": "user", "content": "x" * 100_000}])
        reader, writer = await talk.raw(request[:2000])
        for at in range(2000, 2040):
            if reader.at_eof():
                break
            writer.write(request[at : at + 1])
            await asyncio.sleep(0.1)
        assert b"body_timeout" in await asyncio.wait_for(reader.read(), 5)


async def test_a_refusal_of_a_whole_small_body_keeps_the_connection(tmp_path: Path) -> None:
    async with RawEngine(says(whole(chat()))) as engine, gateway(tmp_path, engine) as talk:
        bad = talk.request(CHAT).replace(b"Bearer ihk", b"Bearer xhk")
        reader, writer = await talk.raw(bad)
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 401")
        writer.write(talk.request(CHAT))
        assert (await reader.readuntil(b"}}")).startswith(b"HTTP/1.1 200")


async def test_a_deadline_on_a_full_buffer_does_not_spoil_the_next_request() -> None:
    count = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal count
        count += 1
        exchange.start(200, b"")
        try:
            while count == 1:
                exchange.write(b"x" * 65_536)
                if exchange.connection.paused:
                    await exchange.drained()
        except asyncio.CancelledError:
            assert exchange.late
        exchange.end(b"end of %d" % count)

    async with served(flood, request_timeout_s=0.5) as (listener, _):
        host, _, port = listener.address.rpartition(":")
        connected = socket.socket()
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        connected.connect((host, int(port)))
        connected.settimeout(5)
        connected.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 2)

        def read() -> bytes:
            time.sleep(1.2)
            got = b""
            with connected:
                while b"end of 2" not in got:
                    got += connected.recv(1 << 20)
            return got

        assert b"end of 1" in await asyncio.to_thread(read)


async def test_what_comes_while_a_client_does_not_read_is_read_in_order() -> None:
    """The second half of a pipelined request arrives while the first answer is not taken yet."""
    asked: list[bytes] = []

    async def much(exchange: Exchange) -> None:
        asked.append(exchange.head.path + await exchange.body(1_000_000))
        exchange.respond(200, b"", b"z" * 3_000_000)

    body = b"GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n" * 10
    post = b"POST /second HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with served(much) as (listener, _):
        host, _, port = listener.address.rpartition(":")
        with socket.socket() as connected:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            connected.connect((host, int(port)))
            connected.settimeout(5)
            connected.sendall(b"GET /first HTTP/1.1\r\nhost: a\r\n\r\n" + post + body[:100])
            await asyncio.sleep(0.3)
            connected.sendall(body[100:])
            await asyncio.sleep(0.3)

            def read() -> None:
                size = 0
                while size < 6_000_000:
                    size += len(connected.recv(1 << 20))

            await asyncio.to_thread(read)
    assert asked == [b"/first", b"/second" + body]


async def test_a_late_body_is_not_the_next_requests() -> None:
    asked: list[bytes] = []

    async def slowly(exchange: Exchange) -> None:
        try:
            asked.append(await exchange.body(1000))
        except TimeoutError:
            await asyncio.sleep(0.5)  # the rest arrives meanwhile
            exchange.respond(408, b"", b"")
            return
        exchange.respond(200, b"", b"")

    async with served(slowly, body_timeout_s=0.2) as (listener, _), talking(listener) as peer:
        await peer.say(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nold")
        await asyncio.sleep(0.6)
        await peer.say(b"old")
        await peer.until(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await peer.say(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nnew")
            await peer.until(b"\r\n\r\n")
    assert asked in ([], [b"new"])


async def test_a_stop_that_can_wait_no_longer_ends_streams_with_an_error(tmp_path: Path) -> None:
    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(begin())
        for _number in range(1000):
            writer.write(chunk(event(delta("x"))))
            await asyncio.sleep(0.05)

    toml = '[gateway]\nlisten = "127.0.0.1:0"\nshutdown_timeout_s = 0.2\n'
    async with RawEngine(endless) as engine:
        async with gateway(tmp_path, engine, toml=toml) as talk:
            reader, writer = await talk.raw(talk.request(CHAT, stream=True))
            talk.writers.clear()
            await reader.readuntil(b"x")
        rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert b"[DONE]" not in rest
        assert b'"code":"stopping"' in rest.split(b"data: ")[-1]
        row = talk.audited()[-1]
        assert (row.outcome, row.code) == ("truncated", "stopping")
