"""The official clients, unchanged, through the real gateway to the real engine.

Texts of a model are not asserted on; structure, counts and ends are.
"""

import base64
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import ollama
import openai
import pydantic
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


class Colour(pydantic.BaseModel):
    """An answer whose length is bounded by its schema."""

    colour: Literal["red", "blue"]


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

    def test_a_response_over_several_turns(self, openai_client: openai.OpenAI) -> None:
        turns: Any = [{"role": "user", "content": "Name a colour."}]
        first = openai_client.responses.create(model="chat", input=turns, max_output_tokens=2)
        assert first.status == "incomplete"
        assert first.incomplete_details is not None
        assert first.incomplete_details.reason == "max_output_tokens"
        turns += [
            *first.output,
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Red."}]},
            {"role": "user", "content": "And another one."},
        ]
        second = openai_client.responses.create(model="chat", input=turns, max_output_tokens=8)
        assert second.output_text
        assert second.usage is not None
        assert second.usage.output_tokens <= 8

    def test_a_response_streamed_with_the_helper(self, openai_client: openai.OpenAI) -> None:
        with openai_client.responses.stream(
            model="chat", input="Name a colour.", text_format=Colour, temperature=0
        ) as stream:
            events = list(stream)
            final = stream.get_final_response()
        assert final.status == "completed"
        assert final.output_parsed is not None
        said = "".join(each.delta for each in events if each.type == "response.output_text.delta")
        assert said == final.output_text
        numbers = [each.sequence_number for each in events]
        assert numbers == sorted(numbers)

    def test_a_response_of_a_schema(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.responses.parse(
            model="chat", input="Name a colour.", text_format=Colour, max_output_tokens=60
        )
        assert answer.output_parsed is not None
        assert answer.output_parsed.colour in {"red", "blue"}

    def test_embeddings(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.embeddings.create(model="embed", input=["cat", "kitten", "revenue"])
        cat, kitten, revenue = (each.embedding for each in answer.data)
        assert len(cat) == 384
        assert _cosine(cat, kitten) > _cosine(cat, revenue) + 0.3

    @pytest.mark.parametrize("form", ["float", "base64", openai.omit])
    def test_embeddings_of_a_size(self, openai_client: openai.OpenAI, form: Any) -> None:
        asked: Any = {"model": "embed", "input": ["cat", "kitten"], "encoding_format": form}
        answer = openai_client.embeddings.create(**asked, dimensions=64)
        for given in (each.embedding for each in answer.data):
            vector = _unpacked(given) if isinstance(given, str) else given
            assert len(vector) == 64
            assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-3)
        with pytest.raises(openai.BadRequestError, match="384"):
            openai_client.embeddings.create(**asked, dimensions=1024)

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
            ({"max_tokens": 0}, openai.BadRequestError),
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

    def test_a_prompt_that_is_too_long(self, openai_client: openai.OpenAI) -> None:
        long: list[Any] = [{"role": "user", "content": "hello " * 9000}]
        for stream in (True, False):
            with pytest.raises(openai.BadRequestError, match="takes at most 4096") as refused:
                openai_client.chat.completions.create(model="chat", messages=long, stream=stream)
            assert refused.value.code == "context_length_exceeded"
        with pytest.raises(openai.BadRequestError) as refused:
            openai_client.embeddings.create(model="embed", input="hello " * 2000)
        assert refused.value.code == "context_length_exceeded"

    def test_an_image_for_a_model_without_eyes(self, openai_client: openai.OpenAI) -> None:
        url = "data:image/png;base64,iVBORw0KGgo="
        part: Any = {"type": "image_url", "image_url": {"url": url}}
        with pytest.raises(openai.BadRequestError, match="'chat' takes no image input"):
            openai_client.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": [part]}]
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

    def test_models(self, anthropic_client: anthropic.Anthropic) -> None:
        listed = anthropic_client.models.list()
        assert [model.id for model in listed] == ["chat", "embed"]
        assert listed.has_more is False
        assert anthropic_client.models.retrieve("chat").created_at.year > 2020

    def test_tokens_are_counted(self, anthropic_client: anthropic.Anthropic) -> None:
        count = anthropic_client.messages.count_tokens(model="chat", messages=QUESTION)
        answer = anthropic_client.messages.create(model="chat", max_tokens=1, messages=QUESTION)
        used = answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)
        assert count.input_tokens == used
        assert answer._request_id

    def test_a_stop_sequence(self, anthropic_client: anthropic.Anthropic) -> None:
        asked: Any = {"model": "chat", "max_tokens": 60, "messages": QUESTION}
        asked |= {"stop_sequences": ["a", "e", "o"], "extra_body": {"temperature": 0}}
        answer = anthropic_client.messages.create(**asked)
        assert answer.stop_reason == "stop_sequence"
        assert answer.stop_sequence in {"a", "e", "o"}
        with anthropic_client.messages.stream(**asked) as stream:
            assert stream.get_final_message().stop_reason == "stop_sequence"

    def test_a_document_is_read(self, anthropic_client: anthropic.Anthropic) -> None:
        source: Any = {"type": "text", "media_type": "text/plain", "data": "The sky. " * 50}
        content: Any = [{"type": "document", "source": source}, {"type": "text", "text": "So?"}]
        answer = anthropic_client.messages.create(
            model="chat", max_tokens=8, messages=[{"role": "user", "content": content}]
        )
        usage = answer.usage
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) > 100

    def test_an_answer_of_a_schema(self, anthropic_client: anthropic.Anthropic) -> None:
        schema = {**Colour.model_json_schema(), "additionalProperties": False}
        config: Any = {"format": {"type": "json_schema", "schema": schema}}
        answer = anthropic_client.messages.create(
            model="chat", max_tokens=60, messages=QUESTION, output_config=config
        )
        block = answer.content[0]
        assert block.type == "text"
        assert Colour.model_validate_json(block.text)

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
        names = ["chat:latest", "embed:latest"]
        assert [model.model for model in ollama_client.list().models] == names
        assert [model.model for model in ollama_client.ps().models] == names
        for name in ("chat", "chat:latest"):
            assert ollama_client.show(name).capabilities == ["completion", "tools"]
        assert ollama_client.show("embed").capabilities == ["embedding"]

    @pytest.mark.parametrize("name", ["chat", "chat:latest"])
    def test_an_answer_is_under_the_name_that_was_asked_for(
        self, ollama_client: ollama.Client, name: str
    ) -> None:
        options = {"num_predict": 2, "num_thread": 4, "num_gpu": None, "top_k": 3.0}
        for stream in (True, False):
            answer: Any = ollama_client.chat(name, QUESTION, options=options, stream=stream)
            parts = list(answer) if stream else [answer]
            assert {part.model for part in parts} == {name}

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
        assert ollama_client.embed("embed", "").embeddings == []
        assert len(ollama_client.embeddings("embed:latest", "cat").embedding) == 384

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


def _unpacked(text: str) -> list[float]:
    return list(memoryview(base64.b64decode(text)).cast("f"))


def _cosine(first: list[float], second: list[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    norms = sum(a * a for a in first) ** 0.5 * sum(b * b for b in second) ** 0.5
    return float(product / norms)
