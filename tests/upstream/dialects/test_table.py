"""Every operation is rendered for every kind of engine, and goes where that kind listens."""

import json

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, EngineKind, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.table import DIALECT, SPOKEN_BY, error_shape, parse, render

MESSAGES = [{"role": "user", "content": "hi"}]
BODIES: dict[Operation, dict[str, object]] = {
    Operation.CHAT: {"messages": MESSAGES},
    Operation.COMPLETION: {"prompt": "hi"},
    Operation.RESPONSE: {"input": "hi"},
    Operation.EMBEDDING: {"input": "hi"},
    Operation.MESSAGE: {"messages": MESSAGES, "max_tokens": 7},
    Operation.COUNT_TOKENS: {"messages": MESSAGES},
    Operation.OLLAMA_CHAT: {"messages": MESSAGES},
    Operation.OLLAMA_GENERATE: {"prompt": "hi"},
    Operation.OLLAMA_EMBED: {"input": "hi"},
    Operation.OLLAMA_EMBEDDING: {"prompt": "hi"},
}
NATIVE_PATHS = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.COMPLETION: "/v1/completions",
    Operation.RESPONSE: "/v1/responses",
    Operation.EMBEDDING: "/v1/embeddings",
    Operation.MESSAGE: "/v1/messages",
    Operation.COUNT_TOKENS: "/v1/messages/count_tokens",
    Operation.OLLAMA_CHAT: "/api/chat",
    Operation.OLLAMA_GENERATE: "/api/generate",
    Operation.OLLAMA_EMBED: "/api/embed",
    Operation.OLLAMA_EMBEDDING: "/api/embeddings",
}
TRANSLATED_PATHS = {
    Operation.RESPONSE: "/v1/chat/completions",
    Operation.MESSAGE: "/v1/chat/completions",
    Operation.OLLAMA_CHAT: "/v1/chat/completions",
    Operation.OLLAMA_GENERATE: "/v1/chat/completions",
    Operation.OLLAMA_EMBED: "/v1/embeddings",
    Operation.OLLAMA_EMBEDDING: "/v1/embeddings",
}
UNBOUNDED = {
    *(Operation.EMBEDDING, Operation.OLLAMA_EMBED, Operation.OLLAMA_EMBEDDING),
    Operation.COUNT_TOKENS,
}


def paths_listened_at(kind: EngineKind) -> set[str]:
    """As found on running engines, and in Ollama's source."""
    everywhere = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings"}
    if kind is EngineKind.OLLAMA:
        return everywhere | {"/api/chat", "/api/generate", "/api/embed", "/api/embeddings"}
    if kind is EngineKind.OPENAI:
        return everywhere
    return everywhere | {"/v1/responses", "/v1/messages", "/v1/messages/count_tokens"}


@pytest.mark.parametrize("kind", EngineKind)
@pytest.mark.parametrize("operation", Operation)
def test_every_operation_goes_where_the_engine_listens(
    operation: Operation, kind: EngineKind
) -> None:
    sent = json.dumps({"model": "alias"} | BODIES[operation]).encode()
    ask = parse(operation, sent, LimitsSection(), frozenset())
    native = kind in SPOKEN_BY[operation]
    if operation is Operation.COUNT_TOKENS and not native:
        with pytest.raises(Refusal, match="cannot count tokens") as caught:
            render(ask, kind, "served", 7, lambda: 0.0)
        assert caught.value.code is Code.NOT_SPOKEN
        return
    rendered = render(ask, kind, "served", 7, lambda: 0.0)
    assert rendered.path == (NATIVE_PATHS if native else TRANSLATED_PATHS)[operation]
    assert rendered.path in paths_listened_at(kind)
    body = json.loads(rendered.body)
    assert body["model"] == "served"
    bounds = {
        body.get("max_tokens"),
        body.get("max_output_tokens"),
        body.get("options", {}).get("num_predict"),
    }
    assert (7 in bounds) is (operation not in UNBOUNDED)


@pytest.mark.parametrize("operation", Operation)
def test_an_ask_is_of_its_operation_and_dialect(operation: Operation) -> None:
    sent = json.dumps({"model": "alias"} | BODIES[operation]).encode()
    ask = parse(operation, sent, LimitsSection(), frozenset())
    assert (ask.operation, ask.dialect, ask.model) == (operation, DIALECT[operation], "alias")


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_says_no_with_sentence_code_and_id(dialect: Dialect) -> None:
    refusal = Refusal(Code.QUEUE_FULL, 503, "no room")
    shape = error_shape(dialect)
    for said in (shape.body(refusal, "req_7"), shape.event(refusal, "req_7")):
        for word in (b"no room", b"queue_full", b"req_7"):
            assert word in said


def test_a_stream_of_responses_ends_with_an_event_of_its_own() -> None:
    refusal = Refusal(Code.ANSWER_TRUNCATED, 502, "it broke off")
    event = error_shape(Dialect.OPENAI, Operation.RESPONSE).event(refusal, "req_7")
    head, data, *_ = event.split(b"\n")
    assert head == b"event: error"
    said = json.loads(data.removeprefix(b"data: "))
    assert (said["type"], said["code"]) == ("error", "answer_truncated")
    assert said["error"]["request_id"] == "req_7"
    assert error_shape(Dialect.OPENAI, Operation.CHAT) is error_shape(Dialect.OPENAI)
