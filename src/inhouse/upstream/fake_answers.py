"""What the fake engine says: answers in all dialects, as pieces of a body, from pre-made bytes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

CREATED = 1_700_000_000
CREATED_AT = "2023-11-14T22:13:20Z"
WORD = " hello"
DIMENSIONS = 8

_encode = msgspec.json.encode


class Asked(msgspec.Struct):
    """What is read of a request, in any dialect."""

    model: str = ""
    stream: bool | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    stream_options: dict[str, bool] | None = None
    options: dict[str, Any] | None = None
    messages: list[Any] = []
    prompt: str | list[Any] | None = None
    input: str | list[Any] | None = None

    @property
    def bound(self) -> int | None:
        """The most tokens that the client wants."""
        options = self.options or {}
        predict = options.get("num_predict")
        named = self.max_tokens or self.max_completion_tokens or self.max_output_tokens
        return named or (predict if isinstance(predict, int) and predict > 0 else None)

    @property
    def wants_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))


@dataclass(frozen=True, slots=True)
class Speech:
    """The words of one answer, and how it ends."""

    model: str
    words: list[str]
    cut_short: bool  # the client's bound ended it
    prompt_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.words)


@dataclass(frozen=True, slots=True)
class Answer:
    """A body in pieces, one per token or event; the last is what ends it properly. One without
    pieces is whole, and took `tokens` to make."""

    content_type: bytes
    pieces: list[bytes] = field(default_factory=list)
    ending: bytes = b""
    tokens: int = 0


def sse(document: object, event: str = "") -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + _encode(document) + b"\n\n"


def _usage(speech: Speech, choices: int = 1) -> dict[str, int]:
    completion = len(speech.words) * choices
    return {
        "prompt_tokens": speech.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": speech.prompt_tokens + completion,
    }


def _finish(speech: Speech) -> str:
    return "length" if speech.cut_short else "stop"


def _openai(
    asked: Asked, speech: Speech, kind: str, said: Callable[[str, bool], dict[str, Any]]
) -> Answer:
    choices = asked.n or 1
    base = {"id": "fake-1", "created": CREATED, "model": speech.model}
    if not asked.stream:
        body = base | {"object": kind, "usage": _usage(speech, choices)}
        body["choices"] = [
            {"index": index, **said(speech.text, False), "finish_reason": _finish(speech)}
            for index in range(choices)
        ]
        return Answer(b"application/json", [], _encode(body), len(speech.words) * choices)
    kind = kind if kind == "text_completion" else f"{kind}.chunk"

    def chunk(index: int, delta: dict[str, Any], finish: str | None) -> bytes:
        choice = {"index": index, **delta, "finish_reason": finish}
        return sse(base | {"object": kind, "choices": [choice]})

    pieces = []
    for index in range(choices):
        made: dict[str, bytes] = {}
        for word in speech.words:
            if word not in made:
                made[word] = chunk(index, said(word, True), None)
            pieces.append(made[word])
        pieces.append(chunk(index, said("", True), _finish(speech)))
    if asked.wants_usage:
        usage = {"object": kind, "choices": [], "usage": _usage(speech, choices)}
        pieces.append(sse(base | usage))
    return Answer(b"text/event-stream", pieces, b"data: [DONE]\n\n")


def chat(asked: Asked, speech: Speech) -> Answer:
    def said(text: str, streamed: bool) -> dict[str, Any]:
        if streamed:
            return {"delta": {"content": text} if text else {}}
        return {"message": {"role": "assistant", "content": text}}

    return _openai(asked, speech, "chat.completion", said)


def completion(asked: Asked, speech: Speech) -> Answer:
    return _openai(asked, speech, "text_completion", lambda text, _: {"text": text})


def response(asked: Asked, speech: Speech) -> Answer:
    item = {
        "type": "message",
        "id": "msg_fake",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": speech.text, "annotations": []}],
    }
    status = "incomplete" if speech.cut_short else "completed"
    usage = {
        "input_tokens": speech.prompt_tokens,
        "output_tokens": len(speech.words),
        "total_tokens": speech.prompt_tokens + len(speech.words),
    }
    whole = {"id": "resp_fake", "object": "response", "created_at": CREATED, "model": speech.model}
    begun = whole | {"status": "in_progress", "output": []}
    whole |= {"status": status, "output": [item], "usage": usage}
    if speech.cut_short:
        whole["incomplete_details"] = {"reason": "max_output_tokens"}
    if not asked.stream:
        return Answer(b"application/json", [], _encode(whole), len(speech.words))

    def event(kind: str, **facts: Any) -> bytes:
        return sse({"type": kind, **facts}, kind)

    place = {"item_id": "msg_fake", "output_index": 0, "content_index": 0}
    pieces = [event("response.created", response=begun)]
    pieces += [event("response.output_text.delta", delta=word, **place) for word in speech.words]
    pieces.append(event("response.output_text.done", text=speech.text, **place))
    kind = f"response.{status}"
    return Answer(b"text/event-stream", pieces, event(kind, response=whole))


def embedding(asked: Asked, speech: Speech) -> Answer:
    texts = asked.input if isinstance(asked.input, list) else [asked.input]
    data = [
        {"object": "embedding", "index": index, "embedding": [0.125] * DIMENSIONS}
        for index in range(len(texts))
    ]
    usage = {"prompt_tokens": speech.prompt_tokens, "total_tokens": speech.prompt_tokens}
    body = {"object": "list", "model": speech.model, "data": data, "usage": usage}
    return Answer(b"application/json", [], _encode(body))


def message(asked: Asked, speech: Speech) -> Answer:
    reason = "max_tokens" if speech.cut_short else "end_turn"
    base = {"id": "msg_fake", "type": "message", "role": "assistant", "model": speech.model}
    usage = {"input_tokens": speech.prompt_tokens, "output_tokens": len(speech.words)}
    if not asked.stream:
        content = [{"type": "text", "text": speech.text}]
        body = base | {"content": content, "stop_reason": reason, "stop_sequence": None}
        return Answer(b"application/json", [], _encode(body | {"usage": usage}), len(speech.words))

    def event(kind: str, **facts: Any) -> bytes:
        return sse({"type": kind, **facts}, kind)

    begun: dict[str, Any] = base | {"content": [], "stop_reason": None, "stop_sequence": None}
    begun["usage"] = {"input_tokens": speech.prompt_tokens, "output_tokens": 0}
    pieces = [
        event("message_start", message=begun),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    ]
    pieces += [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
        for word in speech.words
    ]
    pieces.append(event("content_block_stop", index=0))
    end = {"stop_reason": reason, "stop_sequence": None}
    pieces.append(event("message_delta", delta=end, usage={"output_tokens": len(speech.words)}))
    return Answer(b"text/event-stream", pieces, event("message_stop"))


def count_tokens(asked: Asked, speech: Speech) -> Answer:
    return Answer(b"application/json", [], _encode({"input_tokens": speech.prompt_tokens}))


def _ollama(asked: Asked, speech: Speech, said: Callable[[str], dict[str, Any]]) -> Answer:
    base = {"model": speech.model, "created_at": CREATED_AT}
    end = {
        "done": True,
        "done_reason": _finish(speech),
        "total_duration": 1_000_000,
        "load_duration": 0,
        "prompt_eval_count": speech.prompt_tokens,
        "prompt_eval_duration": 500_000,
        "eval_count": len(speech.words),
        "eval_duration": 500_000,
    }
    if asked.stream is False:
        body = _encode(base | said(speech.text) | end)
        return Answer(b"application/json", [], body, len(speech.words))
    pieces = [_encode(base | said(word) | {"done": False}) + b"\n" for word in speech.words]
    return Answer(b"application/x-ndjson", pieces, _encode(base | said("") | end) + b"\n")


def ollama_chat(asked: Asked, speech: Speech) -> Answer:
    return _ollama(asked, speech, lambda text: {"message": {"role": "assistant", "content": text}})


def ollama_generate(asked: Asked, speech: Speech) -> Answer:
    return _ollama(asked, speech, lambda text: {"response": text})


def ollama_embed(asked: Asked, speech: Speech) -> Answer:
    texts = asked.input if isinstance(asked.input, list) else [asked.input]
    body = {
        "model": speech.model,
        "embeddings": [[0.125] * DIMENSIONS for _ in texts],
        "prompt_eval_count": speech.prompt_tokens,
    }
    return Answer(b"application/json", [], _encode(body))


def ollama_embedding(asked: Asked, speech: Speech) -> Answer:
    return Answer(b"application/json", [], _encode({"embedding": [0.125] * DIMENSIONS}))


ANSWERS: dict[str, Callable[[Asked, Speech], Answer]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/responses": response,
    "/v1/embeddings": embedding,
    "/v1/messages": message,
    "/v1/messages/count_tokens": count_tokens,
    "/api/chat": ollama_chat,
    "/api/generate": ollama_generate,
    "/api/embed": ollama_embed,
    "/api/embeddings": ollama_embedding,
}


def listings(model: str) -> dict[str, object]:
    """What is answered to GET."""
    details = {"format": "", "family": "", "families": [], "parameter_size": ""}
    named = {"name": model, "model": model, "modified_at": CREATED_AT, "size": 0, "digest": ""}
    return {
        "/health": {"status": "ok"},
        "/v1/models": {
            "object": "list",
            "data": [{"id": model, "object": "model", "created": CREATED, "owned_by": "fake"}],
        },
        "/api/tags": {"models": [named | {"details": details}]},
        "/api/ps": {"models": [named | {"details": details, "size_vram": 0}]},
        "/api/version": {"version": "0.13.0"},
    }
