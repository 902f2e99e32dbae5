"""Engines that speak HTTP their own way, hang up, dawdle, or send what nobody asked for."""

import asyncio
import json
import random
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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

from inhouse.errors import EngineError
from inhouse.gateway import local_ca
from inhouse.upstream.client import EngineClient
from inhouse.upstream.connection import EngineUnreachable
from inhouse.upstream.fake_engine import FakeEngine, Faults

CHAT = "/v1/chat/completions"
SOON = """[upstream]
probe_interval_s = 0.2
stall_timeout_s = 0.5
first_byte_timeout_s = 0.5
[limits]
requests_per_minute = 0
"""
GOOD = stream(delta("hello"), delta(" world"))


async def settle(talk: Talk) -> None:
    """Wait until nothing is counted as running, waiting or outstanding."""
    for _ in range(200):
        metrics = (await talk.admin.get("/metrics")).text.splitlines()
        counts = [line for line in metrics if line.startswith("inhouse_requests_")]
        busy = [line for line in counts if "ing{" in line and not line.endswith(" 0.0")]
        models = (await talk.admin.get("/readyz")).json()["models"]
        out = sum(engine["outstanding"] for engines in models.values() for engine in engines)
        if not busy and not out:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"something is left: {busy}, {out} outstanding")


WIRES: dict[str, tuple[bytes, bool]] = {
    "a few 1xx": (b"HTTP/1.1 103 E\r\nlink: a\r\n\r\n" * 3 + chunked(GOOD), True),
    "a flood of 1xx": (b"HTTP/1.1 102 P\r\n\r\n" * 10_000 + chunked(GOOD), False),
    "101": (b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", False),
    "an endless header": (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000, False),
    "endless headers": (b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 50_000, False),
    "more bytes promised": (b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n" + GOOD, True),
    "fewer bytes promised": (
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(GOOD) - 10) + GOOD,
        False,
    ),
    "an error with 200": (whole(b'{"error":{"message":"x"}}'), False),
    "a second answer": (chunked(GOOD) + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nEVIL", True),
    "garbage behind": (chunked(GOOD) + b"garbage", True),
    "CR LF": (chunked(stream(delta("hello"), delta(" world"), end=b"\r\n\r\n")), True),
    "comments": (chunked(b": ping\n\n", GOOD, b": bye\n\n"), True),
    "204": (b"HTTP/1.1 204 N\r\n\r\n", False),
    "304": (b"HTTP/1.1 304 N\r\n\r\n", False),
    "999": (b"HTTP/1.1 999 N\r\ncontent-length: 0\r\n\r\n", False),
    "a bad chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", False),
    "gzip": (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", False),
    "events behind the end": (chunked(GOOD + event(delta("EVIL"))), True),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 3\n\nabc", False),
    "10 MB on one line": (chunked(b"data: " + b"x" * 10_000_000), False),
}


@pytest.mark.parametrize("name", WIRES)
async def test_what_an_engine_may_send(tmp_path: Path, name: str) -> None:
    wire, good = WIRES[name]
    async with RawEngine(says(wire)) as engine, gateway(tmp_path, engine, toml=SOON) as talk:
        for _ in range(3):
            answer = await talk.post(CHAT, stream=True)
            row = await talk.audited_last()
            assert (b"[DONE]" in answer.content) == good
            assert (row.outcome == "answered") == good
            assert b"EVIL" not in answer.content
        await settle(talk)
        assert talk.verify() == []


async def test_a_switch_of_protocols_is_told_in_one_sentence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with RawEngine(says(WIRES["101"][0])) as engine, gateway(tmp_path, engine) as talk:
        assert (await talk.post(CHAT)).status_code == 502
    assert "switched to a protocol that nobody asked for" in caplog.text
    assert [each.message for each in caplog.records if each.exc_info] == []


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 200 OK\r\nconnection: close\r\n"]
)
@pytest.mark.parametrize("cut", [0, 20])
async def test_an_answer_that_ends_with_its_connection(
    tmp_path: Path, head: bytes, cut: int
) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(head + b"\r\n" + GOOD[: len(GOOD) - cut])
        writer.close()

    async with RawEngine(hang_up) as engine, gateway(tmp_path, engine, toml=SOON) as talk:
        answer = await talk.post(CHAT, stream=True)
        assert (b"[DONE]" in answer.content) == (cut == 0)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
async def test_a_stream_in_two_pieces_is_the_same_stream(tmp_path: Path, end: bytes) -> None:
    wire, cut = b": c\n\n" + stream(delta("héllo"), delta(" w"), end=end), 0

    async def in_two(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.write(begin())
        for piece in (wire[:cut], wire[cut:]):
            if piece:
                writer.write(chunk(piece))
                await asyncio.sleep(0.001)
        writer.write(b"0\r\n\r\n")

    async with RawEngine(in_two) as engine, gateway(tmp_path, engine, toml=SOON) as talk:
        for cut in range(len(wire)):
            assert (await talk.post(CHAT, stream=True)).content == wire, f"cut at {cut}"


async def test_silence_ends_at_its_deadline_and_says_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter, __: bytes) -> None:
        await reader.read(1)

    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: bytes) -> None:
        writer.write(begin() + chunk(event(delta("a"))))
        await reader.read(1)

    for script, status, sentence in (
        (silent, 502, "did not begin to answer for 0.5 s"),
        (stalls, 200, "stopped within its answer for 0.5 s"),
    ):
        directory = tmp_path / script.__name__
        directory.mkdir()
        async with RawEngine(script) as engine, gateway(directory, engine, toml=SOON) as talk:
            answer = await talk.post(CHAT, stream=True)
            assert answer.status_code == status
            assert b"[DONE]" not in answer.content
        assert sentence in caplog.text


async def test_headers_that_trickle_do_not_move_the_deadline(tmp_path: Path) -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        for _number in range(100):
            writer.write(b"HTTP/1.1 102 P\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with RawEngine(trickle) as engine, gateway(tmp_path, engine, toml=SOON) as talk:
        async with asyncio.timeout(3):
            assert (await talk.post(CHAT)).status_code == 502


async def test_an_engine_that_is_busy_is_not_taken_for_dead(tmp_path: Path) -> None:
    """One slot and a long answer: a probe waits behind it, as any request does at llama.cpp."""
    slot = asyncio.Lock()

    async def slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        async with slot:
            writer.write(begin())
            for _number in range(20):
                writer.write(chunk(event(delta("x"))))
                await asyncio.sleep(0.1)
            writer.write(chunk(stream()) + b"0\r\n\r\n")

    async def probe(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        async with slot:
            writer.write(whole(chat()))

    toml = "[upstream]\nprobe_interval_s = 0.1\nprobe_timeout_s = 0.2\n"
    async with RawEngine(slowly, probe) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        first = asyncio.create_task(talk.post(CHAT, stream=True))
        await asyncio.sleep(1.5)
        assert (await talk.admin.get("/readyz")).status_code == 200
        assert b"[DONE]" in (await first).content


@pytest.mark.parametrize(
    "wire",
    [
        whole(b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
        b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
        whole(b'"' + b" " * 5_000_000 + b'"'),
        whole(b"\xff\xfe"),
    ],
    ids=["deep", "101", "large", "bytes"],
)
async def test_a_bad_answer_to_a_probe_is_followed_by_another_probe(
    tmp_path: Path, wire: bytes
) -> None:
    answers = iter([says(wire)])
    good = says(whole(chat()))

    async def probe(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        await next(answers, good)(reader, writer, body)

    async with RawEngine(good, probe) as engine, gateway(tmp_path, engine, wait=False) as talk:
        async with asyncio.timeout(5):
            while (await talk.admin.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.02)


async def test_a_probe_takes_a_bounded_answer(tmp_path: Path) -> None:
    sent = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        nonlocal sent
        writer.write(begin())
        while sent < 100_000_000:
            writer.write(chunk(b" " * 65_536))
            sent += 65_536
            await writer.drain()

    async with RawEngine(endless, endless) as engine, gateway(tmp_path, engine, wait=False):
        await asyncio.sleep(1)
        assert sent < 50_000_000


async def test_the_metric_of_an_engine_follows_live_failures(tmp_path: Path) -> None:
    probes = iter([says(whole(chat()))])

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: bytes) -> None:
        writer.close()

    async def probe(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        await next(probes, hang_up)(reader, writer, body)

    toml = "[upstream]\nprobe_interval_s = 60\nfall = 2\n"
    async with RawEngine(hang_up, probe) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        for _ in range(2):
            assert (await talk.post(CHAT)).status_code in {502, 503}
        metrics = (await talk.admin.get("/metrics")).text
        assert f'inhouse_engine_up{{engine="m@127.0.0.1:{engine.port}"}} 0.0' in metrics


async def test_what_one_engine_does_not_speak_is_asked_of_another(tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=2)) as first, FakeEngine(Faults(tokens=2)) as second:
        engines = [f"openai://127.0.0.1:{first.port}/m", f"vllm://127.0.0.1:{second.port}/m"]
        toml = f"[models.m]\nengines = {json.dumps(engines)}\n"
        async with gateway(tmp_path, toml=toml) as talk:
            for _ in range(4):
                answer = await talk.post("/v1/responses", top_logprobs=2)
                assert answer.status_code == 200, answer.text


@contextmanager
def resetting() -> Iterator[int]:
    """A port whose listener resets whatever it accepts."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def accept() -> None:
            while not stop.is_set():
                try:
                    accepted, _ = listening.accept()
                except OSError:
                    continue
                linger = struct.pack("ii", 1, 0)
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                accepted.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            stop.set()
            thread.join()


async def test_an_engine_that_resets_what_it_accepts_is_unreachable() -> None:
    with resetting() as port:
        for _ in range(300):
            client = EngineClient(f"http://127.0.0.1:{port}", 2)
            with pytest.raises(EngineError) as refused:
                await client.send(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", b"", 2, 2)
            assert isinstance(refused.value, EngineUnreachable)


async def why_unreachable(port: int) -> str:
    client = EngineClient(f"https://127.0.0.1:{port}", 5)
    with pytest.raises(EngineUnreachable) as unreachable:
        await client.send(b"GET / HTTP/1.1\r\n\r\n", b"", 5, 5)
    return str(unreachable.value).partition(" cannot be reached: ")[2]


async def test_an_engine_that_speaks_no_tls_is_told_to_be_so(tmp_path: Path) -> None:
    async def bad_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read(1000)
        writer.close()

    async with FakeEngine() as engine:
        assert await why_unreachable(engine.port) == (
            "it closed the connection within the TLS handshake; does it speak TLS there?"
        )
    async with await asyncio.start_server(bad_request, "127.0.0.1", 0) as server:
        told = await why_unreachable(server.sockets[0].getsockname()[1])
        assert told == "it does not speak TLS there, as https:// asks"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*local_ca.ensure(tmp_path, "127.0.0.1"))
    async with await asyncio.start_server(bad_request, "127.0.0.1", 0, ssl=context) as server:
        told = await why_unreachable(server.sockets[0].getsockname()[1])
        assert told == (
            "its certificate is not trusted: self-signed certificate in certificate chain"
        )


async def test_no_answer_reaches_another_client(tmp_path: Path) -> None:
    """Clients leave at random, connections to the engine are used again; each answer is one's
    own."""
    chance = random.Random(3)

    async def echo(_: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        text = json.loads(body)["messages"][0]["content"]
        wire = chunked(stream(delta(text), delta(text)))
        cut = chance.randrange(len(wire))
        writer.write(wire[:cut])
        await asyncio.sleep(chance.random() * 0.004)
        writer.write(wire[cut:])

    toml = "[limits]\nrequests_per_minute = 0\nconcurrent_requests = 0\nqueue_length = 500\n"
    async with RawEngine(echo) as engine, gateway(tmp_path, engine, toml=toml) as talk:

        async def one(number: int) -> bool:
            message = [{"role": "user", "content": f"<{number}>"}]
            reader, writer = await talk.raw(talk.request(CHAT, stream=True, messages=message))
            if chance.random() < 0.4:
                await asyncio.sleep(chance.random() * 0.02)
                writer.transport.abort()
                return True
            answer = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
            writer.close()
            return answer.count(b"<%d>" % number) == 2 and answer.count(b"<") == 2

        for batch in range(10):
            right = await asyncio.gather(*(one(batch * 100 + number) for number in range(20)))
            assert all(right)
        await settle(talk)
        assert talk.verify() == []
