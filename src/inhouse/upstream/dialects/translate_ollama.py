"""Ollama's requests for engines of the OpenAI API: llama.cpp, vLLM and their like.

Conversations and prompts become chats; raw prompts and gaps to fill become completions. Options
shape how tokens are drawn, so one that an engine does not have is left away, as Ollama itself
does: swapping engines must not break a client. What would change the answer's kind is refused.
"""

import base64
import binascii
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from inhouse.domain import EngineKind, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.ollama_fields import TYPES, Message, Options
from inhouse.upstream.dialects.ollama_parse import EMBEDS
from inhouse.upstream.dialects.shapes import LLAMACPP_KINDS, Ask, Reader, Rendered
from inhouse.upstream.dialects.translate_ollama_answer import (
    ChatWriter,
    EmbeddingReader,
    EmbedReader,
    GenerateWriter,
    LoadWriter,
    Stopwatch,
)
from inhouse.upstream.dialects.translate_reader import StreamReader, WholeReader, Writer

_EVERYWHERE = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
_LLAMACPP = {
    name: name
    for name in (
        *("top_k", "min_p", "repeat_penalty", "repeat_last_n", "typical_p"),
        *("mirostat", "mirostat_tau", "mirostat_eta"),
    )
} | {"num_keep": "n_keep"}
_VLLM = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"}

_TYPE_OF_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
    (b"BM", "image/bmp"),
)


def option_names(kind: EngineKind) -> dict[str, str]:
    """Ollama's name of each option that an engine has, with the engine's name for it."""
    if kind in LLAMACPP_KINDS:
        return _EVERYWHERE | _LLAMACPP
    return _EVERYWHERE | _VLLM if kind is EngineKind.VLLM else _EVERYWHERE


def render(
    ask: Ask,
    kind: EngineKind,
    engine_model: str,
    max_tokens: int | None,
    now: Callable[[], float],
) -> Rendered:
    """The request in the words of the OpenAI API. Raises Refusal for what cannot be said there."""
    values = {name: _decode(name, raw) for name, raw in ask.fields.items() if name in TYPES}
    watch = Stopwatch(now)
    if ask.operation in EMBEDS:
        return _embed(ask, values, kind, engine_model, watch)
    if ask.facts.get("load"):
        return _load(ask, engine_model, watch)
    body: dict[str, Any] = {"model": engine_model, "stream": ask.stream}
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    body |= _sampling(values.get("options") or Options(), kind)
    body |= _format(values.get("format"))
    path = _content(body, ask, values, kind)
    writer_type = ChatWriter if ask.operation is Operation.OLLAMA_CHAT else GenerateWriter
    writer = writer_type(ask.answers_as, watch)
    return Rendered(path, msgspec.json.encode(body), _reader(ask, writer))


def _decode(name: str, raw: msgspec.Raw) -> Any:
    return msgspec.json.decode(raw, type=TYPES[name])


def _reader(ask: Ask, writer: Writer) -> Reader:
    return (StreamReader if ask.stream else WholeReader)(ask.answers_as, writer)


def _load(ask: Ask, engine_model: str, watch: "Stopwatch") -> Rendered:
    """One token, to prove that the model is there; the answer says no more than that."""
    body = {
        "model": engine_model,
        "messages": [{"role": "user", "content": "ready?"}],
        "max_tokens": 1,
        "stream": False,
    }
    chat = ask.operation is Operation.OLLAMA_CHAT
    reader = WholeReader(ask.answers_as, LoadWriter(ask.answers_as, watch, chat=chat))
    return Rendered("/v1/chat/completions", msgspec.json.encode(body), reader)


def _embed(
    ask: Ask, values: dict[str, Any], kind: EngineKind, engine_model: str, watch: "Stopwatch"
) -> Rendered:
    """Where there is no text, the engine is asked for one all the same: the model is there."""
    inputs = ask.facts["inputs"]
    one = ask.operation is Operation.OLLAMA_EMBEDDING
    body: dict[str, Any] = {
        "model": engine_model,
        "input": values["prompt" if one else "input"] if inputs else "ready?",
        "encoding_format": "float",
    }
    if kind is EngineKind.VLLM and values.get("truncate", True):
        body["truncate_prompt_tokens"] = -1  # to the context, as Ollama does unless told not to
    made = EmbeddingReader if one else EmbedReader
    reader = made(ask.answers_as, watch, inputs, values.get("dimensions"))
    return Rendered("/v1/embeddings", msgspec.json.encode(body), reader)


def _sampling(options: Options, kind: EngineKind) -> dict[str, Any]:
    """The options that the engine has, under its names."""
    names = option_names(kind)
    given = ((name, getattr(options, name)) for name in names)
    return {names[name]: value for name, value in given if value is not None}


def _format(wanted: str | dict[str, Any] | None) -> dict[str, Any]:
    if not wanted:
        return {}
    if wanted == "json":
        return {"response_format": {"type": "json_object"}}
    schema = {"name": "answer", "schema": wanted, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _content(body: dict[str, Any], ask: Ask, values: dict[str, Any], kind: EngineKind) -> str:
    """Put what is asked into the body; the path it is asked at."""
    if values.get("raw") or values.get("suffix"):
        return _completion(body, values, kind)
    if ask.operation is Operation.OLLAMA_CHAT:
        body["messages"] = messages(values["messages"], kind)
    else:
        body["messages"] = _prompt_messages(values)
    if tools := values.get("tools"):
        body["tools"] = tools
    if values.get("logprobs"):
        body |= {"logprobs": True, "top_logprobs": values.get("top_logprobs", 0)}
    body |= thinking(values.get("think"), kind)
    return "/v1/chat/completions"


def _completion(body: dict[str, Any], values: dict[str, Any], kind: EngineKind) -> str:
    body["prompt"] = values["prompt"]
    if values.get("images"):
        raise _not_spoken("images", "goes into a raw prompt on this model's engine")
    if values.get("logprobs"):
        raise _not_spoken("logprobs", "comes with a raw prompt on this model's engine")
    if values.get("suffix"):
        if kind in LLAMACPP_KINDS:  # it would be passed over in silence
            raise _not_spoken("suffix", "fills in the middle on this model's engine")
        body["suffix"] = values["suffix"]
    return "/v1/completions"


def _not_spoken(param: str, what: str) -> Refusal:
    return Refusal(Code.NOT_SPOKEN, 400, f"{param}: nothing {what}", param=param)


def thinking(think: bool | str | None, kind: EngineKind) -> dict[str, Any]:
    """`think`, for the engines whose chat templates know of it; nothing where nothing was said."""
    if think is None or not (kind in LLAMACPP_KINDS or kind is EngineKind.VLLM):
        return {}
    said: dict[str, Any] = {"enable_thinking": bool(think)}
    if isinstance(think, str):
        said["reasoning_effort"] = think
    return {"chat_template_kwargs": said}


def _prompt_messages(values: dict[str, Any]) -> list[dict[str, Any]]:
    said = [{"role": "system", "content": values["system"]}] if values.get("system") else []
    user = Message(role="user", content=values["prompt"], images=values.get("images"))
    return [*said, {"role": "user", "content": _with_images(user)}]


def messages(given: list[Message], kind: EngineKind) -> list[dict[str, Any]]:
    """A conversation in OpenAI's shape.

    Ollama's tool calls need no ids and OpenAI's do: calls are numbered through the conversation,
    and a result without an id answers the oldest call that is still open (of that tool's name,
    if it says one).
    """
    ids = _CallIds()
    return [_message(message, ids, kind) for message in given]


def _message(message: Message, ids: "_CallIds", kind: EngineKind) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": _with_images(message)}
    if message.role == "tool":
        said["tool_call_id"] = message.tool_call_id or ids.answered(message.tool_name)
    if message.tool_calls:
        said["tool_calls"] = [
            {
                "id": ids.made(call.id, call.function.name),
                "type": "function",
                "function": {
                    "name": call.function.name,
                    "arguments": msgspec.json.encode(call.function.arguments or {}).decode(),
                },
            }
            for call in message.tool_calls
        ]
    if message.thinking and kind is not EngineKind.OPENAI:
        said["reasoning_content"] = message.thinking
    return said


def _with_images(message: Message) -> str | list[dict[str, Any]]:
    if not message.images:
        return message.content or ""
    parts: list[dict[str, Any]] = []
    if message.content:
        parts.append({"type": "text", "text": message.content})
    urls = (_data_url(image) for image in message.images)
    return [*parts, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]


def _data_url(image: str) -> str:
    """The image inline, and only ever inline: an engine must not fetch what a client names."""
    try:
        start = base64.b64decode(image[:16], validate=True)
    except (binascii.Error, ValueError) as error:
        sentence = "images: each image must be base64 text"
        raise Refusal(Code.INVALID_FIELD, 400, sentence, param="images") from error
    kind = next((kind for magic, kind in _TYPE_OF_MAGIC if start.startswith(magic)), "image/png")
    return f"data:{kind};base64,{image}"


class _CallIds:
    """Numbers the tool calls of a conversation, and knows which are still unanswered."""

    def __init__(self) -> None:
        self._count = 0
        self._open: deque[tuple[str, str]] = deque()  # id, tool's name

    def made(self, given: str | None, name: str) -> str:
        call_id = given or f"call_{self._count}"
        self._count += 1
        self._open.append((call_id, name))
        return call_id

    def answered(self, name: str | None) -> str:
        for entry in self._open:
            if name is None or entry[1] == name:
                self._open.remove(entry)
                return entry[0]
        return self.made(None, name or "")
