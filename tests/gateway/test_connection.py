"""Connections as a raw socket sees them: an echo is served, so that framing is all there is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from inhouse.gateway.connection import Connection
from inhouse.gateway.exchange import BodyTooLarge, ClientGone, Exchange
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.listening import Listening

MOST_BYTES = 200_000


async def echo(exchange: Exchange) -> None:
    """Answers with the body; `/stream` in ten pieces, `/wait` not before its client is gone."""
    try:
        body = await exchange.body(MOST_BYTES)
    except BodyTooLarge:
        exchange.respond(413, b"", b"too large")
        return
    except Malformed as malformed:
        exchange.respond(malformed.status, b"", malformed.sentence.encode())
        return
    except TimeoutError:
        exchange.respond(408, b"", b"late")
        return
    if exchange.head.path == b"/stream":
        exchange.start(200, b"")
        for _ in range(10):
            exchange.write(body)
            if exchange.connection.paused:
                await exchange.drained()
        exchange.end(b"end")
    elif exchange.head.path == b"/wait":
        await asyncio.sleep(30)
    else:
        exchange.respond(200, b"", body)


def refuse(_: Connection, malformed: Malformed) -> bytes:
    return b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % malformed.status


class Peer:
    """A client that writes and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, mark: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(mark), 10)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 10)


@asynccontextmanager
async def served(answer: Any = echo, **limits: float) -> AsyncIterator[tuple[Listener, Listening]]:
    shared = Listening(answer, refuse, **limits)  # type: ignore[arg-type]  # a test's own limits
    listener = Listener(bind("127.0.0.1:0", "test"), shared)
    await listener.start()
    try:
        yield listener, shared
    finally:
        await listener.stop(1)


@asynccontextmanager
async def talking(listener: Listener) -> AsyncIterator[Peer]:
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


def post(body: bytes, path: bytes = b"/", *lines: bytes) -> bytes:
    extra = b"".join(line + b"\r\n" for line in lines)
    return b"POST %b HTTP/1.1\r\nhost: a\r\n%bcontent-length: %d\r\n\r\n%b" % (
        path,
        extra,
        len(body),
        body,
    )


async def test_one_byte_at_a_time() -> None:
    async with served() as (listener, _), talking(listener) as peer:
        for byte in post(b"hello"):
            await peer.say(bytes([byte]))
        assert (await peer.until(b"hello")).startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n")


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(b"".join(post(b"%03d" % number) for number in range(50)))
        for number in range(50):
            await peer.until(b"\r\n\r\n%03d" % number)


async def test_chunked_bodies_and_what_follows_them() -> None:
    chunked = (
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    )
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(chunked + post(b"next"))
        await peer.until(b"\r\n\r\nab")
        await peer.until(b"\r\n\r\nnext")


async def test_a_body_is_asked_for_where_the_client_waits_to_be_asked() -> None:
    head, body = post(b"hello", b"/", b"expect: 100-continue")[:-5], b"hello"
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(head)
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.say(body)
        await peer.until(b"hello")


async def test_a_stream_is_chunked_and_the_connection_is_kept() -> None:
    async with served() as (listener, _), talking(listener) as peer:
        for _ in range(2):
            await peer.say(post(b"abc", b"/stream"))
            answer = await peer.until(b"0\r\n\r\n")
            assert answer.endswith(b"3\r\nabc\r\n" * 10 + b"3\r\nend\r\n0\r\n\r\n")


async def test_http_1_0_gets_no_chunks() -> None:
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(b"POST /stream HTTP/1.0\r\ncontent-length: 2\r\n\r\nab")
        answer = await peer.rest()
        assert b"chunked" not in answer
        assert answer.endswith(b"\r\n\r\n" + b"ab" * 10 + b"end")


async def test_a_body_that_is_announced_too_large_is_not_awaited() -> None:
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(post(b"").replace(b"length: 0", b"length: 9999999"))
        assert (await peer.rest()).startswith(b"HTTP/1.1 413")


async def test_a_chunked_body_that_grows_too_large_is_cut_off() -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(head + chunk * 8)
        assert (await peer.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")


async def test_what_is_malformed_is_answered_and_closed() -> None:
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(b"GET / HTTP/1.1\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await peer.rest()).count(b"HTTP/1.1 400") == 1


async def test_a_malformed_body_is_told_and_closed() -> None:
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    async with served() as (listener, _), talking(listener) as peer:
        await peer.say(head)
        await peer.say(b"zz\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = await peer.rest()
        assert answer.startswith(b"HTTP/1.1 400")
        assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("said", [b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\n"])
async def test_a_slow_head_is_ended(said: bytes) -> None:
    async with served(head_timeout_s=0.2) as (listener, _), talking(listener) as peer:
        await peer.say(said)
        assert (await peer.rest()).startswith(b"HTTP/1.1 408")


async def test_silence_is_ended_without_a_word() -> None:
    async with served(head_timeout_s=0.2) as (listener, _), talking(listener) as peer:
        assert await peer.rest() == b""


async def test_a_slow_body_is_ended() -> None:
    async with served(body_timeout_s=0.2) as (listener, _), talking(listener) as peer:
        await peer.say(post(b"hello")[:-1])
        assert (await peer.rest()).startswith(b"HTTP/1.1 408")


async def test_an_idle_connection_is_closed() -> None:
    async with served(idle_timeout_s=0.2) as (listener, _), talking(listener) as peer:
        await peer.say(post(b"x"))
        assert (await peer.rest()).endswith(b"x")


async def test_a_client_that_leaves_ends_its_request() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def waiting(exchange: Exchange) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.set_result("gone" if exchange.gone else "late")
            raise

    async with served(waiting) as (listener, shared):
        async with talking(listener) as peer:
            await peer.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            while not shared.connections:
                await asyncio.sleep(0.01)
        assert await asyncio.wait_for(ended, 5) == "gone"


async def test_a_request_past_its_deadline_is_told() -> None:
    async def waiting(exchange: Exchange) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            assert exchange.late
            exchange.respond(504, b"", b"late")

    async with served(waiting, request_timeout_s=0.2) as (listener, _), talking(listener) as peer:
        await peer.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert (await peer.until(b"late")).startswith(b"HTTP/1.1 504")


async def test_a_client_that_does_not_read_is_cut_and_its_writer_told() -> None:
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def flood(exchange: Exchange) -> None:
        exchange.start(200, b"")
        try:
            while True:
                exchange.write(b"x" * 65_536)
                if exchange.connection.paused:
                    await exchange.drained()
        except (ClientGone, asyncio.CancelledError) as error:
            told.set_result(type(error).__name__)
            raise

    async with served(flood, write_timeout_s=0.3) as (listener, _), talking(listener) as peer:
        await peer.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert await asyncio.wait_for(told, 10) in {"ClientGone", "CancelledError"}


async def test_more_connections_than_allowed_are_closed_at_once() -> None:
    async with served(max_connections=1) as (listener, _), talking(listener) as first:
        await first.say(post(b"x"))
        await first.until(b"\r\n\r\nx")
        async with talking(listener) as second:
            assert await second.rest() == b""


async def test_stopping_lets_a_running_request_end() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.3)
        exchange.respond(200, b"", b"done")

    shared = Listening(slow, refuse)
    listener = Listener(bind("127.0.0.1:0", "test"), shared)
    await listener.start()
    async with talking(listener) as peer, talking(listener) as idle:
        await peer.say(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        while not any(connection.exchange for connection in shared.connections):
            await asyncio.sleep(0.01)
        assert await listener.stop(5) == 0
        assert (await peer.rest()).endswith(b"done")
        assert await idle.rest() == b""
