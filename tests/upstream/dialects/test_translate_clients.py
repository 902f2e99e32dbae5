"""The official clients of Ollama, Anthropic and OpenAI read what the translators write.

The server here is a double of the transport alone: it hands a golden answer of an engine, in
pieces, to the reader that belongs to the request, and sends what comes out.
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind
from inhouse.errors import Code, Refusal
from inhouse.gateway.routes import ROUTES
from inhouse.upstream.dialects.table import DIALECT, error_shape, parse, render

DATA = Path(__file__).parent / "data"
PIECE = 97  # bytes; no multiple of anything in the data
ID = "req_7"
TRUNCATED = Refusal(Code.ANSWER_TRUNCATED, 502, "the engine broke off")

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
MESSAGES: list[Any] = [{"role": "user", "content": "What is the weather?"}]
THINKING = "They want the weather — twice."
TEXT = "Zoë: I look it up 😀."
CALLS = [{"city": "Paris"}, {"city": "Köln", "days": 2}]


def answered(path: str, body: bytes, golden: str, cut: int | None) -> tuple[bytes, bytes]:
    """The content type and the bytes that a client gets; broken off after `cut` bytes."""
    operation: Any = ROUTES[path.encode()].does
    shape = error_shape(DIALECT[operation], operation)
    ask = parse(operation, body, LimitsSection(), frozenset())
    rendered = render(ask, EngineKind.OPENAI, "served", 100, lambda: 1_795_519_037.5)
    made = rendered.reader
    streamed = json.loads(rendered.body).get("stream", False)
    engines = (DATA / f"{golden}.{'sse' if streamed else 'json'}").read_bytes()[:cut]
    out = b"".join([made.feed(engines[at : at + PIECE]) for at in range(0, len(engines), PIECE)])
    out += made.finish()
    return made.content_type, out + (made.ending or shape.event(TRUNCATED, ID))


@asynccontextmanager
async def serving(golden: str, cut: int | None = None) -> AsyncIterator[str]:
    """The base URL of the double."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        path = head.split(" ")[1].partition("?")[0]
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        kind, body = answered(path, await reader.readexactly(size), golden, cut)
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %b\r\n\r\n" % kind)
        writer.write(body)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


def ollama_at(url: str) -> ollama.AsyncClient:
    return ollama.AsyncClient(host=url)


def anthropic_at(url: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="k", max_retries=0)


def openai_at(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)


async def read_into(parts: list[Any], stream: AsyncIterable[Any]) -> None:
    """Keep what comes before the stream raises."""
    async for part in stream:
        parts.append(part)  # noqa: PERF401  # a comprehension would lose them


async def test_ollama_chat() -> None:
    async with serving("translate_tools") as url, ollama_at(url) as client:
        message = (await client.chat("alias", MESSAGES, think=True)).message
        assert (message.content, message.thinking) == (TEXT, THINKING)
        assert [call.function.arguments for call in message.tool_calls or ()] == CALLS


async def test_ollama_chat_streamed() -> None:
    async with serving("translate_tools") as url, ollama_at(url) as client:
        parts = [part async for part in await client.chat("alias", MESSAGES, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == TEXT
    assert "".join(part.message.thinking or "" for part in parts) == THINKING
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    assert [call.function.arguments for call in calls] == CALLS
    last = parts[-1]
    assert (last.done, last.done_reason, last.eval_count) == (True, "stop", 44)
    assert [part.done for part in parts[:-1]] == [False] * (len(parts) - 1)


async def test_ollama_generate() -> None:
    async with serving("llamacpp_completion") as url, ollama_at(url) as client:
        whole = await client.generate("alias", "Behind", raw=True)
        parts = [
            part async for part in await client.generate("alias", "Behind", raw=True, stream=True)
        ]
    assert whole.response == "".join(part.response or "" for part in parts)
    assert (whole.done_reason, parts[-1].done_reason) == ("length", "length")


async def test_ollama_asks_for_a_model_to_be_loaded() -> None:
    """The answer is one object, whether the client reads it whole or as a stream of lines."""
    async with serving("llamacpp_chat") as url, ollama_at(url) as client:
        said = [await client.generate("alias"), await client.chat("alias")]
        said += [part async for part in await client.generate("alias", stream=True)]
        said += [part async for part in await client.chat("alias", stream=True)]
    assert [one.done_reason for one in said] == ["load"] * 4


async def test_ollama_embed() -> None:
    async with serving("llamacpp_embedding") as url, ollama_at(url) as client:
        said = await client.embed("alias", ["a", "b"])
        assert [len(vector) for vector in said.embeddings] == [4, 4]
        assert (said.model, said.prompt_eval_count) == ("alias", 3)


async def test_ollama_is_told_that_a_stream_broke() -> None:
    async with serving("translate_tools", cut=2000) as url, ollama_at(url) as client:
        parts: list[ollama.ChatResponse] = []
        stream = await client.chat("alias", MESSAGES, stream=True)
        with pytest.raises(ollama.ResponseError) as caught:
            await read_into(parts, stream)
    assert caught.value.error == TRUNCATED.sentence
    assert parts
    assert not any(part.done for part in parts)


TOOLS: list[Any] = [{"name": "get_weather", "input_schema": WEATHER}]


def blocks_of(message: anthropic.types.Message) -> tuple[str, str, list[Any]]:
    thinking = "".join(block.thinking for block in message.content if block.type == "thinking")
    text = "".join(block.text for block in message.content if block.type == "text")
    return thinking, text, [block.input for block in message.content if block.type == "tool_use"]


async def test_anthropic() -> None:
    async with serving("translate_tools") as url, anthropic_at(url) as client:
        message = await client.messages.create(
            model="alias", max_tokens=100, messages=MESSAGES, tools=TOOLS
        )
    assert blocks_of(message) == (THINKING, TEXT, CALLS)
    assert (message.stop_reason, message.model) == ("tool_use", "alias")


async def test_anthropic_streamed() -> None:
    async with (
        serving("translate_tools") as url,
        anthropic_at(url) as client,
        client.messages.stream(
            model="alias", max_tokens=100, messages=MESSAGES, tools=TOOLS
        ) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
        message = await stream.get_final_message()
    assert text == TEXT
    assert blocks_of(message) == (THINKING, TEXT, CALLS)
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (15, 44)


async def test_anthropic_is_told_that_a_stream_broke() -> None:
    kinds: list[Any] = []
    async with (
        serving("translate_tools", cut=2000) as url,
        anthropic_at(url) as client,
        client.messages.stream(model="alias", max_tokens=100, messages=MESSAGES) as stream,
    ):
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            await read_into(kinds, stream)
    assert kinds[0].type == "message_start"
    assert all(event.type != "message_stop" for event in kinds)


FUNCTIONS: list[Any] = [{"type": "function", "name": "get_weather", "parameters": WEATHER}]


def output_of(response: Any) -> tuple[str, list[Any]]:
    calls = [item.arguments for item in response.output if item.type == "function_call"]
    return response.output_text, [json.loads(arguments) for arguments in calls]


async def test_responses() -> None:
    async with serving("translate_tools") as url, openai_at(url) as client:
        response = await client.responses.create(model="alias", input="?", tools=FUNCTIONS)
    assert output_of(response) == (TEXT, CALLS)
    assert response.usage is not None
    assert (response.status, response.usage.total_tokens) == ("completed", 75)


async def test_responses_streamed() -> None:
    async with (
        serving("translate_tools") as url,
        openai_at(url) as client,
        client.responses.stream(model="alias", input="?", tools=FUNCTIONS) as stream,
    ):
        kinds = [event.type async for event in stream]
        response = await stream.get_final_response()
    assert output_of(response) == (TEXT, CALLS)
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")


async def test_responses_are_told_that_a_stream_broke() -> None:
    events: list[Any] = []
    async with serving("translate_tools", cut=2000) as url, openai_at(url) as client:
        stream = await client.responses.create(model="alias", input="?", stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            await read_into(events, stream)
    assert events[0].type == "response.created"
    assert all(event.type != "response.completed" for event in events)
