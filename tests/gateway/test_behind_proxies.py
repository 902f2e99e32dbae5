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
from tests.gateway.test_connection import served
from tests.gateway.test_strictness import ACCEPTED, REFUSED

from inhouse.gateway.exchange import BodyTooLarge, Exchange
from inhouse.gateway.http1 import Malformed

MARK = b"x-mark"
RUNS = 1000
AT_ONCE = 20

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
    seeds = [*REFUSED.values(), *ACCEPTED.values()]
    data = bytearray(b"".join(chance.choice(seeds)[:600] for _ in range(chance.randrange(1, 4))))
    pieces = [b"\r\n", b"\n", b" ", b"\t", b"\x00", b"0", b";", b",", b":", b"chunked", b"\r\n\r\n"]
    pieces += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"GET /h HTTP/1.1\r\n"]
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


@pytest.mark.parametrize("front", ["nginx", "nginx, unbuffered", "HAProxy"])
async def test_no_request_arrives_that_the_proxy_did_not_see(tmp_path: Path, front: str) -> None:
    front_port = free_port()
    async with noting() as (port, seen):
        if front == "HAProxy":
            command = haproxy_command(tmp_path, port, front_port)
        else:
            buffering = "off" if "unbuffered" in front else "on"
            command = nginx_command(tmp_path, port, front_port, buffering)
        async with proxy(command, front_port):
            await fuzz(front_port, 11)
    assert len(seen) > RUNS / 20, "hardly anything came through: nothing was tried"
    marks = [mark for each in seen for mark in each]
    assert all(len(each) == 1 and re.fullmatch(rb"[0-9a-f-]{32,36}", each[0]) for each in seen)
    assert len(set(marks)) == len(marks)


_LINE = re.compile(
    rb"(?!CONNECT |TRACE )[!#$%&'*+\-.^_`|~0-9A-Za-z]+ "
    rb"(?:http://a(?::80)?)?/[!-\"$-~]* HTTP/1\.[01]\r\n"
)
_CHUNKED = re.compile(rb"(?:[0-9a-f]+\r\n.*?\r\n)*?0+\r\n\r\n", re.DOTALL | re.IGNORECASE)


def strictly(data: bytes) -> int:
    """How many requests a strict reader sees at most, before the first thing that is not one."""
    count = 0
    while True:
        data = data.removeprefix(b"\r\n")
        line = _LINE.match(data)
        end = data.find(b"\r\n\r\n")
        if line is None or end < 0 or re.search(rb"(?<!\r)\n|\r(?!\n)", data[: end + 4]):
            return count
        head, rest = data[line.end() : end].lower(), data[end + 4 :]
        lengths = re.findall(rb"(?:^|\r\n)content-length:[ \t]*(\d+)[ \t]*(?=\r\n|$)", head)
        count += 1
        if b"transfer-encoding" in head:
            whole = _CHUNKED.match(rest)
            if whole is None:
                return count
            rest = rest[whole.end() :]
        elif lengths:
            rest = rest[int(lengths[0]) :]
        data = rest


async def test_alone_it_hears_no_more_than_a_strict_reader() -> None:
    chance = random.Random(5)
    heard = 0
    async with noting() as (port, seen):
        for _ in range(RUNS // 2):
            data = mutated(chance)
            before = len(seen)
            await asyncio.wait_for(send_closing(port, data), 5)
            assert len(seen) - before <= strictly(data), data
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
