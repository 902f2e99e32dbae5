"""Clients that begin a TLS handshake and do not end it: bounded in number and in time."""

import asyncio
import logging
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.gateway.harness import gateway
from tests.gateway.test_connection import refuse
from tests.gateway.test_tls import REQUEST, greet, trusting

from inhouse.gateway import local_ca
from inhouse.gateway.listener import Listener, bind
from inhouse.gateway.listening import Listening
from inhouse.gateway.tls import Certificates
from inhouse.upstream.fake_engine import FakeEngine

MOST = 20


@asynccontextmanager
async def listening(
    directory: Path, *, most: int = MOST, handshake_timeout_s: float = 10.0
) -> AsyncIterator[tuple[Listener, Listening, ssl.SSLContext]]:
    certificates = Certificates(*local_ca.ensure(directory, "127.0.0.1"))
    shared = Listening(greet, refuse, max_connections=most, handshake_timeout_s=handshake_timeout_s)
    listener = Listener(bind("127.0.0.1:0", "test"), shared, certificates)
    await listener.start()
    try:
        yield listener, shared, trusting(local_ca.authority(directory))
    finally:
        await listener.stop(1)


def port_of(listener: Listener) -> int:
    return int(listener.address.rpartition(":")[2])


def silent(port: int, first: bytes = b"") -> socket.socket:
    """A client that connects, says so much, and waits."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(first)
    client.setblocking(False)
    return client


async def is_served(port: int, context: ssl.SSLContext) -> bool:
    """Whether a good client gets its answer."""
    try:
        reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    except (OSError, ssl.SSLError):
        return False
    writer.write(REQUEST)
    answer = await asyncio.wait_for(reader.read(15), 10)
    writer.close()
    return answer.startswith(b"HTTP/1.1 200")


def was_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def until_closed(clients: list[socket.socket]) -> None:
    async with asyncio.timeout(10):
        while not all(was_closed(client) for client in clients):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a little"])
async def test_a_flood_of_handshakes_takes_its_bound_and_no_good_client_out(
    tmp_path: Path, first: bytes
) -> None:
    with ExitStack() as stack:
        async with listening(tmp_path) as (listener, shared, context):
            clients = []
            for _ in range(10):
                for _ in range(MOST):
                    client = stack.enter_context(silent(port_of(listener), first))
                    clients.append(client)
                await asyncio.sleep(0.02)
                assert shared.open <= MOST
                assert await is_served(port_of(listener), context)
            assert shared.open > MOST // 2
            await until_closed(clients[:-MOST])  # the oldest ones went


async def test_a_handshake_has_its_time(tmp_path: Path) -> None:
    async with listening(tmp_path, handshake_timeout_s=0.3) as (listener, shared, _):
        with silent(port_of(listener)) as one, silent(port_of(listener), b"\x16\x03") as other:
            await until_closed([one, other])
        assert shared.open == 0


@pytest.mark.parametrize("first", [b"\x80\x2e\x01\x00\x02" + b"x" * 50, b"\x00", b"\r\n"])
async def test_what_is_no_handshake_is_closed_at_once(tmp_path: Path, first: bytes) -> None:
    async with listening(tmp_path) as (listener, shared, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(listener))
        writer.write(first + b"z" * 50)
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)  # a TLS alert, and the end
        writer.close()
        assert shared.open == 0


@pytest.mark.parametrize("body", [0, 5, 500_000], ids=str)
async def test_plain_http_is_told_what_the_port_speaks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: int
) -> None:
    caplog.set_level(logging.INFO)
    async with listening(tmp_path) as (listener, shared, context):
        url = f"http://127.0.0.1:{port_of(listener)}/v1/chat/completions"
        async with httpx.AsyncClient() as client:
            for _ in range(3):
                answer = await client.post(url, content=b"x" * body)
                assert answer.status_code == 400
                assert answer.text == "this port speaks TLS: use https://, not http://\n"
        async with asyncio.timeout(5):
            while shared.open:
                await asyncio.sleep(0.01)
        assert await is_served(port_of(listener), context)
    assert caplog.text.count("at 127.0.0.1 has no TLS connection: it speaks http://") == 1


async def test_whoever_speaks_plain_http_and_stays_is_closed(tmp_path: Path) -> None:
    async with listening(tmp_path) as (listener, shared, _):
        with silent(port_of(listener), b"P") as client:
            async with asyncio.timeout(10):
                while not shared.open:
                    await asyncio.sleep(0.01)
                while shared.open:
                    await asyncio.sleep(0.02)
            client.setblocking(True)
            assert client.recv(20).startswith(b"HTTP/1.1 400")


async def test_the_log_says_that_a_client_is_too_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with listening(tmp_path) as (listener, _, context):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for _ in range(3):
            assert not await is_served(port_of(listener), context)
    assert caplog.text.count("it speaks TLS 1.2 or older, and TLS 1.3 is needed") == 1


async def test_connections_have_their_place_before_handshakes(tmp_path: Path) -> None:
    """Those that shook hands stay; where all places are theirs, a newcomer has none."""
    async with listening(tmp_path, most=3) as (listener, shared, context):
        port = port_of(listener)
        kept = [await asyncio.open_connection("localhost", port, ssl=context) for _ in range(3)]
        async with asyncio.timeout(5):
            while len(shared.connections) < 3:
                await asyncio.sleep(0.01)
        with silent(port) as client:
            await until_closed([client])
        assert not await is_served(port, context)
        assert shared.open == 3
        reader, writer = kept[0]
        writer.write(REQUEST)
        assert (await reader.readuntil(b"\r\n\r\nx")).startswith(b"HTTP/1.1 200")
        for _, each in kept:
            each.transport.abort()
        async with asyncio.timeout(5):
            while shared.open:
                await asyncio.sleep(0.02)
        assert await is_served(port, context)


async def test_a_client_that_leaves_within_its_handshake_frees_its_place(tmp_path: Path) -> None:
    async with listening(tmp_path) as (listener, shared, _):
        clients = [silent(port_of(listener)) for _ in range(10)]
        async with asyncio.timeout(5):
            while shared.open < 10:
                await asyncio.sleep(0.01)
            for client in clients:
                client.close()
            while shared.open:
                await asyncio.sleep(0.01)


async def test_a_stop_does_not_wait_for_handshakes(tmp_path: Path) -> None:
    async with listening(tmp_path) as (listener, shared, _):
        with silent(port_of(listener)) as client:
            async with asyncio.timeout(5):
                while not shared.open:
                    await asyncio.sleep(0.01)
                await listener.stop(1)
            await until_closed([client])


@contextmanager
def no_more_files() -> Iterator[None]:
    """For a while this process may open no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_files_the_newcomers_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(tmp_path) as (listener, shared, context):
        with silent(port_of(listener)):
            with no_more_files():
                await asyncio.sleep(0.1)
                assert shared.open == 0
            assert "no connection can be accepted: Too many open files" in caplog.text
            assert caplog.text.count("no connection can be accepted") == 1
            assert await is_served(port_of(listener), context)


async def test_a_gateway_counts_handshakes_among_its_connections(tmp_path: Path) -> None:
    toml = '[gateway]\nlisten = "127.0.0.1:0"\n[tls]\nself_signed = true\n'
    async with FakeEngine() as engine, gateway(tmp_path, engine, toml=toml) as talk:
        with silent(talk.client.base_url.port or 0):
            async with asyncio.timeout(5):
                while (
                    "inhouse_client_connections 1.0" not in (await talk.admin.get("/metrics")).text
                ):
                    await asyncio.sleep(0.02)
