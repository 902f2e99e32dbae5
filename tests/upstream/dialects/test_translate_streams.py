"""Translated streams: cut anywhere they are the same, broken off anywhere they are not complete."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation, Usage
from inhouse.upstream.dialects.shapes import Reader
from inhouse.upstream.dialects.table import parse, render

DATA = Path(__file__).parent / "data"
ALIAS = "alias"
MESSAGES = [{"role": "user", "content": "hi"}]

BODIES: dict[Operation, dict[str, object]] = {
    Operation.OLLAMA_CHAT: {"messages": MESSAGES},
    Operation.OLLAMA_GENERATE: {"prompt": "hi"},
    Operation.MESSAGE: {"messages": MESSAGES, "max_tokens": 100, "stream": True},
    Operation.RESPONSE: {"input": "hi", "stream": True},
}
ENDINGS = {
    Operation.OLLAMA_CHAT: (b'"done":true',),
    Operation.OLLAMA_GENERATE: (b'"done":true',),
    Operation.MESSAGE: (b"event: message_stop",),
    Operation.RESPONSE: (b"event: response.completed", b"event: response.incomplete"),
}
STREAMS = {
    "llamacpp_chat.sse": (None, None, "length"),
    "translate_tools.sse": (31, 44, "tool_calls"),
    "llamacpp_completion.sse": (2, 8, "length"),
}
"""Prompt tokens, completion tokens, finish reason: as the engine says them."""

each_operation = pytest.mark.parametrize("operation", BODIES)
each_stream = pytest.mark.parametrize("name", STREAMS)


def reader(operation: Operation) -> Reader:
    sent = json.dumps({"model": ALIAS} | BODIES[operation]).encode()
    ask = parse(operation, sent, LimitsSection(), frozenset())
    return render(ask, EngineKind.OPENAI, "served", 100, lambda: 1_795_519_037.25).reader


def translated(operation: Operation, *pieces: bytes) -> tuple[bytes, Reader]:
    made = reader(operation)
    return b"".join([made.feed(piece) for piece in pieces]), made


def says_end(operation: Operation, said: bytes) -> bool:
    return any(ending in said for ending in ENDINGS[operation])


def blocks(stream: bytes) -> list[bytes]:
    return [block + b"\n\n" for block in stream.split(b"\n\n")[:-1]]


@each_operation
@each_stream
def test_a_proper_end_is_told(operation: Operation, name: str) -> None:
    prompt, completion, reason = STREAMS[name]
    out, made = translated(operation, (DATA / name).read_bytes())
    assert (made.complete, made.fault) == (True, None)
    assert made.usage == Usage(prompt, completion)
    assert made.finish_reason == reason
    assert says_end(operation, made.ending)
    assert not says_end(operation, out)
    assert b"served" not in out + made.ending, "the client sees the alias alone"
    assert b"alias" in out


@each_operation
@each_stream
def test_every_two_piece_cut_gives_the_same(operation: Operation, name: str) -> None:
    stream = (DATA / name).read_bytes()
    whole, first = translated(operation, stream)
    for cut in range(len(stream) + 1):
        out, made = translated(operation, stream[:cut], stream[cut:])
        assert out == whole, cut
        assert made.ending == first.ending


@each_operation
@each_stream
def test_no_truncation_is_ever_complete(operation: Operation, name: str) -> None:
    """One that the engine's HTTP message ends as if all were well is a fault besides."""
    stream = (DATA / name).read_bytes()
    whole, _ = translated(operation, stream)
    for cut in range(len(stream) - 1):
        out, made = translated(operation, stream[:cut])
        assert (made.complete, made.ending) == (False, b""), cut
        assert whole.startswith(out)
        assert not says_end(operation, out)
        assert made.finish() == b""
        assert made.fault
        assert (made.complete, made.ending) == (False, b"")


@each_operation
@each_stream
def test_what_goes_out_is_whole_events(operation: Operation, name: str) -> None:
    made = reader(operation)
    end = b"\n" if b"ndjson" in made.content_type else b"\n\n"
    for at in range(len(stream := (DATA / name).read_bytes())):
        if out := made.feed(stream[at : at + 1]):
            assert out.endswith(end)


FAULTS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    (
        "error",
        lambda block: b'data: {"error":{"message":"out of memory"}}\n\n',
        "reported an error",
    ),
    ("garbage", lambda block: b"data: nonsense\n\n", "no OpenAI answer"),
    ("cut event", lambda block: block[: len(block) // 2] + b"\n\n", "no OpenAI answer"),
    ("aborted", lambda block: b'data: {"choices":[{"finish_reason":"abort"}]}\n\n', "abort"),
    ("early end", lambda block: b"data: [DONE]\n\n", "without saying why"),
]


@each_operation
@pytest.mark.parametrize(
    ("fault", "words"), [(made, words) for _, made, words in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_nothing_goes_out_after_a_fault(
    operation: Operation, fault: Callable[[bytes], bytes], words: str
) -> None:
    stream = blocks((DATA / "translate_tools.sse").read_bytes())
    for place in range(len(stream) - 3):  # after the finish reason [DONE] is no fault
        before, _ = translated(operation, *stream[:place])
        broken = [*stream[:place], fault(stream[place]), *stream[place:]]
        out, made = translated(operation, *broken)
        assert out == before, place
        assert made.fault
        assert words in made.fault
        made.finish()
        assert (made.complete, made.ending) == (False, b"")


@each_operation
def test_a_call_whose_arguments_are_no_json_is_a_fault(operation: Operation) -> None:
    stream = (DATA / "translate_tools.sse").read_bytes().replace(b'is\\"}', b'is\\"')
    _, made = translated(operation, stream)
    if operation is Operation.RESPONSE:
        assert made.complete, "OpenAI hands arguments on as the text they are"
    else:
        assert made.fault == "called the tool 'get_weather' with arguments that are no JSON object"
        assert not made.complete


@each_operation
def test_a_call_cut_off_by_the_bound_is_a_proper_end(operation: Operation) -> None:
    """The answer is as long as the client allowed: it ended, in the middle of a call."""
    stream = (DATA / "translate_tools.sse").read_bytes()
    stream = stream.replace(b'\\"days\\": 2}', b'\\"da').replace(b'"tool_calls"}', b'"length"}')
    _, made = translated(operation, stream)
    assert (made.complete, made.fault, made.finish_reason) == (True, None, "length")
