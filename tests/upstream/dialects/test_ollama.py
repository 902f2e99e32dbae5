"""Ollama engines for Ollama clients: what they are sent, and when an answer of theirs is whole.

The golden answers in data/ollama_* follow Ollama's API documentation and source; none was
recorded, because no package ships the server.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import Operation, Usage
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.ollama import LineReader, OllamaErrors, VectorsWhole, Whole, render
from inhouse.upstream.dialects.ollama_parse import parse
from inhouse.upstream.dialects.shapes import Reader, Rendered
from inhouse.upstream.dialects.sse import MOST_PENDING_BYTES

DATA = Path(__file__).parent / "data"
ENGINE_MODEL, ALIAS = "llama3.2:1b", "chat"
STREAMS = ["ollama_chat.ndjson", "ollama_tools.ndjson", "ollama_generate.ndjson"]


def rendered(operation: Operation, max_tokens: int | None = 100, **body: Any) -> Rendered:
    sent = json.dumps({"model": ALIAS} | body).encode()
    return render(parse(operation, sent, LimitsSection(), ()), ENGINE_MODEL, max_tokens)


def split(name: str) -> tuple[bytes, bytes]:
    """What is released of a golden stream, and its ending, as the client should see them."""
    lines = (DATA / name).read_bytes().replace(ENGINE_MODEL.encode(), ALIAS.encode())
    *released, last = lines.splitlines(keepends=True)
    return b"".join(released), last


def test_the_engine_gets_the_clients_values_under_its_own_name() -> None:
    body = json.loads(
        rendered(
            Operation.OLLAMA_CHAT,
            messages=[{"role": "user", "content": "hi"}],
            options={"temperature": 0.5, "num_ctx": 32768, "num_predict": -1},
            keep_alive="1s",
            think=False,
        ).body
    )
    assert body == {
        "model": ENGINE_MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "options": {"temperature": 0.5, "num_predict": 100},
        "keep_alive": -1,
        "think": False,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("operation", "body", "path"),
    [
        (Operation.OLLAMA_CHAT, {"messages": [{"role": "user"}]}, "/api/chat"),
        (Operation.OLLAMA_GENERATE, {"prompt": "hi"}, "/api/generate"),
        (Operation.OLLAMA_EMBED, {"input": "hi"}, "/api/embed"),
    ],
)
def test_the_path_is_that_of_the_operation(
    operation: Operation, body: dict[str, Any], path: str
) -> None:
    assert rendered(operation, **body).path == path


def test_to_load_a_model_is_bounded_too() -> None:
    """Ollama generates nothing then; a server that only resembles it may."""
    body = json.loads(rendered(Operation.OLLAMA_GENERATE).body)
    assert body["options"] == {"num_predict": 1}
    assert body["keep_alive"] == -1


def test_an_embedding_has_no_bound_and_no_stream() -> None:
    body = json.loads(rendered(Operation.OLLAMA_EMBED, input=["a"], truncate=False).body)
    assert body == {"model": ENGINE_MODEL, "input": ["a"], "truncate": False, "keep_alive": -1}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_passes_but_for_the_name_and_the_last_line(name: str) -> None:
    released, ending = split(name)
    reader = LineReader(ALIAS)
    assert reader.feed((DATA / name).read_bytes()) == released
    assert (reader.complete, reader.ending, reader.fault) == (True, ending, None)
    assert reader.usage == Usage(26, 282)
    assert reader.finish_reason in ("stop", "length")
    assert reader.served_model == ENGINE_MODEL


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_passes_byte_for_byte_where_the_names_are_one(name: str) -> None:
    stream = (DATA / name).read_bytes()
    reader = LineReader(ENGINE_MODEL)
    assert reader.feed(stream) + reader.ending == stream


@pytest.mark.parametrize("name", STREAMS)
def test_every_two_piece_cut_gives_the_same(name: str) -> None:
    stream = (DATA / name).read_bytes()
    released, ending = split(name)
    for cut in range(len(stream) + 1):
        reader = LineReader(ALIAS)
        assert reader.feed(stream[:cut]) + reader.feed(stream[cut:]) == released, cut
        assert reader.complete
        assert reader.ending == ending


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("properly", [False, True])
def test_no_truncation_is_ever_complete(name: str, properly: bool) -> None:
    """`properly`: the engine's HTTP message ends as if all were well."""
    stream = (DATA / name).read_bytes()
    released, _ = split(name)
    for cut in range(len(stream) - 1):  # without its last newline the last line is whole
        reader = LineReader(ALIAS)
        out = reader.feed(stream[:cut])
        if properly:
            out += reader.finish()
            assert reader.fault, cut
        assert not reader.complete, cut
        assert reader.ending == b""
        assert released.startswith(out)
        assert b'"done":true,"done_reason"' not in out


def test_the_last_line_needs_no_newline() -> None:
    """Ollama answers a request to load a model with one object and no newline."""
    reader = LineReader(ALIAS)
    assert reader.feed(b'{"model":"chat","done":true,"done_reason":"load"}') == b""
    assert not reader.complete
    assert reader.finish() == b""
    assert reader.complete
    assert reader.ending == b'{"model":"chat","done":true,"done_reason":"load"}\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"error":"llama runner process has terminated"}', "reported an error"),
        (b"garbage", "not of its dialect"),
        (b"[]", "not of its dialect"),
        (b'{"done":"yes"}', "not of its dialect"),
        (b'{"done":true,"eval_count":-1}', "not of its dialect"),
        (b"\xff\xfe", "not of its dialect"),
    ],
)
def test_nothing_goes_out_after_a_fault(line: bytes, words: str) -> None:
    good = b'{"model":"chat","message":{"role":"assistant","content":"a"},"done":false}\n'
    last = b'{"model":"chat","done":true}\n'
    reader = LineReader(ALIAS)
    assert reader.feed(good + line + b"\n" + good + last) == good
    assert reader.feed(good + last) == b""
    assert reader.finish() == b""
    assert reader.fault
    assert words in reader.fault
    assert not reader.complete
    assert reader.ending == b""


def test_a_line_without_end_is_a_fault() -> None:
    reader = LineReader(ALIAS)
    assert reader.feed(b"x" * (MOST_PENDING_BYTES + 1)) == b""
    assert reader.fault


def test_what_follows_the_end_does_not_go_out() -> None:
    reader = LineReader(ALIAS)
    end = b'{"done":true,"done_reason":"stop"}\n'
    assert reader.feed(end + b'{"message":{"content":"more"},"done":false}\n') == b""
    assert reader.ending == end


@pytest.mark.parametrize(
    ("name", "reader"),
    [("ollama_chat.json", Whole(ALIAS)), ("ollama_embed.json", VectorsWhole(ALIAS, 2))],
)
def test_a_whole_answer_is_its_own_ending(name: str, reader: Reader) -> None:
    body = (DATA / name).read_bytes()
    for start in range(0, len(body), 7):
        assert reader.feed(body[start : start + 7]) == b""
    assert not reader.complete, "only a message that ended properly is whole"
    reader.finish()
    assert (reader.complete, reader.fault) == (True, None)
    assert json.loads(reader.ending) == json.loads(body) | {"model": ALIAS}
    assert reader.usage.prompt_tokens in (26, 8)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"<html>", b'{"done":false}', b'{"error":"no"}', b'{"done":tr']
)
def test_what_is_no_whole_answer_is_a_fault(body: bytes) -> None:
    reader = Whole(ALIAS)
    reader.feed(body)
    reader.finish()
    assert reader.fault
    assert not reader.complete
    assert reader.ending == b""


@pytest.mark.parametrize("inputs", [1, 3])
def test_embeddings_are_as_many_as_the_inputs(inputs: int) -> None:
    reader = VectorsWhole(ALIAS, inputs)
    reader.feed((DATA / "ollama_embed.json").read_bytes())
    reader.finish()
    assert reader.fault == f"answered with 2 embeddings to {inputs} inputs"
    assert not reader.complete


def test_no_truncation_of_a_whole_answer_is_complete() -> None:
    body = (DATA / "ollama_chat.json").read_bytes()
    for cut in range(len(body)):
        reader = Whole(ALIAS)
        reader.feed(body[:cut])
        reader.finish()
        assert not reader.complete, cut


@pytest.mark.parametrize(
    ("stream", "kind"), [(True, LineReader), (False, Whole)], ids=["stream", "whole"]
)
def test_the_reader_is_that_of_the_request(stream: bool, kind: Callable[..., Reader]) -> None:
    reader = rendered(Operation.OLLAMA_GENERATE, prompt="hi", stream=stream).reader
    assert type(reader) is kind


def test_errors_are_a_sentence_with_code_and_id() -> None:
    refusal = Refusal(Code.NO_SUCH_MODEL, 404, "there is no model 'x'")
    body = OllamaErrors().body(refusal, "req_1")
    assert json.loads(body) == {
        "error": "there is no model 'x'",
        "code": "no_such_model",
        "request_id": "req_1",
    }
    assert OllamaErrors().event(refusal, "req_1") == body + b"\n"


@pytest.mark.parametrize("reason", ["", ',"done_reason":""', ',"done_reason":null'])
def test_an_end_without_its_reason_is_not_believed(reason: str) -> None:
    body = b'{"model":"chat","done":true%b}\n' % reason.encode()
    for reader in (LineReader(ALIAS), Whole(ALIAS)):
        reader.feed(body)
        reader.finish()
        assert (reader.complete, reader.ending) == (False, b"")
        assert reader.fault == "marked its answer as done without saying why"


@pytest.mark.parametrize("stream", [True, False])
def test_to_load_a_model_needs_no_reason(stream: bool) -> None:
    reader = rendered(Operation.OLLAMA_GENERATE, stream=stream).reader
    reader.feed(b'{"model":"chat","done":true}')
    reader.finish()
    assert reader.complete


@pytest.mark.parametrize(
    ("prompt", "body", "whole"),
    [
        ("hi", b'{"embedding":[0.1,0.2]}', True),
        ("hi", b'{"embedding":[]}', False),
        ("hi", b"{}", False),
        ("", b'{"embedding":[]}', True),
        ("", b'{"embedding":[1]}', False),
    ],
)
def test_one_embedding_in_the_older_form(prompt: str, body: bytes, whole: bool) -> None:
    made = rendered(Operation.OLLAMA_EMBEDDING, prompt=prompt)
    assert made.path == "/api/embeddings"
    assert json.loads(made.body)["prompt"] == prompt
    made.reader.feed(body)
    made.reader.finish()
    assert (made.reader.complete, made.reader.ending) == (whole, body if whole else b"")
