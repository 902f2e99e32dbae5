"""What an engine says, byte by byte as it says it, and what of that goes out."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.harness import Talk, gateway
from tests.gateway.raw_engine import RawEngine, says, whole

from inhouse.audit.record import VerdictNote
from inhouse.dlp.screen import Screener
from inhouse.dlp.texts import scan
from inhouse.errors import Refusal
from inhouse.gateway.screen import ScreenedAnswer
from inhouse.upstream.fake_engine import FakeEngine

SCREENER = Screener()
CARD = "4111 1111 1111 1111"
KEY = "AKIAIOSFODNN7EXAMPLE"


def said(delta: dict[str, Any], index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def content(text: str, index: int = 0) -> dict[str, Any]:
    return said({"content": text}, index)


def call(index: int, arguments: str) -> dict[str, Any]:
    return said({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})


def stream(*events: dict[str, Any], end: bytes = b"\n\n") -> bytes:
    return b"".join(b"data: %b%b" % (json.dumps(event).encode(), end) for event in events)


def through(pieces: list[bytes], *, block: bool = True) -> tuple[bytes, list[VerdictNote]]:
    """What went out of a stream before it ended or was ended, and what was noted."""
    gate = ScreenedAnswer(SCREENER, lambda _rule, _place: None, block=block)
    out = b""
    with contextlib.suppress(Refusal):
        for piece in pieces:
            out += gate.pass_on(piece)
        out += gate.rest(b"data: [DONE]\n\n")
    return out, gate.verdicts


STREAMS = {
    "plain": stream(content("card 4111 1111"), content(" 1111 1111 ok")),
    "crlf": stream(content("card 4111 1111"), content(" 1111 1111 ok"), end=b"\r\n\r\n"),
    "thought before it": stream(said({"reasoning": "it is"}), content(CARD), content(" ok")),
    "choices": stream(content("4111 1111 "), content("hello", 1), content("1111 1111 ok")),
    "calls": stream(call(0, '{"c":"4111 1111 '), call(1, '{"x":'), call(0, '1111 1111"}')),
    "escapes": stream(call(0, '{"c":"4111 \\u003'), call(0, '1111 1111 1111"}')),
    "name": stream(said({"tool_calls": [{"index": 0, "function": {"name": KEY}}]})),
    "expiry": stream(content(f"{CARD} 12/27")),
    "lines": b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"%b"}}]}\n\n' % KEY.encode(),
    "brace": b": {\n" + stream(content(f"card {CARD} ok")),
    "in a comment": b": %b\n" % KEY.encode() + stream(content("ok")),
    "at the end": stream(content(f"card {CARD}")),
    "ollama": b'{"message":{"content":"4111 1111"}}\n{"message":{"content":" 1111 1111"}}\n',
    "ollama's call": json.dumps(
        {"message": {"tool_calls": [{"function": {"arguments": {"n": 4111111111111111}}}]}}
    ).encode(),
}


@pytest.mark.parametrize("wire", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("size", [0, 1, 2])
def test_streams(wire: bytes, size: int) -> None:
    pieces = [wire] if size == 0 else list(grouped(wire, size))
    out, verdicts = through(pieces)
    assert len({verdict.rule for verdict in verdicts}) == 1
    assert out == wire[: len(out)]
    assert b"4" not in out
    assert b"AKIA" not in out
    noted, same = through(pieces, block=False)
    assert noted == wire
    assert {verdict.rule for verdict in same} == {verdict.rule for verdict in verdicts}


def grouped(wire: bytes, size: int) -> Iterator[bytes]:
    """So many events at a time."""
    end = b"\r\n\r\n" if b"\r" in wire else b"\n" if wire.startswith(b"{") else b"\n\n"
    events = [event + end for event in wire.removesuffix(end).split(end)]
    for start in range(0, len(events), size):
        piece = b"".join(events[start : start + size])
        yield piece if wire.find(piece) >= 0 else piece.removesuffix(end)


UNREADABLE = [
    b'data: {"created":1e999,"choices":[{"delta":{"content":"hi"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"hi \xff"}}]}\n\n',
    b"data: {\n\n",
]


@pytest.mark.parametrize("event", UNREADABLE)
async def test_what_cannot_be_looked_at_does_not_go_out(event: bytes) -> None:
    out, verdicts = through([stream(content("a")), event, stream(content("b"))])
    assert out == stream(content("a"))
    assert [verdict.rule for verdict in verdicts] == ["unreadable"]
    out, verdicts = through([event, event], block=False)
    assert out == event * 2
    assert [verdict.rule for verdict in verdicts] == ["unreadable"]
    gate = ScreenedAnswer(SCREENER, lambda _rule, _place: None, block=True)
    with pytest.raises(Refusal, match="cannot be looked at"):
        await gate.whole(event[6:])


def test_comments_are_not_held_and_do_not_go_out() -> None:
    comment = b": " + b"x" * 65_000 + b"\n\n"
    out, verdicts = through([stream(content("4")), *[comment] * 100, stream(content(" ok"))])
    assert out == stream(content("4"), content(" ok"))
    assert verdicts == []
    assert through([comment], block=False) == (comment, [])


WHOLE: list[dict[str, Any]] = [
    {"choices": [{"message": {"reasoning_content": "so it is", "content": CARD}}]},
    {"choices": [{"message": {"content": "Hello"}}, {"message": {"content": CARD}}]},
    {"content": [{"type": "tool_use", "id": "t", "name": "pay", "input": {"card": CARD}}]},
    {"content": [{"type": "tool_use", "id": "t", "name": "pay", "input": 4111111111111111}]},
    {"choices": [{"message": {"tool_calls": [{"function": {"arguments": f'{{"a":"{CARD}"}}'}}]}}]},
    {"choices": [{"message": {"tool_calls": [{"function": {"arguments": r'{"\u0034111 1111 '
                                                                         '1111 1111":1}'}}]}}]},
    {"output": [{"type": "custom_tool_call", "name": "f", "input": "card " + CARD}]},
    {"choices": [{"message": {"tool_calls": [{"function": {"name": KEY, "arguments": "{}"}}]}}]},
    {"message": {"content": "", "tool_calls": [{"function": {"arguments": {"key": KEY}}}]}},
]  # fmt: skip


@pytest.mark.parametrize("body", WHOLE)
async def test_whole_answers(body: dict[str, Any]) -> None:
    gate = ScreenedAnswer(SCREENER, lambda _rule, _place: None, block=True)
    with pytest.raises(Refusal, match=r"payment-card|aws-access-key"):
        await gate.whole(json.dumps(body).encode())


PIECES = st.lists(
    st.sampled_from([CARD, f"{KEY}", "219-09-9999", "BE68 5390 0754 7034", " EUR ", "4111 ", "sk-"])
    | st.text(st.sampled_from('a4 -"\\\\\n\u00e9\U0001f600'), max_size=6),
    max_size=8,
).map("".join)


def cut(text: str, sizes: list[int]) -> list[str]:
    places = [0, *itertools.accumulate(sizes), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


def rules(verdicts: list[VerdictNote]) -> set[str]:
    return {verdict.rule for verdict in verdicts}


@settings(max_examples=150, deadline=None)
@given(PIECES, PIECES, st.lists(st.integers(0, 9), max_size=25), st.booleans())
async def test_whole_and_streamed_answers_give_the_same_verdicts(
    text: str, value: str, sizes: list[int], ascii_only: bool
) -> None:
    arguments = json.dumps({"a": value}, ensure_ascii=ascii_only)
    message = {"content": text, "tool_calls": [{"function": {"arguments": arguments}}]}
    whole = ScreenedAnswer(SCREENER, lambda _rule, _place: None, block=False)
    await whole.whole(json.dumps({"choices": [{"message": message}]}).encode())
    pairs = itertools.zip_longest(cut(text, sizes), cut(arguments, sizes), fillvalue="")
    events = [stream(content(said), call(0, called)) for said, called in pairs]
    out, noted = through(events, block=False)
    assert out == b"".join(events)
    assert rules(noted) == rules(whole.verdicts)
    out, blocked = through(events)
    assert bool(blocked) == bool(noted)
    assert rules(blocked) <= rules(noted)
    went = [json.loads(line[6:])["choices"][0] for line in out.splitlines() if line]
    said_size = sum(len(one["delta"].get("content", "").encode()) for one in went)
    for verdict in scan(SCREENER, [text]) if "\\" not in text else ():
        assert said_size <= int(verdict.place.partition(":")[2].partition("-")[0])


@contextlib.asynccontextmanager
async def scripted(directory: Path, wire: bytes) -> AsyncIterator[Talk]:
    """A gateway that blocks, over an engine that answers with these bytes."""
    probed = json.dumps(
        {"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {}}]}
    ).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
                await reader.readexactly(int(length))
                if b"x-request-id: probe" in head:
                    head = b"content-type: application/json\r\ncontent-length: %d" % len(probed)
                    writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, probed))
                else:
                    head = b"content-type: text/event-stream\r\ncontent-length: %d" % len(wire)
                    writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, wire))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    engine = f"openai://127.0.0.1:{server.sockets[0].getsockname()[1]}/m"
    toml = f'[dlp]\nanswer = "block"\n[models.m]\nengines = ["{engine}"]\n'
    async with server, gateway(directory, toml=toml) as talk:
        yield talk


END = stream(said({}, 0, "stop"), said({}, 1, "stop")) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("name", ["crlf", "choices", "lines", "brace", "escapes"])
async def test_nothing_gets_past_a_whole_gateway(name: str, tmp_path: Path) -> None:
    async with scripted(tmp_path, STREAMS[name] + END) as talk:
        answer = await talk.post("/v1/chat/completions", stream=True, n=2)
        assert b"111" not in answer.content.replace(answer.headers["x-request-id"].encode(), b"")
        assert b"AKIA" not in answer.content
        assert b"[DONE]" not in answer.content
        assert b"content_blocked" in answer.content
        row = await talk.audited_last()
        assert len(row.verdicts) == 1


async def test_a_prompt_full_of_finds_holds_nobody_up(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "219-09-9999 " * 600_000}]
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        turns, done = 0, False

        async def watch() -> None:
            nonlocal turns
            while not done:
                turns += 1
                await asyncio.sleep(0)

        watcher = asyncio.create_task(watch())
        answer = await talk.post("/v1/chat/completions", messages=messages)
        done = True
        await watcher
        assert answer.status_code == 200
        assert turns > 100
        row = await talk.audited_last()
        assert 1 < len(row.verdicts) < 30


async def test_what_an_ending_completes_is_not_lost(tmp_path: Path) -> None:
    """A held line waits for what follows it, and what follows is the ending: both arrive."""
    lines = [
        {
            "model": "m",
            "message": {"role": "assistant", "content": "my number is 4"},
            "done": False,
        },
        {
            "model": "m",
            "message": {"role": "assistant", "content": " apples."},
            "done": True,
            "done_reason": "stop",
        },
    ]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    toml = '[dlp]\nanswer = "block"\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: %d\r\n\r\n"
    probe = b'{"model":"m","done":true,"done_reason":"stop","message":{"content":"ok"}}'
    async with (
        RawEngine(says(head % len(body) + body), says(whole(probe))) as engine,
        gateway(tmp_path, engine, kind="ollama", toml=toml) as talk,
    ):
        answer = await talk.post("/api/chat", stream=True)
        said = [json.loads(line)["message"]["content"] for line in answer.text.splitlines()]
        assert said == ["my number is 4", " apples."]
