"""Answers of the OpenAI API in Ollama's words: lines of JSON, and durations in nanoseconds."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from inhouse.domain import Usage
from inhouse.errors import EngineError
from inhouse.upstream.dialects.ollama import STREAM_TYPE
from inhouse.upstream.dialects.reading import JSON, REPORTED, Progress
from inhouse.upstream.dialects.translate_reader import End
from inhouse.upstream.dialects.translate_source import (
    Call,
    CallCollector,
    Choice,
    Counted,
    Logprobs,
    arguments_of,
    counted,
    whole_calls,
)
from inhouse.upstream.dialects.vectors import shortened

_DONE_REASON = {"tool_calls": "stop", "function_call": "stop"}


class Stopwatch:
    """Times one answer by the clock handed in (wall clock, seconds), from when it is made."""

    __slots__ = ("_began", "_first", "_now")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()
        self._first: float | None = None

    def created_at(self) -> str:
        """The time of day, RFC 3339, UTC."""
        at = datetime.fromtimestamp(self._now(), UTC)
        return at.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def first(self) -> None:
        """The engine has begun to answer: the prompt is evaluated."""
        if self._first is None:
            self._first = self._now()

    def durations(self) -> dict[str, int]:
        """Ollama's four, in nanoseconds. Loading is the operator's affair and takes no time here.

        Where the answer came in one piece, nobody knows how long the prompt took: all of it
        counts as answering, so that tokens per second come out low rather than infinite.
        """
        now = self._now()
        first = self._began if self._first is None else self._first
        return {
            "total_duration": _nanoseconds(now - self._began),
            "load_duration": 0,
            "prompt_eval_duration": _nanoseconds(first - self._began),
            "eval_duration": _nanoseconds(now - first),
        }


def _nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))  # a wall clock may be set back


class _LineWriter:
    """What chat and generate have in common: all but the member that holds the words."""

    stream_type = STREAM_TYPE

    def __init__(self, alias: str, watch: Stopwatch) -> None:
        self._alias = alias
        self._watch = watch
        self._calls = CallCollector()

    def words(self, content: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
        raise NotImplementedError

    def piece(self, answer_id: str, choice: Choice) -> bytes:
        self._watch.first()
        said = choice.said
        self._calls.add(said.tool_calls)
        if not (said.content or said.thinking):
            return b""
        words = self.words(said.content or "", said.thinking, [])
        return self._line(words | _logprobs(choice.logprobs), done=False) + b"\n"

    def close(self, end: End) -> tuple[bytes, bytes]:
        calls = _ollama_calls(self._calls.calls, end)
        released = self._line(self.words("", "", calls), done=False) + b"\n" if calls else b""
        return released, self._last(self.words("", "", []), end) + b"\n"

    def whole(self, answer_id: str, choice: Choice, end: End) -> bytes:
        said = choice.said
        calls = _ollama_calls(whole_calls(said), end)
        words = self.words(said.content or "", said.thinking, calls)
        return self._last(words | _logprobs(choice.logprobs), end)

    def _line(self, words: dict[str, Any], *, done: bool) -> bytes:
        head = {"model": self._alias, "created_at": self._watch.created_at()}
        return msgspec.json.encode(head | words | {"done": done})

    def _last(self, words: dict[str, Any], end: End) -> bytes:
        head = {"model": self._alias, "created_at": self._watch.created_at()}
        reason = _DONE_REASON.get(end.finish_reason, end.finish_reason)
        tail = {"done": True, "done_reason": reason} | self._watch.durations() | _counts(end.usage)
        return msgspec.json.encode(head | words | tail)


class ChatWriter(_LineWriter):
    """Answers of /api/chat."""

    def words(self, content: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = calls
        return {"message": message}


class GenerateWriter(_LineWriter):
    """Answers of /api/generate. No `context`: conversations are not kept in tokens here."""

    def words(self, content: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
        words: dict[str, Any] = {"response": content}
        if thinking:
            words["thinking"] = thinking
        if calls:
            words["tool_calls"] = calls
        return words


class LoadWriter:
    """The answer to an empty request: the model is there."""

    stream_type = STREAM_TYPE

    def __init__(self, alias: str, watch: Stopwatch, *, chat: bool) -> None:
        self._alias = alias
        self._watch = watch
        self._chat = chat

    def piece(self, answer_id: str, choice: Choice) -> bytes:
        return b""

    def close(self, end: End) -> tuple[bytes, bytes]:
        return b"", self.whole("", Choice(), end)

    def whole(self, answer_id: str, choice: Choice, end: End) -> bytes:
        words: dict[str, Any] = {"response": ""}
        if self._chat:
            words = {"message": {"role": "assistant", "content": ""}}
        head = {"model": self._alias, "created_at": self._watch.created_at()}
        return msgspec.json.encode(head | words | {"done": True, "done_reason": "load"})


def _ollama_calls(calls: list[Call], end: End) -> list[dict[str, Any]]:
    cut = end.finish_reason == "length"
    said = ((call, arguments_of(call, cut=cut)) for call in calls)
    return [
        {"id": call.id, "function": {"index": place, "name": call.name, "arguments": arguments}}
        for place, (call, arguments) in enumerate(said)
        if arguments is not None
    ]


def _counts(usage: Usage) -> dict[str, int]:
    counts = {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}
    return {name: count for name, count in counts.items() if count is not None}


def _logprobs(given: Logprobs | None) -> dict[str, Any]:
    return {"logprobs": given.content} if given is not None and given.content else {}


class _Embedding(msgspec.Struct):
    embedding: msgspec.Raw  # a list of numbers: thousands of them, passed on unread
    index: int = 0


class _Embeddings(msgspec.Struct):
    model: str | None = None
    data: list[_Embedding] = []
    usage: Counted | None = None
    error: Any = None


_EMBEDDINGS = msgspec.json.Decoder(_Embeddings)
_VECTOR = msgspec.json.Decoder(list[float])


class EmbedReader(Progress):
    """Translates an embedding answer. `dimensions` cuts and normalises, as Ollama itself does.

    `inputs` is the number of texts that the client sent; where it sent none the engine was asked
    for one, and its vector is left away.
    """

    content_type = JSON

    def __init__(
        self, alias: str, watch: Stopwatch, inputs: object, dimensions: int | None
    ) -> None:
        super().__init__(alias)
        self._watch = watch
        self._inputs = inputs
        self._dimensions = dimensions
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        return b""

    def finish(self) -> bytes:
        if self.complete or self.fault:
            return b""
        try:
            self._translate(b"".join(self._pieces))
        except EngineError as error:
            self.fault = str(error)
        return b""

    def _translate(self, body: bytes) -> None:
        try:
            answer = _EMBEDDINGS.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise EngineError(f"sent what is no list of embeddings: {error}") from error
        if answer.error is not None:
            raise EngineError(REPORTED)
        given, asked = len(answer.data), self._inputs or 1
        if given != asked:
            raise EngineError(f"answered with {given} embeddings to {asked} inputs")
        self.served_model = answer.model
        self.usage = Usage(counted(answer.usage).prompt_tokens)
        found = sorted(answer.data, key=lambda one: one.index) if self._inputs else []
        self.ending = self._written([_cut(one.embedding, self._dimensions) for one in found])
        self.complete = True

    def _written(self, vectors: list[msgspec.Raw]) -> bytes:
        durations = self._watch.durations()
        return msgspec.json.encode(
            {
                "model": self._alias,
                "embeddings": vectors,
                "total_duration": durations["total_duration"],
                "load_duration": durations["load_duration"],
            }
            | _counts(self.usage)
        )


class EmbeddingReader(EmbedReader):
    """Translates the answer to one text, for /api/embeddings."""

    def _written(self, vectors: list[msgspec.Raw]) -> bytes:
        return msgspec.json.encode({"embedding": vectors[0] if vectors else []})


def _cut(vector: msgspec.Raw, dimensions: int | None) -> msgspec.Raw:
    """The first `dimensions` numbers, brought to length 1; all of them, untouched, without it."""
    if dimensions is None and bytes(memoryview(vector)[:1]) == b"[":
        return vector
    try:
        kept = _VECTOR.decode(vector)
    except msgspec.DecodeError as error:
        raise EngineError(f"sent what is no embedding: {error}") from error
    return msgspec.Raw(msgspec.json.encode(shortened(kept, dimensions)))
