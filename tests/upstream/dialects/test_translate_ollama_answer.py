"""Ollama clients in front of OpenAI engines: what is answered."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation, Usage
from inhouse.upstream.dialects.ollama_parse import parse
from inhouse.upstream.dialects.shapes import Reader, Rendered
from inhouse.upstream.dialects.translate_ollama import render

DATA = Path(__file__).parent / "data"
CHAT, GENERATE, EMBED = (
    Operation.OLLAMA_CHAT,
    Operation.OLLAMA_GENERATE,
    Operation.OLLAMA_EMBED,
)
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


class Clock:
    """The time of day, a quarter of a second later whenever it is asked."""

    def __init__(self) -> None:
        self.at = 1_795_519_037.0

    def __call__(self) -> float:
        self.at += 0.25
        return self.at


def rendered(operation: Operation, **body: Any) -> Rendered:
    sent = json.dumps({"model": "alias"} | body).encode()
    ask = parse(operation, sent, LimitsSection(), ())
    return render(ask, EngineKind.LLAMACPP, "served", 100, Clock())


def answered(reader: Reader, body: bytes) -> dict[str, Any]:
    assert reader.feed(body) == b""
    assert reader.finish() == b""
    assert reader.fault is None
    return dict(json.loads(reader.ending))


def lines(reader: Reader, name: str) -> list[dict[str, Any]]:
    out = reader.feed((DATA / name).read_bytes())
    assert reader.fault is None
    return [json.loads(line) for line in (out + reader.ending).splitlines()]


def test_a_raw_prompt() -> None:
    said = lines(rendered(GENERATE, prompt="Behind", raw=True).reader, "llamacpp_completion.sse")
    assert "".join(line["response"] for line in said) == " the scene, a small, enigmatic figure"
    assert (said[-1]["done_reason"], said[-1]["eval_count"]) == ("length", 8)


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
    sent = rendered(CHAT, messages=[*HI["messages"], message, result, result])
    body = json.loads(sent.body)
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
        (b'{"error":{"message":"too long"}}', "reported an error"),
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


def test_no_texts_have_no_vectors_and_the_engine_is_there_all_the_same() -> None:
    body = b'{"data":[{"embedding":[1.0,0.0]}],"usage":{"prompt_tokens":1}}'
    for operation, nothing, member in (
        (EMBED, {"input": []}, "embeddings"),
        (Operation.OLLAMA_EMBEDDING, {"prompt": ""}, "embedding"),
    ):
        made = rendered(operation, **nothing)
        assert json.loads(made.body)["input"]
        assert answered(made.reader, body)[member] == []


def test_one_embedding_in_the_older_form() -> None:
    made = rendered(Operation.OLLAMA_EMBEDDING, prompt="a cat")
    assert json.loads(made.body)["input"] == "a cat"
    assert answered(made.reader, b'{"data":[{"embedding":[0.5,0.5]}]}') == {"embedding": [0.5, 0.5]}
