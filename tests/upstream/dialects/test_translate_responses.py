"""Responses clients in front of engines of OpenAI chat: what is asked, and what is answered."""

import json
from pathlib import Path
from typing import Any

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.openai import parse
from inhouse.upstream.dialects.shapes import Rendered
from inhouse.upstream.dialects.translate_responses import render

DATA = Path(__file__).parent / "data"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "name": "w", "description": "d", "parameters": SCHEMA, "strict": True}


def rendered(kind: EngineKind = EngineKind.OPENAI, **body: Any) -> Rendered:
    sent = json.dumps({"model": "alias", "input": "hi"} | body).encode()
    ask = parse(Operation.RESPONSE, sent, LimitsSection(), frozenset())
    return render(ask, kind, "served", 50, lambda: 1_795_519_037.5)


def asked(kind: EngineKind = EngineKind.OPENAI, **body: Any) -> dict[str, Any]:
    return dict(json.loads(rendered(kind, **body).body))


def events(name: str, **body: Any) -> list[dict[str, Any]]:
    reader = rendered(stream=True, **body).reader
    out = reader.feed((DATA / name).read_bytes()) + reader.ending
    blocks = out.decode().split("\n\n")[:-1]
    return [json.loads(block.partition("\ndata: ")[2]) for block in blocks]


def whole(name: str, **body: Any) -> dict[str, Any]:
    reader = rendered(**body).reader
    reader.feed((DATA / name).read_bytes())
    reader.finish()
    assert reader.fault is None
    return dict(json.loads(reader.ending))


def test_a_text() -> None:
    assert asked(instructions="Be brief.", stream=True, temperature=0.5, store=False) == {
        "model": "served",
        "max_tokens": 50,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "temperature": 0.5,
    }


def test_items_tools_and_formats() -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    body = asked(
        EngineKind.OLLAMA,
        input=[
            {"role": "developer", "content": "Be brief."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "?"},
                    {"type": "input_image", "image_url": url, "detail": "auto"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
            },
            {"type": "function_call", "call_id": "c1", "name": "w", "arguments": '{"city":"K"}'},
            {"type": "function_call", "call_id": "c2", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "19°"},
        ],
        tools=[TOOL],
        tool_choice={"type": "function", "name": "w"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        reasoning={"effort": "low"},
    )
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "?"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "w", "arguments": '{"city":"K"}'},
                },
                {"id": "c2", "type": "function", "function": {"name": "w", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "19°"},
    ]
    function = {"name": "w", "description": "d", "parameters": SCHEMA, "strict": True}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "w"}}
    assert body["parallel_tool_calls"] is False
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": SCHEMA, "strict": True},
    }
    assert body["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"top_logprobs": 2}, "top_logprobs", "this field"),
        ({"tools": [{"type": "custom", "name": "x"}]}, "tools", "custom"),
        ({"text": {"format": {"type": "grammar"}}}, "text", "grammar"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "tools": []}},
            "tool_choice",
            "allowed_tools",
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
    assert [event["sequence_number"] for event in read] == list(range(len(read)))
    kinds = [event["type"].removeprefix("response.") for event in read]
    assert kinds == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", *["reasoning_text.delta"] * 3),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", *["output_text.delta"] * 3),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", *["function_call_arguments.delta"] * 3),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", *["function_call_arguments.delta"] * 2),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    done = [event["item"] for event in read if event["type"].endswith("output_item.done")]
    assert read[-1]["response"]["output"] == done
    assert [item["type"] for item in done] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert read[-1]["response"]["id"] == read[0]["response"]["id"] == "resp_7f3a"


def test_streamed_and_whole_say_the_same() -> None:
    streamed = events("translate_tools.sse")[-1]["response"]
    assert whole("translate_tools.json") == streamed
    assert streamed["status"] == "completed"
    assert streamed["created_at"] == 1_795_519_037
    assert streamed["usage"] == {
        "input_tokens": 31,
        "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 44,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 75,
    }


def test_an_answer_at_its_bound_is_incomplete() -> None:
    last = events("llamacpp_chat.sse")[-1]
    assert last["type"] == "response.incomplete"
    for response in (last["response"], whole("llamacpp_chat.json")):
        assert response["status"] == "incomplete"
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_response_repeats_its_request() -> None:
    said = whole("llamacpp_chat.json", tools=[TOOL], metadata={"a": "b"}, temperature=0.5)
    assert said["tools"] == [TOOL]
    assert said["temperature"] == 0.5
    assert (said["model"], said["store"]) == ("alias", False)


def test_llamacpp_draws_tokens_as_it_was_asked_to() -> None:
    body = asked(EngineKind.EMBEDDED, top_k=3, seed=7, reasoning={"effort": "low"})
    assert (body["top_k"], body["seed"]) == (3, 7)
    kwargs = {"enable_thinking": True, "reasoning_effort": "low"}
    assert body["chat_template_kwargs"] == kwargs
    with pytest.raises(Refusal, match="top_k"):
        asked(EngineKind.OLLAMA, top_k=3)
