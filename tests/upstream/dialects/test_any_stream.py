"""Any stream, however it was harmed and wherever its bytes were cut: one verdict, and no false end.

The streams are those that engines sent, with pieces taken out, put in, said twice or spoilt.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.upstream.dialects.test_openai_anthropic_streams import ask
from tests.upstream.dialects.test_translate_streams import reader as translating

from inhouse.domain import Operation
from inhouse.upstream.dialects.anthropic_read import AnthropicStream
from inhouse.upstream.dialects.ollama import LineReader
from inhouse.upstream.dialects.openai_read import OpenAIStream, ResponseStream
from inhouse.upstream.dialects.shapes import Reader

DATA = Path(__file__).parent / "data"
DONE = rb"data: ?\[DONE\]"
READERS: dict[str, tuple[str, Callable[[], Reader], bytes]] = {
    # what the engine sent, who reads it, and what the last event of the engine holds
    "chat": ("vllm_chat.sse", lambda: OpenAIStream(ask()), DONE),
    "two choices": ("llamacpp_chat_n2.sse", lambda: OpenAIStream(ask()), DONE),
    "completion": ("llamacpp_completion.sse", lambda: OpenAIStream(ask()), DONE),
    "response": (
        "vllm_response.sse",
        lambda: ResponseStream(ask()),
        rb'"type": ?"response\.(completed|incomplete)"',
    ),
    "message": ("vllm_message.sse", lambda: AnthropicStream(ask()), rb'"type": ?"message_stop"'),
    "Ollama chat": ("ollama_chat.ndjson", lambda: LineReader("m"), rb'"done": ?true'),
    "Ollama generate": ("ollama_generate.ndjson", lambda: LineReader("m"), rb'"done": ?true'),
    "message of a chat": ("translate_tools.sse", lambda: translating(Operation.MESSAGE), DONE),
    "response of a chat": ("llamacpp_chat.sse", lambda: translating(Operation.RESPONSE), DONE),
    "Ollama chat of a chat": (
        "translate_tools.sse",
        lambda: translating(Operation.OLLAMA_CHAT),
        DONE,
    ),
}
FRAGMENTS = [
    b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\0", b"}", b'"', b": ping\n\n", b"data: ",
    b"data: [DONE]\n\n", b"event: message_stop\n", b'data: {"type":"message_stop"}\n\n',
    b'{"done":true}\n', b'{"done":true,"done_reason":"stop"}\n', b"junk\n\n", b"\xff", b"[" * 3000,
    b'data: {"error":{"message":"x"}}\n\n', b'{"error":"x"}\n', b"event: error\n",
]  # fmt: skip
unhurried = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
each_reader = pytest.mark.parametrize("name", READERS)


@st.composite
def harm(draw: st.DrawFn) -> tuple[str, float, float, bytes]:
    """What is done to a stream, from where to where, as parts of its length."""
    what = draw(st.sampled_from(["cut", "take out", "put in", "say twice", "spoil"]))
    places = sorted(draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    return what, places[0], places[1], draw(st.sampled_from(FRAGMENTS))


def harmed(stream: bytes, harms: list[tuple[str, float, float, bytes]]) -> bytes:
    for what, begin, end, fragment in harms:
        start, stop = int(begin * len(stream)), int(end * len(stream))
        stream = {
            "cut": stream[:stop],
            "take out": stream[:start] + stream[stop:],
            "put in": stream[:start] + fragment + stream[start:],
            "say twice": stream[:stop] + stream[start:],
            "spoil": stream[:start] + fragment[:1] + stream[start + 1 :],
        }[what]
    return stream


def read(made: Reader, pieces: list[bytes], *, end: bool = True) -> tuple[bytes, Reader]:
    out = b""
    for piece in pieces:
        before = made.complete or made.fault is not None
        said = made.feed(piece)
        assert not (before and said), "something was released behind the end or a fault"
        out += said
    if end:
        out += made.finish()
        assert made.complete is not (made.fault is not None), "one of the two, never both"
    assert made.complete or not made.ending
    return out, made


def cut_at(stream: bytes, cuts: list[int]) -> list[bytes]:
    borders = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(borders)]


@each_reader
@unhurried
@given(st.lists(harm(), max_size=3), st.lists(st.integers(0, 1 << 16), max_size=40))
@example([("put in", 1.0, 1.0, b"junk\n\n")], [])
@example([("put in", 1.0, 1.0, b"\r")], [])
@example([("put in", 1.0, 1.0, b"\r\n\r\n"), ("put in", 1.0, 1.0, b"\r")], [])
def test_the_verdict_is_that_of_the_whole_wherever_it_is_cut(
    name: str, harms: list[tuple[str, float, float, bytes]], cuts: list[int]
) -> None:
    file, make, _ = READERS[name]
    stream = harmed((DATA / file).read_bytes(), harms)
    out, whole = read(make(), [stream])
    for pieces in (cut_at(stream, cuts), [bytes([byte]) for byte in stream]):
        said, made = read(make(), pieces)
        assert (made.complete, made.fault) == (whole.complete, whole.fault)
        assert (said, made.ending) == (out, whole.ending)
        assert (made.usage, made.finish_reason) == (whole.usage, whole.finish_reason)


@each_reader
@unhurried
@given(st.lists(harm(), min_size=1, max_size=3))
def test_nothing_is_complete_before_its_last_event_is_there(
    name: str, harms: list[tuple[str, float, float, bytes]]
) -> None:
    file, make, terminal = READERS[name]
    stream = harmed((DATA / file).read_bytes(), harms)
    made, at = make(), 0
    while at < len(stream) and not made.complete:
        at += 1
        read(made, [stream[at - 1 : at]], end=False)
    if not made.complete:
        made.finish()
    if made.complete:
        lines = file.endswith(".ndjson")
        ended = stream[:at].rstrip(b"\r\n")
        last = re.split(rb"\n" if lines else rb"\n\r?\n", ended)[-1]
        assert re.search(terminal, last), last
        assert lines or re.search(rb"\n\r?\n$", stream[:at]), "its blank line was not there"


@each_reader
def test_a_spoilt_byte_changes_nothing_or_is_a_fault(name: str) -> None:
    file, make, _ = READERS[name]
    stream = (DATA / file).read_bytes()
    out, sound = read(make(), [stream])
    assert sound.complete
    for at in range(len(stream)):
        said, made = read(make(), [stream[:at] + b"\0" + stream[at + 1 :]])
        if made.complete:
            assert (said, made.ending) == (out, sound.ending), at
        else:
            assert out.startswith(said), at
