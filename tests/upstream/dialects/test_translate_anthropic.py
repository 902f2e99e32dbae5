"""Anthropic clients in front of engines of OpenAI chat: what is asked, and what is answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects import table
from inhouse.upstream.dialects.anthropic import parse
from inhouse.upstream.dialects.shapes import Rendered
from inhouse.upstream.dialects.translate_anthropic import render

DATA = Path(__file__).parent / "data"
PNG = "iVBORw0KGgoAAAANSUhEUg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
IMAGE_URL = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def rendered(kind: EngineKind = EngineKind.OPENAI, **body: Any) -> Rendered:
    sent = json.dumps({"model": "alias", "max_tokens": 50} | body).encode()
    ask = parse(Operation.MESSAGE, sent, LimitsSection(), frozenset())
    return render(ask, kind, "served", 50, lambda: 0.0)


def asked(kind: EngineKind = EngineKind.OPENAI, **body: Any) -> dict[str, Any]:
    return dict(json.loads(rendered(kind, **body).body))


def events(name: str) -> list[dict[str, Any]]:
    reader = rendered(**HI, stream=True).reader
    out = reader.feed((DATA / name).read_bytes()) + reader.ending
    read = []
    for block in out.decode().split("\n\n")[:-1]:
        head, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert head == f"event: {event['type']}"
        read.append(event)
    return read


def test_a_conversation() -> None:
    assert asked(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]},
        ],
        stop_sequences=["END"],
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        metadata={"user_id": "u"},
        stream=True,
    ) == {
        "model": "served",
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE_URL]},
        ],
        "stop": ["END"],
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_tools_calls_and_results() -> None:
    body = asked(
        tools=[{"name": "w", "description": "The weather.", "input_schema": SCHEMA}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        messages=[
            {"role": "user", "content": "?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "w", "input": {"city": "Köln"}},
                    {"type": "tool_use", "id": "t2", "name": "w", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": "19°"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "content": [{"type": "text", "text": "a map"}, IMAGE],
                    },
                    {"type": "text", "text": "So?"},
                ],
            },
        ],
    )
    function = {"name": "w", "description": "The weather.", "parameters": SCHEMA}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "t1",
                    "type": "function",
                    "function": {"name": "w", "arguments": '{"city":"Köln"}'},
                },
                {"id": "t2", "type": "function", "function": {"name": "w", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "19°"},
        {"role": "tool", "tool_call_id": "t2", "content": "a map"},
        {"role": "user", "content": [IMAGE_URL, {"type": "text", "text": "So?"}]},
    ]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "w"}, {"type": "function", "function": {"name": "w"}}),
    ],
)
def test_the_choice_of_a_tool(choice: dict[str, Any], said: Any) -> None:
    tools = [{"name": "w", "input_schema": SCHEMA}]
    assert asked(**HI, tools=tools, tool_choice=choice)["tool_choice"] == said


def test_a_format() -> None:
    wanted = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert asked(**HI, output_config=wanted)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


@pytest.mark.parametrize(
    ("kind", "thinking", "said"),
    [
        (EngineKind.OLLAMA, {"type": "disabled"}, "none"),
        (EngineKind.OLLAMA, {"type": "enabled", "budget_tokens": 1024}, None),
        (EngineKind.OPENAI, {"type": "disabled"}, None),
    ],
)
def test_thinking(kind: EngineKind, thinking: dict[str, Any], said: str | None) -> None:
    assert asked(kind, **HI, thinking=thinking).get("reasoning_effort") == said


PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
DOCUMENT = {"type": "document", "source": PDF}


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"messages": [{"role": "user", "content": [DOCUMENT]}]}, "messages[0]", "document"),
        (HI | {"output_config": {"format": {"type": "xml"}}}, "output_config", "xml"),
        (
            HI
            | {
                "tools": [{"name": "w", "input_schema": SCHEMA}],
                "tool_choice": {"type": "perhaps"},
            },
            "tool_choice",
            "perhaps",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(
    body: dict[str, Any], param: str, words: str
) -> None:
    with pytest.raises(Refusal) as caught:
        rendered(**body)
    assert (caught.value.code, caught.value.status) == (Code.NOT_SPOKEN, 400)
    assert caught.value.param == param
    assert words in caught.value.sentence


def test_a_streamed_answer() -> None:
    read = events("translate_tools.sse")
    assert [event["type"] for event in read] == [
        "message_start",
        *("content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("content_block_start", *["content_block_delta"] * 2, "content_block_stop"),
        "message_delta",
        "message_stop",
    ]
    assert read[0]["message"]["id"] == "msg_7f3a"
    starts = [event for event in read if event["type"] == "content_block_start"]
    assert [event["index"] for event in starts] == [0, 1, 2, 3]
    assert [event["content_block"]["type"] for event in starts] == [
        "thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert [event["content_block"].get("id") for event in starts[2:]] == ["call_a1", "call_b2"]
    assert read[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert read[-2]["usage"] == {
        "input_tokens": 15,
        "cache_read_input_tokens": 16,
        "output_tokens": 44,
    }


def test_a_whole_answer() -> None:
    reader = rendered(**HI).reader
    reader.feed((DATA / "translate_tools.json").read_bytes())
    reader.finish()
    assert json.loads(reader.ending) == {
        "id": "msg_7f3a",
        "type": "message",
        "role": "assistant",
        "model": "alias",
        "content": [
            {"type": "thinking", "thinking": "They want the weather — twice.", "signature": ""},
            {"type": "text", "text": "Zoë: I look it up 😀."},
            {
                "type": "tool_use",
                "id": "call_a1",
                "name": "get_weather",
                "input": {"city": "Paris"},
            },
            {
                "type": "tool_use",
                "id": "call_b2",
                "name": "get_weather",
                "input": {"city": "Köln", "days": 2},
            },
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 15, "cache_read_input_tokens": 16, "output_tokens": 44},
    }


@pytest.mark.parametrize(
    ("choice", "reason", "sequence"),
    [
        ({"finish_reason": "stop"}, "end_turn", None),
        ({"finish_reason": "length"}, "max_tokens", None),
        ({"finish_reason": "content_filter"}, "refusal", None),
        ({"finish_reason": "stop", "stop_reason": "END"}, "stop_sequence", "END"),
        ({"finish_reason": "stop", "stop_reason": 2}, "end_turn", None),
    ],
)
def test_why_it_stopped(choice: dict[str, Any], reason: str, sequence: str | None) -> None:
    reader = rendered(**HI).reader
    body = {"id": "1", "choices": [{"index": 0, "message": {"content": "a"}} | choice]}
    reader.feed(json.dumps(body).encode())
    reader.finish()
    said = json.loads(reader.ending)
    assert (said["stop_reason"], said["stop_sequence"]) == (reason, sequence)


def test_an_engine_that_goes_back_to_a_call_is_at_fault() -> None:
    """Blocks may not overlap; an answer that cannot be told in order is broken."""
    parts = [
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": "}"}},
    ]
    reader = rendered(**HI, stream=True).reader
    for part in parts:
        chunk = {"id": "1", "choices": [{"index": 0, "delta": {"tool_calls": [part]}}]}
        reader.feed(b"data: %b\n\n" % json.dumps(chunk).encode())
    assert reader.fault == "went back to a tool call after it had begun another"


TEXT = {"type": "text", "media_type": "text/plain", "data": "The sky is green."}
FOUND: dict[str, Any] = {
    "type": "search_result",
    "source": "shelf 3",
    "title": "Colours",
    "content": [{"type": "text", "text": "Grass is blue."}],
    "citations": {"enabled": True},
}


def test_documents_and_search_results_are_texts_under_their_titles() -> None:
    document = {"type": "document", "source": TEXT, "title": "Skies", "context": "of Mars"}
    pieces = {"type": "content", "content": [{"type": "text", "text": "piece"}, IMAGE]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [FOUND, IMAGE]}
    body = asked(
        messages=[
            {"role": "user", "content": [document, {"type": "document", "source": pieces}]},
            {"role": "user", "content": [result]},
        ]
    )
    texts = ["Skies\nof Mars", "The sky is green.", "piece"]
    said = [*({"type": "text", "text": text} for text in texts), IMAGE_URL]
    assert body["messages"] == [
        {"role": "user", "content": said},
        {"role": "tool", "tool_call_id": "t", "content": "Colours\nshelf 3\nGrass is blue."},
        {"role": "user", "content": [IMAGE_URL]},
    ]


FORMAT = {"type": "json_schema", "schema": SCHEMA}
NESTED = {"type": "tool_result", "tool_use_id": "t", "content": [FOUND]}


@pytest.mark.parametrize(
    ("body", "native"),
    [
        (HI, True),
        (HI | {"output_config": {"effort": "low"}, "output_format": None}, True),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, True),
        (HI | {"output_config": {"format": FORMAT}}, False),
        (HI | {"output_format": FORMAT}, False),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": TEXT}]}]},
            False,
        ),
        ({"messages": [{"role": "user", "content": [NESTED]}]}, False),
    ],
)
def test_llamacpp_is_asked_natively_for_what_it_does_not_drop(
    body: dict[str, Any], native: bool
) -> None:
    sent = json.dumps({"model": "alias", "max_tokens": 50, "top_k": 3} | body).encode()
    ask = parse(Operation.MESSAGE, sent, LimitsSection(), frozenset())
    for kind in (EngineKind.EMBEDDED, EngineKind.LLAMACPP, EngineKind.VLLM):
        made = table.render(ask, kind, "served", 50, lambda: 0.0)
        as_message = native or kind is EngineKind.VLLM
        assert made.path == ("/v1/messages" if as_message else "/v1/chat/completions")
        assert json.loads(made.body)["top_k"] == 3
