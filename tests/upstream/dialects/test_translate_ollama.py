"""Ollama clients in front of OpenAI engines: what is asked."""

import json
from typing import Any

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.ollama_parse import parse
from inhouse.upstream.dialects.shapes import Rendered
from inhouse.upstream.dialects.translate_ollama import render

CHAT, GENERATE, EMBED = (
    Operation.OLLAMA_CHAT,
    Operation.OLLAMA_GENERATE,
    Operation.OLLAMA_EMBED,
)
LLAMACPP, VLLM, OPENAI = EngineKind.LLAMACPP, EngineKind.VLLM, EngineKind.OPENAI
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
PNG = "iVBORw0KGgoAAAANSUhEUg=="
WEATHER = {"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}


def rendered(operation: Operation, kind: EngineKind = LLAMACPP, **body: Any) -> Rendered:
    sent = json.dumps({"model": "alias"} | body).encode()
    ask = parse(operation, sent, LimitsSection(), ())
    return render(ask, kind, "served", 100, lambda: 0.0)


def asked(operation: Operation, kind: EngineKind = LLAMACPP, **body: Any) -> dict[str, Any]:
    return dict(json.loads(rendered(operation, kind, **body).body))


def test_a_conversation() -> None:
    assert asked(
        CHAT,
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is this?", "images": [PNG]},
            {"role": "assistant", "content": "A dot.", "thinking": "Small."},
        ],
        keep_alive="1h",
    ) == {
        "model": "served",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            },
            {"role": "assistant", "content": "A dot.", "reasoning_content": "Small."},
        ],
    }


@pytest.mark.parametrize(
    ("start", "kind"),
    [("/9j/4AAQ", "jpeg"), ("R0lGODlh", "gif"), ("UklGRiIA", "webp"), ("AAAAAAAA", "png")],
)
def test_an_image_goes_inline_under_its_type(start: str, kind: str) -> None:
    body = asked(GENERATE, prompt="?", images=[start])
    url = body["messages"][0]["content"][1]["image_url"]["url"]
    assert url == f"data:image/{kind};base64,{start}"


@pytest.mark.parametrize("image", ["http://169.254.169.254/latest", "file:///etc/passwd", "a"])
def test_an_image_is_never_fetched(image: str) -> None:
    with pytest.raises(Refusal) as caught:
        rendered(CHAT, messages=[{"role": "user", "images": [image]}])
    assert (caught.value.code, caught.value.param) == (Code.INVALID_FIELD, "images")


def test_calls_and_results_are_paired() -> None:
    """Ollama has no ids: a result answers the oldest open call, or that of the tool it names."""
    call = {"function": {"name": "w", "arguments": {"city": "Köln", "days": 2}}}
    body = asked(
        CHAT,
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "?"},
            {"role": "assistant", "tool_calls": [call, {"function": {"name": "x"}}, call]},
            {"role": "tool", "content": "for x", "tool_name": "x"},
            {"role": "tool", "content": "first w"},
            {"role": "tool", "content": "second w", "tool_name": "w"},
            {"role": "assistant", "tool_calls": [{"id": "mine", "function": {"name": "w"}}]},
            {"role": "tool", "content": "named", "tool_call_id": "mine"},
        ],
    )
    assert body["tools"] == [WEATHER]
    calls = body["messages"][1]["tool_calls"]
    assert [one["id"] for one in calls] == ["call_0", "call_1", "call_2"]
    assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Köln", "days": 2}
    assert calls[1]["function"] == {"name": "x", "arguments": "{}"}
    results = [(m["content"], m["tool_call_id"]) for m in body["messages"] if m["role"] == "tool"]
    assert results == [
        ("for x", "call_1"),
        ("first w", "call_0"),
        ("second w", "call_2"),
        ("named", "mine"),
    ]


def test_a_prompt_becomes_a_conversation() -> None:
    body = asked(GENERATE, prompt="Why?", system="Be brief.", stream=False)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    assert body["stream"] is False
    assert "stream_options" not in body


def test_a_raw_prompt_is_completed_as_it_is() -> None:
    made = rendered(GENERATE, prompt="<s>Once", raw=True)
    assert made.path == "/v1/completions"
    assert json.loads(made.body)["prompt"] == "<s>Once"


def test_a_gap_is_filled_where_the_engine_can() -> None:
    made = rendered(GENERATE, VLLM, prompt="def f(", suffix="return 1")
    assert made.path == "/v1/completions"
    assert json.loads(made.body)["suffix"] == "return 1"


@pytest.mark.parametrize(
    ("kind", "body", "param"),
    [
        (LLAMACPP, {"prompt": "a", "suffix": "b"}, "suffix"),
        (EngineKind.EMBEDDED, {"prompt": "a", "suffix": "b"}, "suffix"),
        (VLLM, {"prompt": "a", "raw": True, "images": [PNG]}, "images"),
        (VLLM, {"prompt": "a", "raw": True, "logprobs": True}, "logprobs"),
    ],
)
def test_what_would_be_passed_over_is_refused(
    kind: EngineKind, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(Refusal) as caught:
        rendered(GENERATE, kind, **body)
    assert (caught.value.code, caught.value.status, caught.value.param) == (
        Code.NOT_SPOKEN,
        400,
        param,
    )


OPTIONS = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "seed": 7,
    "stop": ["END"],
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "typical_p": 0.7,
    "mirostat": 1,
    "tfs_z": 0.5,
    "num_ctx": 32768,
    "num_predict": 50,
    "presence_penalty": 0.2,
    "frequency_penalty": 0.3,
}
EVERYWHERE = {
    "temperature": 0.5,
    "top_p": 0.9,
    "seed": 7,
    "stop": ["END"],
    "presence_penalty": 0.2,
    "frequency_penalty": 0.3,
}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (
            LLAMACPP,
            {
                "top_k": 40,
                "min_p": 0.05,
                "repeat_penalty": 1.1,
                "repeat_last_n": 64,
                "typical_p": 0.7,
                "mirostat": 1,
            },
        ),
        (VLLM, {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1}),
        (OPENAI, {}),
    ],
)
def test_options_go_where_the_engine_has_them(kind: EngineKind, more: dict[str, Any]) -> None:
    body = asked(CHAT, kind, **HI, options=OPTIONS)
    for name in ("model", "stream", "stream_options", "messages", "max_tokens"):
        body.pop(name)
    assert body == EVERYWHERE | more


def test_formats() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert "response_format" not in asked(CHAT, **HI, format="")
    assert asked(CHAT, **HI, format="json")["response_format"] == {"type": "json_object"}
    assert asked(CHAT, **HI, format=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize(
    ("kind", "think", "said"),
    [
        (LLAMACPP, True, {"enable_thinking": True}),
        (VLLM, False, {"enable_thinking": False}),
        (VLLM, "high", {"enable_thinking": True, "reasoning_effort": "high"}),
        (OPENAI, True, None),
        (VLLM, None, None),
    ],
)
def test_thinking_is_for_templates_that_know_of_it(
    kind: EngineKind, think: Any, said: dict[str, Any] | None
) -> None:
    assert asked(CHAT, kind, **HI, think=think).get("chat_template_kwargs") == said


@pytest.mark.parametrize(
    ("body", "said"), [({}, -1), ({"truncate": True}, -1), ({"truncate": False}, None)]
)
def test_vllm_cuts_long_inputs_as_ollama_does(body: dict[str, Any], said: int | None) -> None:
    assert asked(EMBED, VLLM, input="a", **body).get("truncate_prompt_tokens") == said
