"""The official clients, unchanged, through the real gateway to the real engine.

Texts of a model are not asserted on; structure, counts and ends are.
"""

from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest
from tests.conftest import Running

MESSAGES: list[Any] = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Name a colour."},
]
QUESTION: list[Any] = [{"role": "user", "content": "Name a colour."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture
def openai_client(real: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{real.url}/v1", api_key=real.key, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(real: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=real.url, api_key=real.key, max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(real: Running) -> Iterator[ollama.Client]:
    client = ollama.Client(real.url, headers={"Authorization": f"Bearer {real.key}"})
    yield client
    client._client.close()


class TestOpenAI:
    def test_models(self, openai_client: openai.OpenAI) -> None:
        assert [model.id for model in openai_client.models.list()] == ["chat", "embed"]
        assert openai_client.models.retrieve("chat").id == "chat"

    def test_chat(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.chat.completions.create(
            model="chat", messages=MESSAGES, max_tokens=8
        )
        assert answer.model == "chat"
        assert answer.choices[0].message.content
        assert answer.usage is not None
        assert 0 < answer.usage.completion_tokens <= 8

    def test_chat_streamed(self, openai_client: openai.OpenAI) -> None:
        with openai_client.chat.completions.create(
            model="chat", messages=MESSAGES, max_tokens=8, stream=True
        ) as stream:
            chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert chunks[-1].choices[0].finish_reason in {"length", "stop"}
        assert all(chunk.usage is None for chunk in chunks)

    def test_chat_streamed_with_usage(self, openai_client: openai.OpenAI) -> None:
        with openai_client.chat.completions.create(
            model="chat",
            messages=MESSAGES,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens <= 8

    def test_completion(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.completions.create(model="chat", prompt="One, two,", max_tokens=4)
        assert answer.choices[0].text
        with openai_client.completions.create(
            model="chat", prompt="One, two,", max_tokens=4, stream=True
        ) as stream:
            assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices)

    def test_responses(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.responses.create(
            model="chat", input="Name a colour.", max_output_tokens=8
        )
        assert answer.output_text
        with openai_client.responses.create(
            model="chat", input="Name a colour.", max_output_tokens=8, stream=True
        ) as stream:
            kinds = [event.type for event in stream]
        assert kinds[0] == "response.created"
        assert kinds[-1] in {"response.completed", "response.incomplete"}

    def test_embeddings(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.embeddings.create(model="embed", input=["cat", "kitten", "revenue"])
        cat, kitten, revenue = (each.embedding for each in answer.data)
        assert len(cat) == 384
        assert _cosine(cat, kitten) > _cosine(cat, revenue) + 0.3

    def test_json_schema(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.chat.completions.create(
            model="chat",
            messages=QUESTION,
            max_tokens=40,
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "colour",
                    "schema": {
                        "type": "object",
                        "properties": {"colour": {"enum": ["red", "blue"]}},
                        "required": ["colour"],
                        "additionalProperties": False,
                    },
                },
            },
        )
        assert "colour" in (answer.choices[0].message.content or "")

    def test_tools_are_accepted(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.chat.completions.create(
            model="chat",
            messages=QUESTION,
            max_tokens=16,
            tools=[TOOL],  # type: ignore[list-item]
        )
        assert answer.choices[0].finish_reason

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"model": "nope"}, openai.NotFoundError),
            ({"n": 1_000_000}, openai.BadRequestError),
            ({"max_tokens": 1_000_000}, openai.BadRequestError),
            ({"extra_body": {"max_token": 3}}, openai.BadRequestError),
            ({"extra_body": {"chat_template": "{{ x }}"}}, openai.BadRequestError),
        ],
    )
    def test_refusals(
        self, openai_client: openai.OpenAI, change: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            openai_client.chat.completions.create(
                **{"model": "chat", "messages": QUESTION, **change}
            )

    def test_a_wrong_key(self, real: Running) -> None:
        with (
            openai.OpenAI(base_url=f"{real.url}/v1", api_key="sk-wrong", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()


class TestAnthropic:
    def test_message(self, anthropic_client: anthropic.Anthropic) -> None:
        answer = anthropic_client.messages.create(
            model="chat", max_tokens=8, system="Be brief.", messages=QUESTION
        )
        assert answer.type == "message"
        assert answer.model == "chat"
        assert answer.usage.output_tokens <= 8
        assert answer.stop_reason in {"max_tokens", "end_turn"}

    def test_message_streamed(self, anthropic_client: anthropic.Anthropic) -> None:
        with anthropic_client.messages.stream(
            model="chat", max_tokens=8, messages=QUESTION
        ) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert text
        assert final.stop_reason in {"max_tokens", "end_turn"}

    def test_refusals(self, anthropic_client: anthropic.Anthropic) -> None:
        with pytest.raises(anthropic.NotFoundError, match="there is: chat, embed"):
            anthropic_client.messages.create(model="nope", max_tokens=8, messages=QUESTION)

    def test_a_wrong_key(self, real: Running) -> None:
        with (
            anthropic.Anthropic(base_url=real.url, api_key="wrong", max_retries=0) as client,
            pytest.raises(anthropic.AuthenticationError),
        ):
            client.messages.create(model="chat", max_tokens=8, messages=QUESTION)


class TestOllama:
    def test_listings(self, ollama_client: ollama.Client) -> None:
        assert [model.model for model in ollama_client.list().models] == ["chat", "embed"]
        assert [model.model for model in ollama_client.ps().models] == ["chat", "embed"]
        assert ollama_client.show("chat").capabilities == ["completion"]

    def test_chat(self, ollama_client: ollama.Client) -> None:
        answer = ollama_client.chat("chat", MESSAGES, options={"num_predict": 8})
        assert answer.done
        assert answer.message.content
        assert answer.eval_count is not None
        assert answer.eval_count <= 8

    def test_chat_streamed(self, ollama_client: ollama.Client) -> None:
        parts = list(ollama_client.chat("chat", MESSAGES, options={"num_predict": 8}, stream=True))
        assert "".join(part.message.content or "" for part in parts)
        assert [bool(part.done) for part in parts] == [False] * (len(parts) - 1) + [True]
        assert parts[-1].prompt_eval_count

    def test_generate(self, ollama_client: ollama.Client) -> None:
        answer = ollama_client.generate("chat", "Name a colour.", options={"num_predict": 8})
        assert answer.response
        parts = list(
            ollama_client.generate(
                "chat", "Name a colour.", options={"num_predict": 8}, stream=True
            )
        )
        assert parts[-1].done

    def test_embed(self, ollama_client: ollama.Client) -> None:
        answer = ollama_client.embed("embed", ["cat", "kitten"])
        assert [len(each) for each in answer.embeddings] == [384, 384]

    def test_an_unknown_model(self, ollama_client: ollama.Client) -> None:
        with pytest.raises(ollama.ResponseError, match="there is: chat, embed") as refused:
            ollama_client.chat("nope", QUESTION)
        assert refused.value.status_code == 404

    @pytest.mark.parametrize("verb", ["pull", "push", "delete", "copy", "create"])
    def test_management_does_not_exist(self, ollama_client: ollama.Client, verb: str) -> None:
        call = getattr(ollama_client, verb)
        arguments = {"copy": ("a", "b")}.get(verb, ("a",))
        with pytest.raises(ollama.ResponseError) as refused:
            call(*arguments)
        assert refused.value.status_code in {404, 405}


def _cosine(first: list[float], second: list[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    norms = sum(a * a for a in first) ** 0.5 * sum(b * b for b in second) ** 0.5
    return float(product / norms)
