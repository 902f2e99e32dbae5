"""The gateway behind nginx and HAProxy, and alone: nobody hides a request from one in another.

Every request that a proxy knowingly forwards carries a mark of that proxy. One that arrives
without exactly one mark was hidden in another one's bytes. Alone, the gateway must hear no more
requests in a run of bytes than a strict reader of them does.
"""

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.gateway import strict_reference
from tests.gateway.strict_accepted import ACCEPTED
from tests.gateway.strict_case import Accepted, Refused
from tests.gateway.test_connection import served
from tests.gateway.test_strictness import REFUSED

from inhouse.gateway.exchange import BodyTooLarge, Exchange
from inhouse.gateway.http1 import Malformed

MARK = b"x-mark"
RUNS = 1000
AT_ONCE = 20
CASES: list[Refused | Accepted] = [*REFUSED, *ACCEPTED]
SEEDS = [case.wire[:600] for case in CASES]

NGINX = """
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {work}/b; proxy_temp_path {work}/p;
  fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  upstream gateway {{ server 127.0.0.1:{port}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{front};
    client_header_timeout 2s; client_body_timeout 2s; keepalive_timeout 2s;
    location / {{
      proxy_pass http://gateway; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Mark $request_id; proxy_request_buffering {buffering};
      proxy_read_timeout 2s;
    }}
  }}
}}
"""
HAPROXY = """
global
  maxconn 512
defaults
  mode http
  timeout connect 2s
  timeout client 2s
  timeout server 2s
  http-reuse always
frontend front
  bind 127.0.0.1:{front}
  http-request set-header X-Mark %[uuid()]
  default_backend gateway
backend gateway
  server one 127.0.0.1:{port}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@asynccontextmanager
async def proxy(command: list[str], front: int) -> AsyncIterator[None]:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", front)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)


def nginx_command(work: Path, port: int, front: int, buffering: str = "on") -> list[str]:
    config = work / "nginx.conf"
    config.write_text(NGINX.format(work=work, port=port, front=front, buffering=buffering))
    return ["/usr/sbin/nginx", "-p", str(work), "-c", str(config)]


def haproxy_command(work: Path, port: int, front: int) -> list[str]:
    config = work / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, front=front))
    return ["/usr/sbin/haproxy", "-db", "-f", str(config)]


def mutated(chance: random.Random) -> bytes:
    """Some cases of the corpus behind each other, with a few bytes changed."""
    data = bytearray(b"".join(chance.choice(SEEDS) for _ in range(chance.randrange(1, 4))))
    pieces = [b"\r\n", b"\n", b" ", b"\t", b"\x00", b"0", b";", b",", b":", b"chunked", b"\r\n\r\n"]
    pieces += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"GET /h HTTP/1.1\r\n"]
    pieces += [
        b"Expect: 100-continue\r\n",
        b"Connection: Content-Length\r\n",
        b"\r",
        b"\x0b",
        b";\n",
    ]
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.randrange(3)] = chance.choice(pieces)
    return bytes(data) + b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


async def send(port: int, data: bytes) -> None:
    """Send bytes, and wait until nothing more comes back."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return
    try:
        writer.write(data)
        async with asyncio.timeout(0.15):
            while await reader.read(65_536):
                pass
    except (TimeoutError, OSError):
        pass
    finally:
        writer.transport.abort()


@asynccontextmanager
async def noting() -> AsyncIterator[tuple[int, list[list[bytes]]]]:
    """A gateway's edge, and the marks of each request that reaches what is behind it."""
    seen: list[list[bytes]] = []

    async def note(exchange: Exchange) -> None:
        seen.append([value for name, value in exchange.head.fields.items() if name == MARK])
        try:
            await exchange.body(100_000)
        except (Malformed, BodyTooLarge, TimeoutError):
            exchange.respond(400, b"", b"")
            return
        exchange.respond(200, b"", b"ok")

    async with served(note, head_timeout_s=1.0, body_timeout_s=1.0) as (listener, _):
        yield int(listener.address.rpartition(":")[2]), seen


async def fuzz(front: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(RUNS // AT_ONCE):
        await asyncio.gather(*(send(front, mutated(chance)) for _ in range(AT_ONCE)))


_HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"

VEILS = (
    b"%b: %b", b"%b:%b", b"%b:\t%b", b"%b : %b", b"%b\t: %b", b"X: a\r\n %b: %b",
    b"X: a\r\n\t%b: %b", b"X: a\n%b: %b", b"X: a\r%b: %b", b"X: a\n\n%b: %b", b"%b:\r\n %b",
    b"%b:\n %b", b"%b: \x0b%b", b"%b: \x00%b", b"%b:\xa0%b", b"%b: %b\x00", b"%b: %b\r",
    b"%b: %b;a", b"%b: ,%b", b"%b: %b,", b'%b: "%b"', b"%b: +%b", b"%b: 0%b", b"%b: x%b",
    b"%b\x00: %b", b"\x00%b: %b", b"%b\r\n: %b",
)  # fmt: skip
"""Ways to write a field that one reader may see and another not."""

_BESIDE = (
    b"", b"Content-Length: 0\r\n", b"Connection: Content-Length\r\n",
    b"Connection: Transfer-Encoding\r\n", b"Expect: 100-continue\r\n",
    b"Expect: y 100-continue\r\n",
)  # fmt: skip
_CHUNKS = (
    b"0\r\n\r\n", b"0\n\r\n", b"0;\n\r\n\r\n", b"0;a\r\r\n\r\n", b"0\r\nX:", b"0x0\r\n\r\n",
    b"1\r\nZ\n0\r\n\r\n", b"1\rZ\r\n0\r\n\r\n", b"2;\nxx\r\n%x\r\n" % (len(_HIDDEN) + 7),
    b"00000000000\r\n\r\n",
)  # fmt: skip


def hidden() -> list[bytes]:
    """Requests with another one in what some readers take for their body, and others do not."""
    length = b"%d" % len(_HIDDEN)
    lengths = [(veil % (b"Content-Length", length), b"") for veil in VEILS]
    codings = [
        (veil % (b"Transfer-Encoding", b"chunked"), chunks)
        for veil in VEILS
        for chunks in _CHUNKS[: len(_CHUNKS) if veil is VEILS[0] else 1]
    ]
    return [
        b"%b / HTTP/1.1\r\nHost: a\r\n%b%b\r\n\r\n%b%b" % (method, beside, line, chunks, _HIDDEN)
        for method in (b"GET", b"HEAD", b"OPTIONS", b"POST")
        for beside in _BESIDE
        for line, chunks in (*lengths, *codings)
    ]


FRONTS = pytest.mark.parametrize("front", ["nginx", "nginx, unbuffered", "HAProxy"])


@asynccontextmanager
async def behind(front: str, work: Path, port: int) -> AsyncIterator[int]:
    front_port = free_port()
    if front == "HAProxy":
        command = haproxy_command(work, port, front_port)
    else:
        command = nginx_command(work, port, front_port, "off" if "unbuffered" in front else "on")
    async with proxy(command, front_port):
        yield front_port


def assert_all_seen(seen: list[list[bytes]]) -> None:
    """By the proxy: each with one mark, and each with its own."""
    marks = [mark for each in seen for mark in each]
    assert all(len(each) == 1 and re.fullmatch(rb"[0-9a-f-]{32,36}", each[0]) for each in seen)
    assert len(set(marks)) == len(marks)


@FRONTS
async def test_no_request_arrives_that_the_proxy_did_not_see(tmp_path: Path, front: str) -> None:
    async with noting() as (port, seen), behind(front, tmp_path, port) as front_port:
        await fuzz(front_port, 11)
    assert len(seen) > RUNS / 20, "hardly anything came through: nothing was tried"
    assert_all_seen(seen)


@FRONTS
async def test_no_hidden_request_arrives_by_a_known_way(tmp_path: Path, front: str) -> None:
    wires = hidden()
    async with noting() as (port, seen), behind(front, tmp_path, port) as front_port:
        for at in range(0, len(wires), 2 * AT_ONCE):
            await asyncio.gather(*(send(front_port, wire) for wire in wires[at : at + 2 * AT_ONCE]))
    assert len(seen) > len(wires) / 20, "hardly anything came through: nothing was tried"
    assert_all_seen(seen)


async def test_alone_it_hears_no_more_than_a_strict_reader() -> None:
    chance = random.Random(5)
    heard = 0
    async with noting() as (port, seen):
        for _ in range(RUNS // 2):
            data = mutated(chance)
            before = len(seen)
            await asyncio.wait_for(send_closing(port, data), 5)
            assert len(seen) - before <= len(strict_reference.read(data)[0]), data
            heard += len(seen) - before
    assert heard > RUNS / 20


async def send_closing(port: int, data: bytes) -> None:
    """Send bytes whose last request ends the connection, and read to the end of that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        async with asyncio.timeout(0.02):
            while await reader.read(65_536):
                pass
    except (TimeoutError, OSError):
        pass
    writer.transport.abort()
    await asyncio.sleep(0)
