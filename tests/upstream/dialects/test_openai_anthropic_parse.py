"""Requests in OpenAI's and Anthropic's dialects: what is read, what is refused, and how."""

import contextlib
import itertools
from typing import Any

import msgspec
import pytest
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsStreaming as ChatParams,
)
from openai.types.completion_create_params import CompletionCreateParamsStreaming
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects import anthropic, openai
from inhouse.upstream.dialects.fields import TABLES
from inhouse.upstream.dialects.shapes import Ask

CHAT, COMPLETION, RESPONSE, EMBEDDING, MESSAGE = (
    Operation.CHAT,
    Operation.COMPLETION,
    Operation.RESPONSE,
    Operation.EMBEDDING,
    Operation.MESSAGE,
)
LIMITS = LimitsSection(max_messages=3, max_embedding_inputs=3)
LEAST: dict[Operation, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    COMPLETION: {"model": "m", "prompt": "hi"},
    RESPONSE: {"model": "m", "input": "hi"},
    EMBEDDING: {"model": "m", "input": "hi"},
    MESSAGE: {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
}


def parse_bytes(operation: Operation, body: bytes, extra: frozenset[str] = frozenset()) -> Ask:
    parse = anthropic.parse if operation is MESSAGE else openai.parse
    return parse(operation, body, LIMITS, extra)


def parse(operation: Operation, **fields: Any) -> Ask:
    return parse_bytes(operation, msgspec.json.encode(LEAST[operation] | fields))


def refusal(operation: Operation, **fields: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(operation, **fields)
    return caught.value


@pytest.mark.parametrize("operation", LEAST)
def test_the_least_request(operation: Operation) -> None:
    ask = parse(operation)
    assert ask.dialect is (Dialect.ANTHROPIC if operation is MESSAGE else Dialect.OPENAI)
    assert (ask.operation, ask.model, ask.stream) == (operation, "m", False)
    assert (ask.texts, ask.last_text) == (["hi"], "hi")
    assert (ask.choices, ask.wants_usage) == (1, False)
    assert ask.max_tokens == (9 if operation is MESSAGE else None)
    assert ask.fields.keys() == LEAST[operation].keys()


READ = [
    (CHAT, {"max_tokens": 5}, {"max_tokens": 5}),
    (CHAT, {"max_completion_tokens": 6}, {"max_tokens": 6}),
    (CHAT, {"max_completion_tokens": 6, "max_tokens": 5}, {"max_tokens": 6}),
    (CHAT, {"max_tokens": None}, {"max_tokens": None}),
    (CHAT, {"max_tokens": -1}, {"max_tokens": None}),
    (CHAT, {"max_tokens": 10**30}, {"max_tokens": 10**7}),
    (CHAT, {"max_tokens": 1e3}, {"max_tokens": 1000}),
    (RESPONSE, {"max_output_tokens": -1}, {"max_tokens": None}),
    (MESSAGE, {"max_tokens": 128_000}, {"max_tokens": 128_000}),
    (CHAT, {"n": 3.0}, {"choices": 3}),
    (CHAT, {"n": 3}, {"choices": 3}),
    (CHAT, {"n": None}, {"choices": 1}),
    (CHAT, {"stream": True}, {"stream": True}),
    (CHAT, {"stream": None}, {"stream": False}),
    (CHAT, {"stream": True, "stream_options": {"include_usage": True}}, {"wants_usage": True}),
    (CHAT, {"stream": True, "stream_options": {"include_usage": False}}, {"wants_usage": False}),
    (CHAT, {"stream": True, "stream_options": None}, {"wants_usage": False}),
    (CHAT, {"stream_options": {"include_usage": True}}, {"wants_usage": False}),
    (CHAT, {"chat_template_kwargs": {"enable_thinking": False}}, {}),
    (CHAT, {"top_k": 3, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 1}, {}),
    (CHAT, {"logprobs": True, "top_logprobs": 20}, {}),
    (COMPLETION, {"max_tokens": 0, "echo": True, "logprobs": 5}, {"max_tokens": 0}),
    (COMPLETION, {"n": 2, "best_of": 4}, {"choices": 4}),
    (COMPLETION, {"prompt": ["a", "b"], "n": 2}, {"choices": 4, "texts": ["a", "b"]}),
    (COMPLETION, {"prompt": [1, 2, 3]}, {"choices": 1, "texts": [], "last_text": ""}),
    (COMPLETION, {"prompt": [[1, 2], [3]]}, {"choices": 2, "texts": []}),
    (COMPLETION, {"suffix": "z"}, {"texts": ['"z"', "hi"]}),
    (RESPONSE, {"max_output_tokens": 7, "store": False}, {"max_tokens": 7}),
    (RESPONSE, {"instructions": "be"}, {"texts": ['"be"', "hi"]}),
    (RESPONSE, {"background": False, "previous_response_id": None}, {}),
    (EMBEDDING, {"input": ["a", "b"]}, {"texts": ["a", "b"], "facts": {"inputs": 2}}),
    (EMBEDDING, {"input": [1, 2, 3, 4]}, {"texts": [], "facts": {"inputs": 1}}),
    (EMBEDDING, {"input": [[1, 2], [3, 4]]}, {"texts": [], "facts": {"inputs": 2}}),
    (EMBEDDING, {"dimensions": 64.0}, {"facts": {"inputs": 1, "dimensions": 64}}),
    (MESSAGE, {"stream": True, "system": "be"}, {"stream": True, "texts": ["be", "hi"]}),
    (MESSAGE, {"system": [{"type": "text", "text": "be"}]}, {"texts": ["be", "hi"]}),
    (MESSAGE, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {}),
]


@pytest.mark.parametrize(("operation", "fields", "expected"), READ)
def test_what_is_read(
    operation: Operation, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    ask = parse(operation, **fields)
    assert {name: getattr(ask, name) for name in expected} == expected


KEPT_BACK = [
    *((operation, "user", "me") for operation in (CHAT, COMPLETION, RESPONSE, EMBEDDING)),
    *((operation, "client_metadata", {"a": "b"}) for operation in (CHAT, RESPONSE)),
    *((operation, "safety_identifier", "me") for operation in (CHAT, RESPONSE)),
    *((operation, "metadata", {"a": "b"}) for operation in (CHAT, RESPONSE, MESSAGE)),
    *((operation, "store", False) for operation in (CHAT, RESPONSE)),
    (RESPONSE, "background", None),
    (RESPONSE, "conversation", None),
    (CHAT, "priority", None),
    (MESSAGE, "service_tier", "auto"),
    (MESSAGE, "context_management", {"edits": [{"type": "clear_tool_uses_20250919"}]}),
    (MESSAGE, "mcp_servers", []),
    (MESSAGE, "container", {}),
]


@pytest.mark.parametrize(("operation", "name", "value"), KEPT_BACK)
def test_what_is_accepted_and_not_forwarded(operation: Operation, name: str, value: object) -> None:
    ask = parse(operation, **{name: value})
    assert name not in ask.fields
    assert ask.texts == ["hi"]


CALL = {"id": "c", "type": "function", "function": {"name": "fn", "arguments": '{"a":"b"}'}}
TEXTS: list[tuple[Operation, dict[str, Any], list[str], str]] = [
    (
        CHAT,
        {
            "messages": [
                {"role": "system", "content": "sys", "name": "nm"},
                {"role": "user", "content": [{"type": "text", "text": t} for t in ("one", "two")]},
                {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": "no"},
            ]
        },
        ["sys", "nm", "one", "two", "fn", '{"a":"b"}', "no"],
        "one\ntwo",
    ),
    (
        CHAT,
        {
            "messages": [
                {"role": "user", "content": "first"},
                {"role": "assistant", "content": "x", "reasoning_content": "th"},
                {"role": "tool", "content": "out", "tool_call_id": "c"},
            ]
        },
        ["first", "x", "th", "out"],
        "first",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": "q", "annotations": [{"title": "t", "n": 4}]}]},
        ["annotations", "title", "t", "n", "4", "q"],
        "q",
    ),
    (
        CHAT,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see", "cache_control": {"type": "eph"}},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                        {
                            "type": "file",
                            "file": {"file_data": "data:x;base64,AA", "filename": "f"},
                        },
                    ],
                }
            ]
        },
        ["cache_control", "type", "eph", "see", "f"],
        "see\nf",
    ),
    (CHAT, {"tools": [{"type": "function", "function": {"name": "n"}}]}, ['"n"'], "hi"),
    (
        CHAT,
        {"tools": [{"type": "function", "function": {"description": 'a "quoted" A'}}]},
        ['a "quoted" A'],
        "hi",
    ),
    (
        CHAT,
        {"response_format": {"type": "json_schema", "json_schema": {"x": "sch"}}},
        ["sch"],
        "hi",
    ),
    (CHAT, {"stop": ["halt"]}, ["halt"], "hi"),
    (CHAT, {"prediction": {"type": "content", "content": "pre"}}, ["pre"], "hi"),
    (
        RESPONSE,
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "ask"}]},
                {"type": "function_call", "call_id": "c", "name": "fn", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "out"},
            ]
        },
        ["ask", "fn", "{}", "out"],
        "ask",
    ),
    (
        RESPONSE,
        {
            "input": [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [
                        {"type": "output_text", "text": "was", "annotations": [], "logprobs": []}
                    ],
                },
                {
                    "type": "reasoning",
                    "id": "r",
                    "summary": [{"type": "summary_text", "text": "s"}],
                },
                {"role": "user", "content": "then"},
            ]
        },
        ["was", "s", "then"],
        "then",
    ),
    (
        RESPONSE,
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"d": "sch"}}}},
        ["sch"],
        "hi",
    ),
    (
        MESSAGE,
        {
            "messages": [
                {"role": "user", "content": "q"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "tool_use", "id": "t", "name": "fn", "input": {"k": ["v", 4111]}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "text", "text": "res"}],
                        },
                        {"type": "text", "text": "and"},
                    ],
                },
            ]
        },
        ["q", "hm", "fn", "k", "v", "4111", "res", "and"],
        "and",
    ),
    (
        MESSAGE,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "title": "ttl",
                            "context": "ctx",
                            "source": {"type": "text", "media_type": "text/plain", "data": "doc"},
                        },
                        {
                            "type": "document",
                            "source": {
                                "type": "content",
                                "content": [{"type": "text", "text": "inner"}],
                            },
                        },
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AA"},
                        },
                        {
                            "type": "search_result",
                            "source": "src",
                            "title": "st",
                            "content": [
                                {"type": "text", "text": "hit", "citations": [{"c": "ct"}]}
                            ],
                        },
                    ],
                }
            ]
        },
        ["citations", "c", "ct", "ttl", "ctx", "doc", "inner", "st", "src", "hit"],
        "",
    ),
    (MESSAGE, {"tools": [{"name": "n", "input_schema": {"d": "sch"}}]}, ["sch"], "hi"),
    (MESSAGE, {"stop_sequences": ["halt"]}, ["halt"], "hi"),
]


@pytest.mark.parametrize(("operation", "fields", "texts", "last"), TEXTS)
def test_every_text_is_seen(
    operation: Operation, fields: dict[str, Any], texts: list[str], last: str
) -> None:
    ask = parse(operation, **fields)
    assert ask.last_text == last
    if {"messages", "input"} & fields.keys():
        assert [text for text in ask.texts if text] == texts or set(texts) <= set(ask.texts)
    joined = "\n".join(ask.texts)
    assert all(text in joined for text in texts)


def test_text_behind_escapes_is_seen_without_them() -> None:
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"\\u0034111"}],'
        b'"tools":[{"type":"function","function":{"description":"\\u0035222","enum":[6333]}}],'
        b'"stop":"\\u0037444"}'
    )
    texts = parse_bytes(CHAT, body).texts
    assert {"4111", "5222", "6333", "7444"} <= set(texts)


REFUSED: list[tuple[Operation, dict[str, Any], Code, str]] = [
    (CHAT, {"max_token": 5}, Code.UNKNOWN_FIELD, "'max_token': did you mean 'max_tokens'?"),
    (CHAT, {"temprature": 1}, Code.UNKNOWN_FIELD, "did you mean 'temperature'?"),
    (CHAT, {"message": []}, Code.UNKNOWN_FIELD, "did you mean 'messages'?"),
    (CHAT, {"qqqqqqqq": 1}, Code.UNKNOWN_FIELD, "unknown field 'qqqqqqqq'"),
    (CHAT, {"q\n" * 500: 1}, Code.UNKNOWN_FIELD, "'q\\nq\\nq\\n"),
    (RESPONSE, {"max_tokens": 5}, Code.UNKNOWN_FIELD, "did you mean 'max_output_tokens'?"),
    (EMBEDDING, {"stream": True}, Code.UNKNOWN_FIELD, "unknown field 'stream'"),
    (MESSAGE, {"stop": "x"}, Code.UNKNOWN_FIELD, "'stop': did you mean 'stop_sequences'?"),
    (CHAT, {"n_predict": -1}, Code.UNKNOWN_FIELD, "did you mean 'max_tokens'?"),
    (MESSAGE, {"n": 2}, Code.UNKNOWN_FIELD, "unknown field 'n'"),
    (CHAT, {"model": None}, Code.INVALID_FIELD, "'model': missing"),
    (CHAT, {"model": ""}, Code.INVALID_FIELD, "'model': missing"),
    (CHAT, {"model": 7}, Code.INVALID_FIELD, "'model': expected str, got int"),
    (CHAT, {"model": "m" * 257}, Code.INVALID_FIELD, "longer than 256"),
    (CHAT, {"messages": "hi"}, Code.INVALID_FIELD, "expected array, got str"),
    (CHAT, {"messages": [{"content": "x"}]}, Code.INVALID_FIELD, "at [0], object missing"),
    (CHAT, {"messages": [{"role": "user", "content": 5}]}, Code.INVALID_FIELD, "at [0].content"),
    (CHAT, {"messages": [{"role": "user", "content": 5, "z": 1}]}, Code.INVALID_FIELD, "at [0]"),
    (CHAT, {"messages": LEAST[CHAT]["messages"] * 4}, Code.LIMIT_EXCEEDED, "4 messages are more"),
    (CHAT, {"stream": "yes"}, Code.INVALID_FIELD, "'stream': expected bool, got str"),
    (CHAT, {"n": 1_000_000}, Code.LIMIT_EXCEEDED, "1000000 is more than 4, which limits.max_ch"),
    (CHAT, {"n": 10**400}, Code.LIMIT_EXCEEDED, "000... is more than 4"),
    (CHAT, {"n": -(10**400)}, Code.INVALID_FIELD, "000... is below 1"),
    (CHAT, {"n": 0}, Code.INVALID_FIELD, "0 is below 1"),
    (
        CHAT,
        {"chat_template_kwargs": {"tools": 1}},
        Code.INVALID_FIELD,
        "only 'enable_thinking' and 'thinking' may be set",
    ),
    (CHAT, {"n": -1}, Code.INVALID_FIELD, "-1 is below 1"),
    (CHAT, {"n": 1.5}, Code.INVALID_FIELD, "expected int, got float"),
    (CHAT, {"n": True}, Code.INVALID_FIELD, "expected int, got bool"),
    (CHAT, {"max_tokens": 0}, Code.INVALID_FIELD, "0 is below 1"),
    (CHAT, {"max_tokens": -2}, Code.INVALID_FIELD, "-2 is below 1"),
    (CHAT, {"max_tokens": 3.5}, Code.INVALID_FIELD, "expected int, got float"),
    (CHAT, {"max_tokens": "3"}, Code.INVALID_FIELD, "expected int, got str"),
    (EMBEDDING, {"dimensions": 0}, Code.INVALID_FIELD, "0 is below 1"),
    (EMBEDDING, {"dimensions": 1e9}, Code.LIMIT_EXCEEDED, "1000000000 is more than 65536"),
    (MESSAGE, {"max_tokens": -1}, Code.INVALID_FIELD, "-1 is below 1"),
    (CHAT, {"top_logprobs": 21}, Code.LIMIT_EXCEEDED, "21 is more than 20"),
    (CHAT, {"top_logprobs": -1}, Code.INVALID_FIELD, "-1 is below 0"),
    (CHAT, {"prompt_logprobs": 21}, Code.LIMIT_EXCEEDED, "prompt_logprobs"),
    (CHAT, {"stop": ["x"] * 17}, Code.LIMIT_EXCEEDED, "17 stop sequences are more than the 16"),
    (CHAT, {"stop": 5}, Code.INVALID_FIELD, "'stop'"),
    (CHAT, {"stream_options": 5}, Code.INVALID_FIELD, "'stream_options'"),
    (CHAT, {"store": True}, Code.INVALID_FIELD, "nothing is kept here"),
    (CHAT, {"chat_template": "{{x}}"}, Code.INVALID_FIELD, "the template is the model's own"),
    (CHAT, {"chat_template_kwargs": {"custom": "x"}}, Code.INVALID_FIELD, "unknown field custom"),
    (CHAT, {"chat_template_kwargs": {"thinking": "x"}}, Code.INVALID_FIELD, "expected bool"),
    (CHAT, {"tools": [{"type": "web_search"}]}, Code.INVALID_FIELD, "'web_search' would run on"),
    (CHAT, {"tools": [{}]}, Code.INVALID_FIELD, "at [0], object missing required field type"),
    *(
        (CHAT, {name: "x"}, Code.INVALID_FIELD, f"'{name}' is not accepted")
        for name in ("grammar", "lora", "id_slot", "kv_transfer_params", "documents", "priority")
    ),
    *(
        (CHAT, {name: "x"}, Code.INVALID_FIELD, f"'{name}' is not accepted")
        for name in ("mm_processor_kwargs", "vllm_xargs", "cache_prompt", "structured_outputs")
    ),
    (COMPLETION, {"prompt": None}, Code.INVALID_FIELD, "'prompt'"),
    (COMPLETION, {"prompt": []}, Code.INVALID_FIELD, "empty"),
    (COMPLETION, {"prompt": ["x", 1]}, Code.INVALID_FIELD, "at [1], expected str, got int"),
    (COMPLETION, {"prompt": ["x"] * 5}, Code.LIMIT_EXCEEDED, "5 answers are more than the 4"),
    (COMPLETION, {"prompt": ["x"] * 3, "n": 2}, Code.LIMIT_EXCEEDED, "6 answers"),
    (COMPLETION, {"best_of": 5}, Code.LIMIT_EXCEEDED, "'best_of': 5 is more than 4"),
    (COMPLETION, {"logprobs": 21}, Code.LIMIT_EXCEEDED, "'logprobs': 21"),
    (COMPLETION, {"prompt_embeds": "AA"}, Code.INVALID_FIELD, "'prompt_embeds' is not accepted"),
    (RESPONSE, {"store": True}, Code.INVALID_FIELD, "nothing is kept here"),
    (RESPONSE, {"background": True}, Code.INVALID_FIELD, "nothing is kept here"),
    (RESPONSE, {"previous_response_id": "r"}, Code.INVALID_FIELD, "nothing is kept here"),
    (RESPONSE, {"conversation": "c"}, Code.INVALID_FIELD, "nothing is kept here"),
    (RESPONSE, {"prompt": {"id": "p"}}, Code.INVALID_FIELD, "prompts are not kept here"),
    (RESPONSE, {"input": [{"type": "item_reference", "id": "x"}]}, Code.INVALID_FIELD, "kept"),
    (RESPONSE, {"input": [{"type": "mcp_call"}]}, Code.INVALID_FIELD, "'mcp_call': no such item"),
    *(
        (RESPONSE, {"tools": [{"type": kind}]}, Code.INVALID_FIELD, f"type '{kind}' would run")
        for kind in ("mcp", "file_search", "code_interpreter", "web_search_preview", "shell")
    ),
    (EMBEDDING, {"input": []}, Code.INVALID_FIELD, "empty"),
    (EMBEDDING, {"input": {}}, Code.INVALID_FIELD, "'input'"),
    (EMBEDDING, {"input": ["x"] * 4}, Code.LIMIT_EXCEEDED, "4 texts are more than the 3"),
    (EMBEDDING, {"input": [[1]] * 4}, Code.LIMIT_EXCEEDED, "4 texts are more than the 3"),
    (MESSAGE, {"max_tokens": None}, Code.INVALID_FIELD, "'max_tokens': missing"),
    (MESSAGE, {"max_tokens": 0}, Code.INVALID_FIELD, "0 is below 1"),
    (MESSAGE, {"messages": [{"role": "user"}]}, Code.INVALID_FIELD, "object missing required"),
    (MESSAGE, {"messages": LEAST[MESSAGE]["messages"] * 4}, Code.LIMIT_EXCEEDED, "4 messages"),
    (MESSAGE, {"stop_sequences": ["x"] * 17}, Code.LIMIT_EXCEEDED, "17 stop sequences"),
    (MESSAGE, {"mcp_servers": [{"url": "http://x"}]}, Code.INVALID_FIELD, "mcp_servers"),
    (MESSAGE, {"container": "c"}, Code.INVALID_FIELD, "there are no containers"),
    (
        MESSAGE,
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        Code.INVALID_FIELD,
        "'web_search_20250305' is one of Anthropic's own tools",
    ),
    (MESSAGE, {"system": [{"type": "text"}]}, Code.INVALID_FIELD, "'text' is missing"),
]


@pytest.mark.parametrize(("operation", "fields", "code", "words"), REFUSED)
def test_what_is_refused(
    operation: Operation, fields: dict[str, Any], code: Code, words: str
) -> None:
    refused = refusal(operation, **fields)
    assert (refused.code, refused.status) == (code, 400)
    assert words in refused.sentence
    assert refused.param is not None
    assert len(refused.sentence) < 400


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        *((operation, name) for operation in LEAST for name in LEAST[operation]),
    ],
)
def test_a_field_that_must_be_there(operation: Operation, name: str) -> None:
    fields = {key: value for key, value in LEAST[operation].items() if key != name}
    with pytest.raises(Refusal) as caught:
        parse_bytes(operation, msgspec.json.encode(fields))
    assert (caught.value.code, caught.value.param) == (Code.INVALID_FIELD, name)
    assert "missing" in caught.value.sentence


def user(part: object) -> list[object]:
    return [{"role": "user", "content": [part]}]


URL = "http://10.0.0.1/x"
FETCHES: list[tuple[Operation, dict[str, Any]]] = [
    (CHAT, {"messages": user({"type": "image_url", "image_url": {"url": URL}})}),
    (CHAT, {"messages": user({"type": "image_url", "image_url": URL})}),
    (CHAT, {"messages": user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}})}),
    (CHAT, {"messages": user({"type": "image_url", "image_url": {"url": URL}, "extra": 1})}),
    (CHAT, {"messages": user({"type": "image_url", "image_url": {"url": "/etc/passwd"}})}),
    (CHAT, {"messages": user({"type": "video_url", "video_url": {"url": URL}})}),
    (CHAT, {"messages": user({"type": "audio_url", "audio_url": {"url": URL}})}),
    (CHAT, {"messages": user({"type": "input_audio", "input_audio": {"data": URL}})}),
    (CHAT, {"messages": user({"type": "file", "file": {"file_id": "f"}})}),
    (CHAT, {"messages": user({"type": "file", "file": {"file_data": URL}})}),
    (CHAT, {"messages": user({"type": "image_url", "image_url": None, "uuid": "u"})}),
    (CHAT, {"messages": user({"type": "image_url", "image_url": "data:,", "uuid": "u"})}),
    (CHAT, {"messages": user({"type": "image_embeds", "image_embeds": "AA"})}),
    (CHAT, {"messages": user({"type": "image_url"})}),
    (CHAT, {"messages": user({"type": "text", "text": "x", "image_url": URL})}),
    (CHAT, {"messages": user({"type": "text", "text": "x", "uuid": "u"})}),
    (RESPONSE, {"input": user({"type": "input_image", "image_url": URL})}),
    (RESPONSE, {"input": user({"type": "input_image", "file_id": "f"})}),
    (RESPONSE, {"input": user({"type": "input_file", "file_url": URL})}),
    (RESPONSE, {"input": user({"type": "input_file", "file_id": "f"})}),
    (
        RESPONSE,
        {
            "input": [
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_image", "image_url": URL}],
                }
            ]
        },
    ),
    (MESSAGE, {"messages": user({"type": "image", "source": {"type": "url", "url": URL}})}),
    (MESSAGE, {"messages": user({"type": "image", "source": URL})}),
    (MESSAGE, {"messages": user({"type": "document", "source": {"type": "file", "file_id": "f"}})}),
    (
        MESSAGE,
        {
            "messages": user(
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "image", "source": {"type": "url", "url": URL}}],
                }
            )
        },
    ),
    (MESSAGE, {"messages": user({"type": "container_upload", "file_id": "f"})}),
    (MESSAGE, {"messages": user({"type": "server_tool_use", "name": "web_search"})}),
    (MESSAGE, {"system": [{"type": "image", "source": {"type": "url", "url": URL}}]}),
]


@pytest.mark.parametrize(("operation", "fields"), FETCHES)
def test_nothing_is_fetched_for_a_caller(operation: Operation, fields: dict[str, Any]) -> None:
    refused = refusal(operation, **fields)
    assert (refused.code, refused.status) == (Code.INVALID_FIELD, 400)
    assert "[0]" in refused.sentence
    assert URL not in refused.sentence


NOT_JSON = [b"", b"{", b"hi", b'{"model":', b'{"a":1} x', b'{"a":\xff}', b'{"a":"\xff"}', b"\xff"]
NOT_AN_OBJECT = [b"[]", b"null", b"7", b'"x"', b"true"]


@pytest.mark.parametrize("operation", LEAST)
@pytest.mark.parametrize("body", NOT_JSON + NOT_AN_OBJECT)
def test_what_is_no_json_object(operation: Operation, body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_bytes(operation, body)
    assert (caught.value.code, caught.value.status) == (Code.INVALID_JSON, 400)


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    return opening * depth + closing * depth


DEEP = [
    (CHAT, b'{"model":"m","messages":%b}'),
    (CHAT, b'{"model":"m","messages":[{"role":"user","content":"x","z":%b}]}'),
    (CHAT, b'{"model":"m","messages":[],"logit_bias":%b}'),
    (CHAT, b'{"model":"m","messages":[],"response_format":%b}'),
    (CHAT, b'{"model":"m","messages":[],"response_format":["\\\\","\\"",%b]}'),
    (COMPLETION, b'{"model":"m","prompt":%b}'),
    (RESPONSE, b'{"model":"m","input":[{"role":"user","content":[{"type":"input_text","z":%b}]}]}'),
    (EMBEDDING, b'{"model":"m","input":%b}'),
    (
        MESSAGE,
        b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":'
        b'[{"type":"tool_use","name":"f","input":%b}]}]}',
    ),
    (MESSAGE, b'{"model":"m","max_tokens":1,"messages":[],"thinking":%b}'),
]


@pytest.mark.parametrize(("operation", "body"), DEEP)
@pytest.mark.parametrize("depth", [66, 500, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b"[", b"")])
def test_deep_nesting_is_refused(
    operation: Operation, body: bytes, depth: int, opening: bytes, closing: bytes
) -> None:
    value = opening * depth + (b"1" if opening != b"[" else b"") + closing * depth
    with pytest.raises(Refusal) as caught:
        parse_bytes(operation, body % value)
    assert caught.value.code in (Code.INVALID_JSON, Code.INVALID_FIELD)


@pytest.mark.parametrize("depth", [63, 64, 65])
def test_the_depth_is_counted_outside_of_texts(depth: int) -> None:
    value = nested(depth, b"[", b"]")
    body = b'{"model":"m","messages":[],"logit_bias":%b,"stop":"%b\\"%b"}' % (
        value,
        b"[" * 500,
        b"{" * 500,
    )
    if depth <= 64:
        assert parse_bytes(CHAT, body).model == "m"
    else:
        with pytest.raises(Refusal, match="nested more than 64 levels"):
            parse_bytes(CHAT, body)


def test_a_body_of_braces_is_refused() -> None:
    body = b'{"model":"m","messages":[%b]}' % b",".join([b"{}"] * 250_001)
    with pytest.raises(Refusal, match="more than 250000 braces"):
        parse_bytes(CHAT, body)


def test_the_last_of_a_name_counts() -> None:
    body = (
        b'{"model":"first","messages":[{"role":"user","content":"a"}],"n":999,'
        b'"model":"last","messages":[{"role":"user","content":"b"}],"n":2}'
    )
    ask = parse_bytes(CHAT, body)
    assert (ask.model, ask.choices, ask.texts) == ("last", 2, ["b"])
    assert bytes(ask.fields["messages"]) == b'[{"role":"user","content":"b"}]'


def test_the_operators_extra_fields_go_on_and_are_looked_at() -> None:
    body = msgspec.json.encode(LEAST[CHAT] | {"grammar": "root", "my_field": {"a": "txt"}})
    ask = parse_bytes(CHAT, body, frozenset({"grammar", "my_field"}))
    assert {"grammar", "my_field"} <= ask.fields.keys()
    assert '"root"' in ask.texts
    assert any("txt" in text for text in ask.texts)


CLIENTS = [
    (CHAT, ChatParams),
    (COMPLETION, CompletionCreateParamsStreaming),
    (RESPONSE, ResponseCreateParamsStreaming),
    (EMBEDDING, EmbeddingCreateParams),
    (MESSAGE, MessageCreateParamsNonStreaming),
    (Operation.COUNT_TOKENS, MessageCountTokensParams),
]
HEADERS = {"workspace_id", "user_profile_id"}  # arguments that the client sends as headers


@pytest.mark.parametrize(("operation", "params"), CLIENTS)
def test_every_parameter_of_the_official_clients_has_its_place(
    operation: Operation, params: Any
) -> None:
    table = TABLES[operation]
    placed = table.forwarded | table.dropped | table.refused.keys() | HEADERS
    assert set(params.__annotations__) - placed == set()


@pytest.mark.parametrize("operation", TABLES)
def test_a_field_has_one_place(operation: Operation) -> None:
    table = TABLES[operation]
    places = [table.quiet, table.spoken, table.dropped]
    for one, other in itertools.combinations(places, 2):
        assert one & other == set()
    assert table.forwarded & table.refused.keys() == set()


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("role", "content", "type", "text", "image_url", "url", "source", "input"),
                    *("tool_calls", "function", "name", "arguments", "output", "file", "user"),
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@unhurried
@given(st.sampled_from(list(LEAST)), st.data())
def test_no_json_does_anything_but_parse_or_be_refused(
    operation: Operation, data: st.DataObject
) -> None:
    names = sorted(TABLES[operation].forwarded)
    fields = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=5))
    body = msgspec.json.encode(LEAST[operation] | fields)
    with contextlib.suppress(Refusal):
        ask = parse_bytes(operation, body)
        assert all(isinstance(text, str) for text in ask.texts)


@unhurried
@given(st.sampled_from(list(LEAST)), st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_do_anything_but_parse_or_be_refused(operation: Operation, body: bytes) -> None:
    with pytest.raises(Refusal):
        parse_bytes(operation, body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"model":"a\\ud83d b"}', "\\ud83d alone, which is half of a character"),
        (b'{"model":"a","x":["\\\\\\udc00"]}', "\\udc00 alone"),
        (b'{"model":"\\ud83d\\ude00\\ude01"}', "\\ude01 alone"),
        (b'{"model":"\\ud83d\\ud83d"}', "\\ud83d alone"),
        (b'{"model":"\\\\ud83d",}', "not valid JSON"),
        (b'{"model":"\\ud83d\\ude00",}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "byte order mark"),
        (b'{"model":"\xe9"}', "not valid JSON"),
    ],
)
def test_what_is_no_json_is_said_plainly(body: bytes, words: str) -> None:
    for operation in (CHAT, MESSAGE):
        with pytest.raises(Refusal) as caught:
            parse_bytes(operation, body)
        assert (caught.value.code, caught.value.status) == (Code.INVALID_JSON, 400)
        assert words in caught.value.sentence


def test_messages_as_user_interfaces_keep_them() -> None:
    """Thoughts stay here; the arguments of a call go on as the text that they are in this API."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"n": 10**22}}}
    thoughts: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "reasoning", "text": "so"},
        {"type": "think", "think": "then"},
    ]
    ask = parse(
        CHAT,
        messages=[
            {"role": "user", "content": "hi", "extra": 1},
            {"role": "assistant", "content": [*thoughts, {"type": "text", "text": "Hello."}]},
            {"role": "assistant", "content": thoughts, "tool_calls": [call]},
        ],
    )
    text = '{"n":10000000000000000000000}'
    said = {"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}
    assert msgspec.json.decode(ask.fields["messages"]) == [
        {"role": "user", "content": "hi", "extra": 1},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "assistant", "content": "", "tool_calls": [said]},
    ]
    assert {"hm", "so", "then", "Hello.", text} <= set(ask.texts)


def test_messages_that_are_as_they_should_be_go_on_as_they_came() -> None:
    raw = b'[{"role":"assistant",  "content":null,"tool_calls":[{"function":{"arguments":"{}"}}]}]'
    assert bytes(parse_bytes(CHAT, b'{"model":"m","messages":%b}' % raw).fields["messages"]) == raw
