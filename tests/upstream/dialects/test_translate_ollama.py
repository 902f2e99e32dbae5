"""Ollama clients in front of OpenAI engines: what is asked, and what is answered."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation, Usage
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.ollama_parse import parse
from inhouse.upstream.dialects.shapes import Reader, Rendered
from inhouse.upstream.dialects.translate_ollama import render

DATA = Path(__file__).parent / "data"
CHAT, GENERATE, EMBED = (
    Operation.OLLAMA_CHAT,
    Operation.OLLAMA_GENERATE,
    Operation.OLLAMA_EMBED,
)
LLAMACPP, VLLM, OPENAI = EngineKind.LLAMACPP, EngineKind.VLLM, EngineKind.OPENAI
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
PNG = "iVBORw0KGgoAAAANSUhEUg=="
WEATHER = {"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}


class Clock:
    """The time of day, a quarter of a second later whenever it is asked."""

    def __init__(self) -> None:
        self.at = 1_795_519_037.0

    def __call__(self) -> float:
        self.at += 0.25
        return self.at


def rendered(operation: Operation, kind: EngineKind = LLAMACPP, **body: Any) -> Rendered:
    sent = json.dumps({"model": "alias"} | body).encode()
    ask = parse(operation, sent, LimitsSection(), ())
    return render(ask, kind, "served", 100, Clock())


def asked(operation: Operation, kind: EngineKind = LLAMACPP, **body: Any) -> dict[str, Any]:
    return dict(json.loads(rendered(operation, kind, **body).body))


def answered(reader: Reader, body: bytes) -> dict[str, Any]:
    assert reader.feed(body) == b""
    assert reader.finish() == b""
    assert reader.fault is None
    return dict(json.loads(reader.ending))


def lines(reader: Reader, name: str) -> list[dict[str, Any]]:
    out = reader.feed((DATA / name).read_bytes())
    assert reader.fault is None
    return [json.loads(line) for line in (out + reader.ending).splitlines()]


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
    assert [line["response"] for line in lines(made.reader, "llamacpp_completion.sse")][-3:] == [
        " enigmatic",
        " figure",
        "",
    ]


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


def test_a_streamed_answer() -> None:
    said = lines(rendered(CHAT, **HI).reader, "translate_tools.sse")
    assert {line["model"] for line in said} == {"alias"}
    assert [line["done"] for line in said] == [False] * 7 + [True]
    assert all(line["created_at"].startswith("2026-11-24T") for line in said)
    messages = [line["message"] for line in said]
    assert "".join(one.get("thinking", "") for one in messages) == "They want the weather — twice."
    assert "".join(one["content"] for one in messages) == "Zoë: I look it up 😀."
    assert [one["tool_calls"] for one in messages if "tool_calls" in one] == [
        [
            {
                "id": "call_a1",
                "function": {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}},
            },
            {
                "id": "call_b2",
                "function": {
                    "index": 1,
                    "name": "get_weather",
                    "arguments": {"city": "Köln", "days": 2},
                },
            },
        ]
    ]
    last = said[-1]
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 31, 44)
    assert last["total_duration"] == last["prompt_eval_duration"] + last["eval_duration"]
    assert (last["load_duration"], last["prompt_eval_duration"]) == (0, 250_000_000)


def test_streamed_and_whole_say_the_same() -> None:
    streamed = lines(rendered(CHAT, **HI).reader, "translate_tools.sse")
    whole = rendered(CHAT, **HI, stream=False).reader
    message = answered(whole, (DATA / "translate_tools.json").read_bytes())["message"]
    for name in ("content", "thinking"):
        assert message[name] == "".join(line["message"].get(name, "") for line in streamed)
    assert message["tool_calls"] == streamed[-2]["message"]["tool_calls"]


def test_a_call_survives_the_round_trip() -> None:
    """What a client gets it may send back, and the engine sees its own call again."""
    reader = rendered(CHAT, **HI, stream=False).reader
    message = answered(reader, (DATA / "translate_tools.json").read_bytes())["message"]
    result = {"role": "tool", "content": "19°", "tool_name": "get_weather"}
    body = asked(CHAT, messages=[*HI["messages"], message, result, result])
    engine = json.loads((DATA / "translate_tools.json").read_bytes())["choices"][0]["message"]
    returned = body["messages"][1]
    assert [call["id"] for call in returned["tool_calls"]] == ["call_a1", "call_b2"]
    for sent, made in zip(returned["tool_calls"], engine["tool_calls"], strict=True):
        assert json.loads(sent["function"]["arguments"]) == json.loads(
            made["function"]["arguments"]
        )
    assert returned["reasoning_content"] == engine["reasoning_content"]
    assert [one["tool_call_id"] for one in body["messages"][2:]] == ["call_a1", "call_b2"]


def test_logprobs_are_ollamas() -> None:
    made = rendered(CHAT, **HI, logprobs=True, top_logprobs=2)
    body = json.loads(made.body)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)
    first = lines(made.reader, "llamacpp_chat_logprobs.sse")[0]
    assert first["logprobs"][0]["token"] == "Z"
    assert [top["token"] for top in first["logprobs"][0]["top_logprobs"]] == ["Z", "Hello"]


@pytest.mark.parametrize(
    ("operation", "empty"),
    [(CHAT, {"message": {"role": "assistant", "content": ""}}), (GENERATE, {"response": ""})],
)
def test_to_load_a_model_is_to_prove_that_it_answers(
    operation: Operation, empty: dict[str, Any]
) -> None:
    made = rendered(operation)
    body = json.loads(made.body)
    assert (made.path, body["max_tokens"], body["stream"]) == ("/v1/chat/completions", 1, False)
    said = answered(made.reader, (DATA / "llamacpp_chat.json").read_bytes())
    assert said.pop("created_at")
    assert said == {"model": "alias", "done": True, "done_reason": "load"} | empty


def test_embeddings() -> None:
    made = rendered(EMBED, input=["a", "b"])
    assert (made.path, json.loads(made.body)) == (
        "/v1/embeddings",
        {"model": "served", "input": ["a", "b"], "encoding_format": "float"},
    )
    golden = json.loads((DATA / "llamacpp_embedding.json").read_bytes())
    golden["data"].reverse()
    said = answered(made.reader, json.dumps(golden).encode())
    assert said["model"] == "alias"
    assert said["embeddings"] == [one["embedding"] for one in reversed(golden["data"])]
    assert said["prompt_eval_count"] == 3
    assert made.reader.usage == Usage(3)


@pytest.mark.parametrize(
    ("body", "said"), [({}, -1), ({"truncate": True}, -1), ({"truncate": False}, None)]
)
def test_vllm_cuts_long_inputs_as_ollama_does(body: dict[str, Any], said: int | None) -> None:
    assert asked(EMBED, VLLM, input="a", **body).get("truncate_prompt_tokens") == said


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8), st.integers(1, 10))
def test_fewer_dimensions_are_a_shorter_vector_of_length_one(
    vector: list[float], dimensions: int
) -> None:
    reader = rendered(EMBED, input="a", dimensions=dimensions).reader
    body = json.dumps({"data": [{"embedding": vector, "index": 0}]}).encode()
    (cut,) = answered(reader, body)["embeddings"]
    assert len(cut) == min(dimensions, len(vector))
    if any(abs(number) > 1e-6 for number in vector[:dimensions]):
        assert sum(number * number for number in cut) == pytest.approx(1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no list of embeddings"),
        (b'{"error":{"message":"too long"}}', "too long"),
        (b'{"data":[]}', "answered with 0 embeddings to 2 inputs"),
        (b'{"data":[{"embedding":[1]}]}', "answered with 1 embeddings"),
        (b'{"data":[{"embedding":"AA"},{"embedding":"AA"}]}', "no embedding"),
    ],
)
def test_what_are_no_embeddings_is_a_fault(body: bytes, words: str) -> None:
    reader = rendered(EMBED, input=["a", "b"]).reader
    reader.feed(body)
    reader.finish()
    assert words in (reader.fault or "")
    assert (reader.complete, reader.ending) == (False, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<html>",
        b'{"choices":[]}',
        b'{"choices":[{"message":{"content":"a"}}]}',
        b'{"choices":[{"message":{"content":"a"},"finish_reason":"abort"}]}',
        b'{"error":{"message":"no"}}',
    ],
)
def test_what_is_no_whole_answer_is_a_fault(body: bytes) -> None:
    reader = rendered(CHAT, **HI, stream=False).reader
    reader.feed(body)
    reader.finish()
    assert reader.fault
    assert (reader.complete, reader.ending) == (False, b"")
