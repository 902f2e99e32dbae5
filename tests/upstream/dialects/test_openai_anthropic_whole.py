"""Answers in one piece, what is sent for them, and errors in both dialects' shapes."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest
from anthropic.types.shared import ErrorType

from inhouse.config.schema import LimitsSection
from inhouse.domain import Operation, Usage
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects import anthropic, openai
from inhouse.upstream.dialects.shapes import Ask, Reader, Rendered

DATA = Path(__file__).parent / "data"
MESSAGES = b'[{"role":"user","content":"hi"}]'
BODIES = {
    Operation.CHAT: b'{"model":"%b","messages":' + MESSAGES + b"}",
    Operation.COMPLETION: b'{"model":"%b","prompt":"hi"}',
    Operation.RESPONSE: b'{"model":"%b","input":"hi"}',
    Operation.EMBEDDING: b'{"model":"%b","input":["a","b c"]}',
    Operation.MESSAGE: b'{"model":"%b","max_tokens":5,"messages":' + MESSAGES + b"}",
}


def parsed(operation: Operation, body: bytes) -> Ask:
    anthropics = (Operation.MESSAGE, Operation.COUNT_TOKENS)
    parse = anthropic.parse if operation in anthropics else openai.parse
    return parse(operation, body, LimitsSection(), frozenset())


def rendered(ask: Ask, model: str = "engine/x", max_tokens: int | None = 100) -> Rendered:
    render = anthropic.render if ask.operation is Operation.MESSAGE else openai.render
    return render(ask, model, max_tokens)


def reader(operation: Operation, alias: bytes = b"chat") -> Reader:
    return rendered(parsed(operation, BODIES[operation] % alias)).reader


WHOLE = [
    ("llamacpp_chat.json", Operation.CHAT, Usage(39, 12), "length"),
    ("llamacpp_chat_tools.json", Operation.CHAT, Usage(24, 60), "length"),
    ("llamacpp_completion.json", Operation.COMPLETION, Usage(2, 8), "length"),
    ("llamacpp_response.json", Operation.RESPONSE, Usage(32, 10), "completed"),
    ("llamacpp_message.json", Operation.MESSAGE, Usage(49, 11), "end_turn"),
    ("llamacpp_embedding.json", Operation.EMBEDDING, Usage(3, None), None),
]


@pytest.mark.parametrize(("file", "operation", "usage", "finish_reason"), WHOLE)
def test_a_whole_answer_is_its_own_ending(
    file: str, operation: Operation, usage: Usage, finish_reason: str | None
) -> None:
    body = (DATA / file).read_bytes()
    for cut in range(0, len(body), 7):
        read = reader(operation)
        assert (read.feed(body[:cut]), read.feed(body[cut:])) == (b"", b"")
        assert not read.complete
        assert read.finish() == b""
        assert (read.complete, read.fault, read.ending) == (True, None, body)
        assert (read.usage, read.finish_reason) == (usage, finish_reason)
        assert read.content_type == b"application/json"


@pytest.mark.parametrize(("file", "operation"), [case[:2] for case in WHOLE])
def test_a_whole_answer_cut_short_is_a_fault(file: str, operation: Operation) -> None:
    body = (DATA / file).read_bytes()
    for cut in range(len(body)):
        read = reader(operation)
        read.feed(body[:cut])
        read.finish()
        assert (read.complete, read.ending) == (False, b""), cut
        assert read.fault, cut


@pytest.mark.parametrize(("file", "operation"), [case[:2] for case in WHOLE])
def test_a_whole_answer_carries_the_alias(file: str, operation: Operation) -> None:
    body = (DATA / file).read_bytes()
    read = reader(operation, b"alias")
    read.feed(body)
    read.finish()
    assert msgspec.json.decode(read.ending) == msgspec.json.decode(body) | {"model": "alias"}


def test_the_alias_does_not_reach_into_what_the_model_said() -> None:
    body = (
        b'{"type":"message","content":[{"type":"tool_use","id":"a","name":"f",'
        b'"input":{"model":"x"}}],"model":"x","stop_reason":"tool_use"}'
    )
    read = reader(Operation.MESSAGE, b"alias")
    read.feed(body)
    read.finish()
    assert read.ending == body.replace(b'"model":"x","stop', b'"model":"alias","stop')


NO_ANSWERS = [
    (Operation.CHAT, b"", "an empty body"),
    (Operation.CHAT, b" \n", "an empty body"),
    (Operation.CHAT, b"<html>", "not a JSON object"),
    (Operation.CHAT, b"[]", "not a JSON object"),
    (Operation.CHAT, b'{"choices":7}', "not an answer of its dialect"),
    (Operation.CHAT, b"{}", "no choices"),
    (Operation.CHAT, b'{"choices":[]}', "no choices"),
    (Operation.CHAT, b'{"choices":[{"index":0,"finish_reason":null}]}', "no finish reason"),
    (Operation.CHAT, b'{"choices":[{"index":0,"finish_reason":"abort"}]}', "abort"),
    (
        Operation.CHAT,
        b'{"error":{"message":"no","type":"t","code":5}}',
        "reported an error of code 5",
    ),
    (Operation.CHAT, b"[" * 5000 + b"]" * 5000, "not a JSON object"),
    (Operation.EMBEDDING, b"{}", "0 embeddings to 2 inputs"),
    (Operation.EMBEDDING, b'{"data":[{"embedding":[1]}]}', "1 embeddings to 2 inputs"),
    (Operation.EMBEDDING, b'{"data":[{},{}]}', "not an answer of its dialect"),
    (Operation.RESPONSE, b"{}", "neither completed nor incomplete"),
    (Operation.RESPONSE, b'{"status":"completed"}', "neither completed nor incomplete"),
    (Operation.RESPONSE, b'{"status":"queued","output":[]}', "neither completed nor incomplete"),
    (Operation.RESPONSE, b'{"status":"failed","error":{"message":"oom"}}', "reported an error"),
    (Operation.RESPONSE, b'{"status":"cancelled","output":[]}', "cancelled"),
    (Operation.MESSAGE, b"{}", "without content or stop reason"),
    (Operation.MESSAGE, b'{"content":[]}', "without content or stop reason"),
    (Operation.MESSAGE, b'{"type":"error","error":{"type":"api_error"}}', "reported an error"),
]


@pytest.mark.parametrize(("operation", "body", "why"), NO_ANSWERS)
def test_what_is_no_answer_is_a_fault(operation: Operation, body: bytes, why: str) -> None:
    read = reader(operation)
    read.feed(body)
    read.finish()
    assert (read.complete, read.ending) == (False, b"")
    assert why in str(read.fault)


RENDERED = [
    (
        Operation.CHAT,
        b'{"messages": [ {"role":"user","content":"\\u0041 b"} ] ,"model":"a","top_p":0.50}',
        b'{"messages":[ {"role":"user","content":"\\u0041 b"} ],"model":"engine/x","top_p":0.50,'
        b'"max_tokens":100}',
    ),
    (
        Operation.CHAT,
        b'{"model":"a","messages":[],"max_completion_tokens":7,"user":"u","metadata":{"a":"b"}}',
        b'{"model":"engine/x","messages":[],"max_completion_tokens":7}',
    ),
    (
        Operation.CHAT,
        b'{"model":"a","messages":[],"stream":true,"max_tokens":7,"store":false}',
        b'{"model":"engine/x","messages":[],"stream":true,"max_tokens":7,'
        b'"stream_options":{"include_usage":true}}',
    ),
    (
        Operation.CHAT,
        b'{"model":"a","messages":[],"stream":true,"max_tokens":7,'
        b'"stream_options":{"include_usage":false,"x":[1]}}',
        b'{"model":"engine/x","messages":[],"stream":true,"max_tokens":7,'
        b'"stream_options":{"include_usage":true,"x":[1]}}',
    ),
    (
        Operation.CHAT,
        b'{"model":"a","messages":[],"stream":true,"max_tokens":null,"stream_options":null}',
        b'{"model":"engine/x","messages":[],"stream":true,"max_tokens":100,'
        b'"stream_options":{"include_usage":true}}',
    ),
    (
        Operation.CHAT,
        b'{"model":"a","messages":[],"max_completion_tokens":7,"max_tokens":99999999999999999999999}',
        b'{"model":"engine/x","messages":[],"max_completion_tokens":7,"max_tokens":100}',
    ),
    (
        Operation.CHAT,
        b'{"model":"a","messages":[],"max_completion_tokens":-1,"n":2.0,"top_logprobs":1e1}',
        b'{"model":"engine/x","messages":[],"max_completion_tokens":null,"n":2,"top_logprobs":10,'
        b'"max_tokens":100}',
    ),
    (
        Operation.COMPLETION,
        b'{"model":"a","prompt":[1,2],"max_tokens":0}',
        b'{"model":"engine/x","prompt":[1,2],"max_tokens":0}',
    ),
    (
        Operation.MESSAGE,
        b'{"model":"a","max_tokens":128000.0,"messages":[]}',
        b'{"model":"engine/x","max_tokens":100,"messages":[]}',
    ),
    (
        Operation.COMPLETION,
        b'{"model":"a","prompt":[1,2]}',
        b'{"model":"engine/x","prompt":[1,2],"max_tokens":100}',
    ),
    (
        Operation.RESPONSE,
        b'{"model":"a","input":"x","previous_response_id":null,"stream":true}',
        b'{"model":"engine/x","input":"x","stream":true,"max_output_tokens":100,"store":false}',
    ),
    (
        Operation.EMBEDDING,
        b'{"model":"a","input":"x","user":"me"}',
        b'{"model":"engine/x","input":"x"}',
    ),
    (
        Operation.MESSAGE,
        b'{"model":"a","max_tokens":5,"messages":[],"metadata":{"user_id":"u"},"stream":true}',
        b'{"model":"engine/x","max_tokens":5,"messages":[],"stream":true}',
    ),
]


@pytest.mark.parametrize(("operation", "body", "sent"), RENDERED)
def test_values_go_on_as_they_came(operation: Operation, body: bytes, sent: bytes) -> None:
    assert rendered(parsed(operation, body)).body == sent


@pytest.mark.parametrize("operation", BODIES)
def test_paths_and_no_bound_where_none_is_set(operation: Operation) -> None:
    got = rendered(parsed(operation, BODIES[operation] % b"a"), max_tokens=None)
    assert (
        got.path
        == {
            Operation.CHAT: "/v1/chat/completions",
            Operation.COMPLETION: "/v1/completions",
            Operation.RESPONSE: "/v1/responses",
            Operation.EMBEDDING: "/v1/embeddings",
            Operation.MESSAGE: "/v1/messages",
        }[operation]
    )
    assert b":100" not in got.body


def test_a_field_that_came_twice_is_forwarded_as_it_was_checked() -> None:
    body = b'{"model":"a","model":"b","messages":[],"max_tokens":999999,"max_tokens":5,"n":1}'
    ask = parsed(Operation.CHAT, body)
    assert (ask.model, ask.max_tokens) == ("b", 5)
    assert rendered(ask).body == b'{"model":"engine/x","messages":[],"max_tokens":5,"n":1}'


STATUSES = [400, 401, 403, 404, 405, 408, 413, 415, 429, 500, 502, 503, 504]


def refusal(status: int) -> Refusal:
    return Refusal(Code.NO_SUCH_MODEL, status, 'no "such" model', param="model")


@pytest.mark.parametrize("status", STATUSES)
def test_an_error_in_openais_shape(status: int) -> None:
    body = msgspec.json.decode(openai.ERRORS.body(refusal(status), "req_1"))
    expected = {403: "permission_error", 429: "rate_limit_error"}
    kind = "server_error" if status >= 500 else expected.get(status, "invalid_request_error")
    assert body == {
        "error": {
            "message": 'no "such" model',
            "type": kind,
            "param": "model",
            "code": "no_such_model",
            "request_id": "req_1",
        }
    }


@pytest.mark.parametrize("status", STATUSES)
def test_an_error_in_anthropics_shape_is_of_a_type_that_its_client_knows(status: int) -> None:
    body = msgspec.json.decode(anthropic.ERRORS.body(refusal(status), "req_1"))
    kind = body["error"].pop("type")
    assert kind in {*get_args(ErrorType), "request_too_large"}
    assert kind.startswith({401: "auth", 403: "perm", 404: "not_f", 429: "rate"}.get(status, ""))
    assert body == {
        "type": "error",
        "error": {"message": 'no "such" model', "code": "no_such_model", "param": "model"},
        "request_id": "req_1",
    }


def test_a_stream_ends_in_an_error_event() -> None:
    body = openai.ERRORS.body(refusal(502), "req_1")
    assert openai.ERRORS.event(refusal(502), "req_1") == b"data: " + body + b"\n\n"
    body = anthropic.ERRORS.body(refusal(502), "req_1")
    event = anthropic.ERRORS.event(refusal(502), "req_1")
    assert event == b"event: error\ndata: " + body + b"\n\n"


def test_a_stop_sequence_is_the_reason_where_it_is_named() -> None:
    body = b'{"type":"message","content":[],"model":"chat","stop_reason":"%b","stop_sequence":"e"}'
    for said in (b"end_turn", b"stop_sequence"):
        read = reader(Operation.MESSAGE)
        read.feed(body % said)
        read.finish()
        assert read.ending == body % b"stop_sequence"
        assert read.finish_reason == "stop_sequence"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"input_tokens":31}', 31),
        (b'{"input_tokens":-1}', None),
        (b'{"input_tokens":"31"}', None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_a_count_of_tokens(body: bytes, count: int | None) -> None:
    sent = b'{"model":"chat","messages":' + MESSAGES + b"}"
    made = anthropic.render(parsed(Operation.COUNT_TOKENS, sent), "engine/x", 100)
    assert made.path == "/v1/messages/count_tokens"
    assert made.body == b'{"model":"engine/x","messages":' + MESSAGES + b"}"
    made.reader.feed(body)
    made.reader.finish()
    assert made.reader.complete is (count is not None)
    assert made.reader.usage == Usage(count)
    assert made.reader.ending == (body if made.reader.complete else b"")
