"""Ollama's requests: what becomes of each field, and what each refusal says."""

import json
from typing import Any

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.ollama_fields import OPTIONS_KEPT_BACK
from inhouse.upstream.dialects.ollama_parse import parse
from inhouse.upstream.dialects.shapes import Ask

CHAT, GENERATE, EMBED = (
    Operation.OLLAMA_CHAT,
    Operation.OLLAMA_GENERATE,
    Operation.OLLAMA_EMBED,
)
LIMITS = LimitsSection(max_stop_sequences=2, max_messages=3, max_embedding_inputs=2, max_logprobs=5)
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


def read(operation: Operation, extra: frozenset[str] = frozenset(), **body: Any) -> Ask:
    return parse(operation, json.dumps({"model": "chat"} | body).encode(), LIMITS, extra)


def refused(operation: Operation, **body: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(operation, **body)
    return caught.value


def test_a_conversation_becomes_one_ask() -> None:
    ask = read(
        CHAT,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is the weather?", "images": ["iVBORw0KGgo="]},
            {
                "role": "assistant",
                "thinking": "Look it up.",
                "tool_calls": [{"function": {"name": "w", "arguments": {"city": "Köln"}}}],
            },
        ],
        options={"num_predict": 9, "stop": ["END"]},
    )
    assert (ask.dialect, ask.operation, ask.model) == (Dialect.OLLAMA, CHAT, "chat")
    assert ask.stream, "Ollama streams unless told not to"
    assert ask.max_tokens == 9
    assert ask.last_text == "What is the weather?"
    assert ask.texts == [
        "Be brief.",
        "What is the weather?",
        "Look it up.",
        '{"city":"Köln"}',
        "END",
    ]
    assert not ask.facts["load"]


@pytest.mark.parametrize(
    ("body", "streamed"), [({}, True), ({"stream": None}, True), ({"stream": False}, False)]
)
def test_streaming_is_the_default(body: dict[str, Any], streamed: bool) -> None:
    assert read(GENERATE, prompt="hi", **body).stream is streamed
    assert read(CHAT, **HI, **body).stream is streamed


def test_embeddings_never_stream() -> None:
    ask = read(EMBED, input=["a", "b"], truncate=True, dimensions=8)
    assert not ask.stream
    assert (ask.texts, ask.last_text, ask.facts["inputs"]) == (["a", "b"], "b", 2)


@pytest.mark.parametrize("num_predict", [0, -1, -2])
def test_no_bound_of_the_clients_leaves_ours(num_predict: int) -> None:
    assert read(CHAT, **HI, options={"num_predict": num_predict}).max_tokens is None


def test_every_text_of_a_prompt_is_seen() -> None:
    ask = read(GENERATE, prompt="def f(", suffix="return", system="You complete code.")
    assert ask.texts == ["You complete code.", "def f(", "return"]
    assert ask.last_text == "def f("


def test_texts_in_tools_formats_and_extra_fields_are_seen() -> None:
    ask = read(
        CHAT,
        frozenset({"guide"}),
        **HI,
        tools=[{"type": "function", "function": {"name": "t", "description": "tool-text"}}],
        format={"type": "object", "description": "format-text"},
        guide="extra-text",
    )
    for text in ("tool-text", "format-text", "extra-text"):
        assert any(text in seen for seen in ask.texts), text


def test_a_name_that_came_twice_counts_once_with_its_last_value() -> None:
    body = b'{"model":"a","model":"b","prompt":"one","prompt":"two"}'
    ask = parse(GENERATE, body, LIMITS, frozenset())
    assert (ask.model, ask.texts) == ("b", ["two"])
    assert bytes(ask.fields["prompt"]) == b'"two"'


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (CHAT, {}),
        (CHAT, {"messages": []}),
        (GENERATE, {}),
        (GENERATE, {"prompt": "", "keep_alive": "5m"}),
        (GENERATE, {"prompt": "", "keep_alive": 10}),
    ],
)
def test_an_empty_request_asks_for_the_model_to_be_loaded(
    operation: Operation, body: dict[str, Any]
) -> None:
    ask = read(operation, **body)
    assert ask.facts["load"]
    assert ask.texts == []


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0h0m"])
def test_no_client_unloads_a_model(keep_alive: Any) -> None:
    for operation in (CHAT, GENERATE):
        refusal = refused(operation, keep_alive=keep_alive)
        assert (refusal.code, refusal.status) == (Code.NOT_ALLOWED, 403)
        assert "unload" in refusal.sentence
    assert not read(CHAT, **HI, keep_alive=keep_alive).facts["load"], "with a message it is a habit"


@pytest.mark.parametrize(
    ("operation", "body", "code", "param", "words"),
    [
        (CHAT, {"message": []}, Code.UNKNOWN_FIELD, "message", "'messages'"),
        (CHAT, {"Messages": []}, Code.UNKNOWN_FIELD, "Messages", "unknown field"),
        (CHAT, {"prompt": "x"}, Code.UNKNOWN_FIELD, "prompt", "unknown field"),
        (CHAT, {"_debug_render_only": True}, Code.UNKNOWN_FIELD, "_debug_render_only", ""),
        (GENERATE, {"template": "{{.}}"}, Code.INVALID_FIELD, "template", "model's own"),
        (GENERATE, {"context": [1, 2]}, Code.INVALID_FIELD, "context", "/api/chat"),
        (CHAT, {"messages": "hi"}, Code.INVALID_FIELD, "messages", "expected array"),
        (
            CHAT,
            {"messages": [{"role": "user", "content": 7}]},
            Code.INVALID_FIELD,
            "messages",
            "[0].content",
        ),
        (
            CHAT,
            {"messages": [{"role": "user", "Content": "hidden"}]},
            Code.INVALID_FIELD,
            "messages",
            "Content",
        ),
        (CHAT, {"messages": [{"role": "root"}]}, Code.INVALID_FIELD, "messages", "root"),
        (CHAT, {"messages": HI["messages"] * 4}, Code.LIMIT_EXCEEDED, "messages", "3"),
        (CHAT, {"think": "very"}, Code.INVALID_FIELD, "think", "very"),
        (CHAT, {"format": 1}, Code.INVALID_FIELD, "format", "int"),
        (CHAT, {"stream": "no"}, Code.INVALID_FIELD, "stream", "bool"),
        (CHAT, {"top_logprobs": 6}, Code.LIMIT_EXCEEDED, "top_logprobs", "5"),
        (CHAT, {"top_logprobs": -1}, Code.INVALID_FIELD, "top_logprobs", "below 0"),
        (CHAT, {"options": []}, Code.INVALID_FIELD, "options", "object"),
        (
            CHAT,
            {"options": {"temprature": 1}},
            Code.UNKNOWN_FIELD,
            "options.temprature",
            "temperature",
        ),
        (CHAT, {"options": {"seed": "x"}}, Code.INVALID_FIELD, "options", "seed"),
        (CHAT, {"options": {"stop": ["a", "b", "c"]}}, Code.LIMIT_EXCEEDED, "options.stop", "2"),
        (CHAT, {"options": {"top_k": 1.5}}, Code.INVALID_FIELD, "options", "top_k"),
        (CHAT, {"template": "{{.}}"}, Code.INVALID_FIELD, "template", "model's own"),
        (EMBED, {"input": [1]}, Code.INVALID_FIELD, "input", "expected str"),
        (EMBED, {"input": ["a"] * 3}, Code.LIMIT_EXCEEDED, "input", "2"),
        (EMBED, {"input": "a", "dimensions": 0}, Code.INVALID_FIELD, "dimensions", "below 1"),
        (GENERATE, {"model": ""}, Code.INVALID_FIELD, "model", "missing"),
    ],
)
def test_a_refusal_names_the_field_and_what_would_be_right(
    operation: Operation, body: dict[str, Any], code: Code, param: str, words: str
) -> None:
    refusal = refused(operation, **body)
    assert (refusal.code, refusal.status, refusal.param) == (code, 400, param)
    assert words in refusal.sentence


@pytest.mark.parametrize("name", sorted(OPTIONS_KEPT_BACK))
def test_how_a_model_is_loaded_is_not_the_clients_to_say(name: str) -> None:
    ask = read(CHAT, **HI, options={name: 1, "top_k": 40.0, "seed": None, "stop": ["a"]})
    assert json.loads(bytes(ask.fields["options"])) == {"top_k": 40, "stop": ["a"]}


def test_unset_options_are_none() -> None:
    """As langchain and others send them."""
    names = ("mirostat", "num_gpu", "num_thread", "stop", "tfs_z", "top_k")
    ask = read(EMBED, input=["hi"], options=dict.fromkeys(names))
    assert bytes(ask.fields["options"]) == b"{}"


def test_options_that_say_something_go_on_as_they_came() -> None:
    body = b'{"model":"m","prompt":"hi","options":{"top_k": 4,  "temperature":1}}'
    ask = parse(GENERATE, body, LIMITS, frozenset())
    assert bytes(ask.fields["options"]) == b'{"top_k": 4,  "temperature":1}'


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": {}},
        {"shift": True},
        {"tool_choice": "auto"},
        {"template": ""},
        {"think": ""},
        {"think": None},
    ],
)
def test_what_means_nothing_is_accepted_and_kept_back(odd: dict[str, Any]) -> None:
    for operation, body in ((CHAT, HI), (GENERATE, {"prompt": "hi"})):
        assert not odd.keys() & read(operation, **body, **odd).fields.keys()
    assert "prompt" not in read(EMBED, input="a", prompt="a").fields


def test_a_bound_beside_the_options_counts_unless_they_hold_one() -> None:
    assert read(CHAT, **HI, num_predict=3.0).max_tokens == 3
    assert read(CHAT, **HI, num_predict=3, options={"num_predict": 4}).max_tokens == 4
    assert read(CHAT, **HI, num_predict=-1).max_tokens is None


def test_messages_as_other_clients_write_them() -> None:
    call = {"function": {"name": "w", "arguments": {"n": 12345678901234567890123}}}
    said = [
        {"role": "assistant", "content": "", "id": "1", "tool_calls": [call | {"index": 0}]},
        {"role": "tool", "content": "19°", "name": "w"},
        {"role": "user", "content": "So?", "name": "anna"},
    ]
    ask = read(CHAT, messages=said)
    assert json.loads(bytes(ask.fields["messages"])) == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "19°", "tool_name": "w"},
        {"role": "user", "content": "So?"},
    ]


@pytest.mark.parametrize("given", [{}, {"input": ""}, {"input": []}, {"input": None}])
def test_nothing_to_embed_is_no_mistake(given: dict[str, Any]) -> None:
    ask = read(EMBED, **given)
    assert (ask.facts["inputs"], ask.texts) == (0, [])
    assert read(EMBED, input=["a", ""]).facts["inputs"] == 2


@pytest.mark.parametrize("name", ["template", "context"])
def test_what_is_refused_may_be_sent_empty(name: str) -> None:
    empty: dict[str, Any] = {name: {"template": "", "context": []}[name]}
    assert name not in read(GENERATE, prompt="hi", **empty).fields


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model":"\xff"}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse(CHAT, body, LIMITS, frozenset())
    assert caught.value.code is Code.INVALID_JSON
