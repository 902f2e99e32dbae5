"""The real llama.cpp server takes what the translators ask, and they can read what it answers.

Nothing is asserted on what the model says, which differs between builds; only on its shape.
"""

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import EngineKind, Operation
from inhouse.upstream.dialects.shapes import Reader
from inhouse.upstream.dialects.table import parse, render

pytestmark = pytest.mark.engine

MODELS = Path(sys.prefix) / "share" / "inhouse" / "models"
CHAT_MODEL = MODELS / "smollm2-135m.gguf"
EMBEDDING_MODEL = MODELS / "all-minilm-l6-v2.gguf"
SERVE = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx, params.n_parallel, params.warmup = 2048, 1, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.model_alias = {"served"}
if params.model.path.find("minilm") >= 0:
    params.embedding, params.n_batch, params.n_ubatch = True, 512, 512
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


def serve(model: Path) -> Iterator[str]:
    """The address of an engine of its own; it ends when its standard input does."""
    if not model.is_file():
        pytest.skip(f"{model} is not there: `make up` fetches it")
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"OMP_WAIT_POLICY": "passive"},
    ) as process:
        assert process.stdout is not None
        try:
            yield urlsplit(process.stdout.readline().decode().strip()).netloc
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def chat_engine() -> Iterator[str]:
    yield from serve(CHAT_MODEL)


@pytest.fixture(scope="module")
def embedding_engine() -> Iterator[str]:
    yield from serve(EMBEDDING_MODEL)


def answered(
    engine: str, operation: Operation, kind: EngineKind, **body: Any
) -> tuple[bytes, Reader]:
    """What a client gets of a real answer, without its ending; and the reader, complete."""
    sent = json.dumps({"model": "alias"} | body).encode()
    ask = parse(operation, sent, LimitsSection(), frozenset())
    rendered = render(ask, kind, "served", 24, time.time)
    connection = http.client.HTTPConnection(engine, timeout=60)
    headers = {"content-type": "application/json"}
    connection.request("POST", rendered.path, rendered.body, headers)
    response = connection.getresponse()
    out, reader = b"", rendered.reader
    while piece := response.read1():
        assert response.status == 200, piece
        out += reader.feed(piece)
    out += reader.finish()
    connection.close()
    assert reader.fault is None
    assert reader.complete
    return out, reader


MESSAGES = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "What is the capital of France?"},
]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
CALL = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}
OPTIONS = {
    "temperature": 0,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.05,
    "seed": 1,
    "stop": ["\n\n"],
    "repeat_penalty": 1.1,
    "repeat_last_n": 64,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "typical_p": 1.0,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "num_ctx": 4096,
    "num_keep": 4,
}
OLLAMA_CHATS: list[dict[str, Any]] = [
    {"messages": MESSAGES},
    {"messages": MESSAGES, "options": OPTIONS, "think": False},
    {"messages": MESSAGES, "logprobs": True, "top_logprobs": 2},
    {
        "messages": [
            *MESSAGES,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "19°", "tool_name": "weather"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
    },
]


@pytest.mark.parametrize("kind", [EngineKind.EMBEDDED, EngineKind.OPENAI])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("body", OLLAMA_CHATS)
def test_ollama_chat(
    chat_engine: str, kind: EngineKind, stream: bool, body: dict[str, Any]
) -> None:
    out, reader = answered(chat_engine, Operation.OLLAMA_CHAT, kind, stream=stream, **body)
    said = [json.loads(line) for line in (out + reader.ending).splitlines()]
    assert said[-1]["done"]
    assert said[-1]["done_reason"] in ("stop", "length")
    assert said[-1]["eval_count"] == reader.usage.completion_tokens
    assert "".join(line["message"]["content"] for line in said)
    assert all("logprobs" in line for line in said[:-1]) is ("logprobs" in body or not out)


def test_ollama_format(chat_engine: str) -> None:
    _, reader = answered(
        chat_engine,
        Operation.OLLAMA_CHAT,
        EngineKind.EMBEDDED,
        messages=MESSAGES,
        format=SCHEMA,
        stream=False,
    )
    assert set(json.loads(json.loads(reader.ending)["message"]["content"])) == {"city"}


@pytest.mark.parametrize(
    "body",
    [{"prompt": "Why is the sky blue?", "system": "Be brief."}, {"prompt": "2+2=", "raw": True}],
)
@pytest.mark.parametrize("stream", [True, False])
def test_ollama_generate(chat_engine: str, stream: bool, body: dict[str, Any]) -> None:
    out, reader = answered(
        chat_engine, Operation.OLLAMA_GENERATE, EngineKind.EMBEDDED, stream=stream, **body
    )
    said = [json.loads(line) for line in (out + reader.ending).splitlines()]
    assert "".join(line["response"] for line in said)
    assert said[-1]["prompt_eval_count"] > 0


@pytest.mark.parametrize("operation", [Operation.OLLAMA_CHAT, Operation.OLLAMA_GENERATE])
def test_ollama_load(chat_engine: str, operation: Operation) -> None:
    out, reader = answered(chat_engine, operation, EngineKind.EMBEDDED)
    assert out == b""
    assert json.loads(reader.ending)["done_reason"] == "load"


@pytest.mark.parametrize("dimensions", [None, 64])
def test_ollama_embed(embedding_engine: str, dimensions: int | None) -> None:
    _, reader = answered(
        embedding_engine,
        Operation.OLLAMA_EMBED,
        EngineKind.EMBEDDED,
        input=["a cat", "a kitten"],
        dimensions=dimensions,
    )
    vectors = json.loads(reader.ending)["embeddings"]
    assert [len(vector) for vector in vectors] == [dimensions or 384] * 2
    for vector in vectors:
        assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-3)
    assert reader.usage.prompt_tokens


@pytest.mark.parametrize("stream", [True, False])
def test_anthropic(chat_engine: str, stream: bool) -> None:
    out, reader = answered(
        chat_engine,
        Operation.MESSAGE,
        EngineKind.OPENAI,
        max_tokens=24,
        system="Be brief.",
        messages=[
            {"role": "user", "content": "What is the weather?"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "weather", "input": {}}],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": "19°"}],
            },
        ],
        tools=[{"name": "weather", "description": "d", "input_schema": SCHEMA}],
        stop_sequences=["\n\n"],
        stream=stream,
    )
    if stream:
        assert out.startswith(b"event: message_start")
        assert reader.ending.startswith(b"event: message_stop")
    else:
        assert json.loads(reader.ending)["content"][0]["text"]
    assert reader.usage.completion_tokens


@pytest.mark.parametrize("stream", [True, False])
def test_responses(chat_engine: str, stream: bool) -> None:
    out, reader = answered(
        chat_engine,
        Operation.RESPONSE,
        EngineKind.OPENAI,
        instructions="Be brief.",
        input=[{"role": "user", "content": "What is the capital of France?"}],
        tools=[{"type": "function", **FUNCTION}],
        text={"format": {"type": "text"}},
        stream=stream,
    )
    if stream:
        assert out.startswith(b"event: response.created")
        assert reader.ending.startswith((b"event: response.completed", b"event: response.incomp"))
    else:
        assert json.loads(reader.ending)["output"][0]["content"][0]["text"]
    assert reader.usage.completion_tokens
