"""Streams that engines sent, through their readers: cut at every byte, broken off at every byte.

The files beginning with `llamacpp` were recorded from a real engine; those with `vllm` are written
by hand after vLLM's shapes, with texts that hold the words which mean something outside of texts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from inhouse.domain import Dialect, Operation, Usage
from inhouse.upstream.dialects.anthropic_read import AnthropicStream
from inhouse.upstream.dialects.openai_read import OpenAIStream, ResponseStream
from inhouse.upstream.dialects.reading import EventReader
from inhouse.upstream.dialects.shapes import Ask

DATA = Path(__file__).parent / "data"
ENGINE = b"meta/llama-3.1-8b"


def ask(model: str = "chat", *, wants_usage: bool = False) -> Ask:
    return Ask(
        dialect=Dialect.OPENAI,
        operation=Operation.CHAT,
        model=model,
        stream=True,
        fields={},
        texts=[],
        wants_usage=wants_usage,
    )


@dataclass(frozen=True)
class Case:
    """A stream, and what is to come of it."""

    file: str
    reader: Callable[[Ask], EventReader]
    terminal: bytes  # how its last event begins
    usage: Usage
    finish_reason: str
    served_model: str = "chat"

    @property
    def stream(self) -> bytes:
        return (DATA / self.file).read_bytes()

    @property
    def end(self) -> int:
        """Where the event that ends the answer ends."""
        start = self.stream.rindex(self.terminal)
        return self.stream.index(b"\n\n", start) + 2

    @property
    def step(self) -> int:
        """Between two cuts: every byte, but for the longest streams."""
        return 1 if len(self.stream) < 7000 else 11


DONE = b"data: [DONE]"
CASES = [
    Case("llamacpp_chat_usage.sse", OpenAIStream, DONE, Usage(39, 23), "stop"),
    Case("llamacpp_chat_n2.sse", OpenAIStream, DONE, Usage(39, 6), "length"),
    Case("llamacpp_chat_tools.sse", OpenAIStream, DONE, Usage(24, 60), "length"),
    Case("llamacpp_chat.sse", OpenAIStream, DONE, Usage(), "length"),
    Case("llamacpp_chat_logprobs.sse", OpenAIStream, DONE, Usage(), "length"),
    Case("llamacpp_completion.sse", OpenAIStream, DONE, Usage(2, 8), "length"),
    Case(
        "llamacpp_response.sse",
        ResponseStream,
        b"event: response.completed",
        Usage(32, 10),
        "completed",
    ),
    Case(
        "llamacpp_message.sse", AnthropicStream, b"event: message_stop", Usage(49, 11), "end_turn"
    ),
    Case(
        "llamacpp_message_tools.sse",
        AnthropicStream,
        b"event: message_stop",
        Usage(34, 60),
        "max_tokens",
    ),
    Case("vllm_chat.sse", OpenAIStream, DONE, Usage(38, 7), "stop", ENGINE.decode()),
    Case(
        "vllm_response.sse",
        ResponseStream,
        b"event: response.incomplete",
        Usage(36, 1),
        "max_output_tokens",
        ENGINE.decode(),
    ),
    Case(
        "vllm_message.sse",
        AnthropicStream,
        b"event: message_stop\n",
        Usage(15, 7),
        "end_turn",
        ENGINE.decode(),
    ),
]
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)


def same_name(case: Case) -> EventReader:
    """A reader whose client asked by the engine's own name, and for usage."""
    return case.reader(ask(case.served_model, wants_usage=True))


@all_cases
def test_bytes_pass_unchanged_and_the_last_event_is_held_back(case: Case) -> None:
    reader = same_name(case)
    released = reader.feed(case.stream)
    assert released + reader.ending == case.stream[: case.end]
    assert reader.ending.startswith(case.terminal)
    assert reader.complete
    assert reader.fault is None
    assert reader.usage == case.usage
    assert reader.finish_reason == case.finish_reason
    assert reader.served_model == case.served_model


@all_cases
@pytest.mark.parametrize("alias", ["", "the-alias"])
def test_every_cut_gives_what_the_whole_gives(case: Case, alias: str) -> None:
    def make() -> EventReader:
        return case.reader(ask(alias or case.served_model))

    whole = make()
    expected = whole.feed(case.stream), whole.ending
    for cut in range(0, len(case.stream) + 1, case.step):
        reader = make()
        released = reader.feed(case.stream[:cut]) + reader.feed(case.stream[cut:])
        assert (released, reader.ending) == expected, cut
        assert (reader.complete, reader.fault, reader.usage) == (True, None, case.usage)


@all_cases
def test_one_byte_at_a_time(case: Case) -> None:
    reader = same_name(case)
    released = b"".join(reader.feed(bytes((byte,))) for byte in case.stream)
    assert released + reader.ending == case.stream[: case.end]


@all_cases
def test_carriage_returns_change_nothing_else(case: Case) -> None:
    stream = case.stream[: case.end].replace(b"\n", b"\r\n")
    reader = same_name(case)
    assert reader.feed(stream) + reader.ending == stream
    assert (reader.complete, reader.usage) == (True, case.usage)


@all_cases
def test_an_answer_broken_off_at_any_byte_is_never_complete(case: Case) -> None:
    for cut in range(0, case.end, case.step):
        reader = same_name(case)
        released = reader.feed(case.stream[:cut])
        assert released == case.stream[: len(released)], cut
        assert released == b"" or released.endswith(b"\n\n"), cut
        assert released + reader.finish() == released, cut
        assert not reader.complete, cut
        assert reader.ending == b"", cut
        assert reader.fault is not None, cut


@all_cases
def test_nothing_follows_the_end(case: Case) -> None:
    reader = same_name(case)
    reader.feed(case.stream)
    ending = reader.ending
    assert reader.feed(case.stream) == b""
    assert reader.finish() == b""
    assert (reader.ending, reader.complete, reader.fault) == (ending, True, None)


@all_cases
def test_an_end_without_its_reason_is_not_believed(case: Case) -> None:
    terminal = case.stream[case.stream.rindex(case.terminal) : case.end]
    reader = same_name(case)
    if case.reader is ResponseStream:
        terminal = terminal.replace(b'"status":"%b"' % b"completed", b'"status":"in_progress"')
        terminal = terminal.replace(b'"status":"%b"' % b"incomplete", b'"status":"in_progress"')
    assert reader.feed(terminal) == b""
    assert not reader.complete
    assert reader.fault is not None


OTHER_NAMES = [case for case in CASES if case.served_model == ENGINE.decode()]


@pytest.mark.parametrize("case", OTHER_NAMES, ids=lambda case: case.file)
def test_clients_see_the_alias_and_texts_keep_theirs(case: Case) -> None:
    reader = case.reader(ask('al"ias', wants_usage=True))
    out = reader.feed(case.stream) + reader.ending
    before, after = _decoded(case.stream[: case.end]), _decoded(out)
    assert before != after
    assert _with_alias(before, 'al"ias') == after
    assert reader.served_model == case.served_model


def _decoded(stream: bytes) -> list[object]:
    datas = [line[6:] for line in stream.split(b"\n") if line.startswith(b"data: {")]
    return [msgspec.json.decode(data) for data in datas]


def _with_alias(events: list[object], alias: str) -> list[object]:
    for event in events:
        assert isinstance(event, dict)
        for place in (event, event.get("response"), event.get("message")):
            if isinstance(place, dict) and "model" in place:
                place["model"] = alias
    return events


def test_an_engine_that_spaces_its_json_gets_the_alias_too() -> None:
    line = b'data: {"model": "other", "choices": [{"index": 0, "delta": {"content": "x"}}]}\n\n'
    reader = OpenAIStream(ask("alias"))
    assert _decoded(reader.feed(line)) == [
        {"model": "alias", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    ]


def test_the_usage_event_goes_only_to_who_asked() -> None:
    stream = (DATA / "llamacpp_chat_usage.sse").read_bytes()
    usage_event = next(event for event in stream.split(b"\n\n") if b'"choices":[]' in event)
    reader = OpenAIStream(ask())
    assert reader.feed(stream) + reader.ending == stream.replace(usage_event + b"\n\n", b"")
    assert reader.usage == Usage(39, 23)


def test_an_event_of_nothing_is_left_out() -> None:
    stream = (DATA / "llamacpp_completion_prompts.sse").read_bytes()
    assert stream.startswith(b"data: null\n\n")
    reader = OpenAIStream(ask())
    assert reader.feed(stream) + reader.ending == stream.removeprefix(b"data: null\n\n")
    assert (reader.complete, reader.fault, reader.finish_reason) == (True, None, "length")


def test_usage_beside_a_choice_takes_nothing_from_the_answer() -> None:
    stream = (DATA / "llamacpp_completion.sse").read_bytes()
    reader = OpenAIStream(ask())
    assert reader.feed(stream) + reader.ending == stream
    assert reader.usage == Usage(2, 8)


def test_an_error_in_the_stream_ends_it_before_the_error() -> None:
    stream = (DATA / "vllm_error.sse").read_bytes()
    for cut in range(len(stream)):
        reader = OpenAIStream(ask(ENGINE.decode()))
        released = reader.feed(stream[:cut]) + reader.feed(stream[cut:])
        assert released == stream[: stream.index(b"\n\n") + 2]
        assert not reader.complete
        assert reader.ending == b""
        assert reader.fault is not None
        assert reader.fault == "reported an error of code 500"


def test_one_choice_of_two_unfinished_is_not_complete() -> None:
    reader = OpenAIStream(ask("m"))
    for index, reason in ((0, b"null"), (1, b"null"), (1, b'"stop"')):
        reader.feed(b'data: {"choices":[{"index":%d,"finish_reason":%b}]}\n\n' % (index, reason))
    reader.feed(b"data: [DONE]\n\n")
    assert (reader.complete, reader.fault) == (
        False,
        "sent [DONE] before its answer had a finish reason",
    )


BROKEN: list[tuple[Callable[[Ask], EventReader], bytes]] = [
    (OpenAIStream, b"<html>502 Bad Gateway</html>\n\n"),
    (OpenAIStream, b"data: {\n\n"),
    (OpenAIStream, b"data: []\n\n"),
    (OpenAIStream, b"data: {}\n\n"),
    (OpenAIStream, b'data: {"choices":null}\n\n'),
    (OpenAIStream, b'data: {"choices":[{"index":"0"}]}\n\n'),
    (OpenAIStream, b'data: {"choices":[{"finish_reason":"abort"}]}\n\n'),
    (OpenAIStream, b'data: {"choices":[],"usage":{"prompt_tokens":-1}}\n\n'),
    (OpenAIStream, b'data: {"error":"out of memory"}\n\n'),
    (OpenAIStream, b'data: {"choices":[],"error":{"code":500}}\n\n'),
    (OpenAIStream, b'event: error\ndata: {"choices":[]}\n\n'),
    (OpenAIStream, b'error: {"code":500,"message":"x"}\n\n'),
    (OpenAIStream, b"data: " + b"[" * 5000 + b"\n\n"),
    (OpenAIStream, b'data: {"model":"\xff","choices":[]}\n\n'),
    (ResponseStream, b'data: {"type":"error","code":"server_error","message":"x"}\n\n'),
    (ResponseStream, b'data: {"type":"response.failed","response":{"status":"failed"}}\n\n'),
    (
        ResponseStream,
        b'data: {"type":"response.in_progress","response":{"error":{"code":"x"}}}\n\n',
    ),
    (ResponseStream, b"data: [DONE]\n\n"),
    (ResponseStream, b"data: {}\n\n"),
    (AnthropicStream, b'event: error\ndata: {"type":"error","error":{"type":"api_error"}}\n\n'),
    (AnthropicStream, b'data: {"type":"error"}\n\n'),
    (AnthropicStream, b"data: [DONE]\n\n"),
    (AnthropicStream, b"data: 7\n\n"),
    (AnthropicStream, b'event: messag\0_stop\ndata: {"type":"message_stop"}\n\n'),
    (ResponseStream, b'event: response.creat\0d\ndata: {"type":"response.created"}\n\n'),
]


@pytest.mark.parametrize(("make", "event"), BROKEN)
def test_what_is_not_of_the_dialect_is_a_fault_and_not_released(
    make: Callable[[Ask], EventReader], event: bytes
) -> None:
    reader = make(ask())
    assert reader.feed(b": comment\n\n" + event) == b": comment\n\n"
    assert reader.fault
    assert reader.feed(event) == b""
    assert (reader.complete, reader.ending) == (False, b"")


def test_an_event_without_end_is_a_fault() -> None:
    reader = OpenAIStream(ask())
    reader.feed(b"x" * 2_000_000)
    assert reader.fault == "sent an event of more than 1048576 bytes"


def test_a_fault_keeps_the_text_of_an_answer_to_itself() -> None:
    reader = OpenAIStream(ask())
    reader.feed(b'data: {"choices":[{"index":"x","delta":{"content":"secret"}}]}\n\n')
    assert reader.fault is not None
    assert "secret" not in reader.fault


def test_a_stop_sequence_is_the_reason_where_it_is_named() -> None:
    end = b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":{}}\n\n'
    true = b'{"stop_reason":"stop_sequence","stop_sequence":"e"}'
    for said in (b'{"stop_reason":"end_turn","stop_sequence":"e"}', true):
        reader = AnthropicStream(ask())
        assert reader.feed(end % said) == end % true
        assert reader.finish_reason == "stop_sequence"
    other = end % b'{"stop_reason":"end_turn","stop_sequence":null}'
    assert AnthropicStream(ask()).feed(other) == other
