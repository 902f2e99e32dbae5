"""Reads what engines answer in OpenAI's dialect: the bytes pass, and what they prove is noted."""

from typing import Annotated

import msgspec

from inhouse.domain import Operation, Usage
from inhouse.errors import EngineError
from inhouse.upstream.dialects.reading import (
    OBJECT,
    EventReader,
    Fault,
    WholeReader,
    check_name,
    event_of,
    renamed,
)
from inhouse.upstream.dialects.shapes import Ask, Reader
from inhouse.upstream.dialects.vectors import cut, size_of, too_few

Count = Annotated[int, msgspec.Meta(ge=0)] | None

_BROKEN = frozenset({"abort", "aborted", "cancelled", "error"})
"""Finish reasons by which vLLM and SGLang say that an answer did not end, but was ended."""


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: Count = None
    completion_tokens: Count = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Fault | str | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


def _counted(usage: _Usage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def _refuse_fault(error: Fault | str | None) -> None:
    if error is not None:
        raise EngineError(str(error if isinstance(error, Fault) else Fault(message=error)))


class OpenAIStream(EventReader):
    """Chat and completions, streamed.

    Complete with `[DONE]`, and only where every choice that was seen has its finish reason.
    The usage event, which is always asked for, goes out only to who asked for it.
    """

    __slots__ = ("_begun", "_finished", "_named", "_ours", "_theirs", "_wants_usage")

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask.model)
        self._wants_usage = ask.wants_usage
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self._named = ""  # what `_theirs` was made of
        self._theirs = self._ours = b""

    def _take(self, raw: bytes, name: bytes, data: bytes) -> bytes:
        if data == b"[DONE]":
            self._end(raw)
            return b""
        if data == b"null":  # llama.cpp begins a stream for several prompts with it
            return b""
        chunk = _CHUNK.decode(data)
        if name == b"error" or chunk.error is not None:
            _refuse_fault(chunk.error or Fault())
        if chunk.choices is None:
            raise EngineError("sent an event without choices")
        for choice in chunk.choices:
            self._begun.add(choice.index)
            if choice.finish_reason:
                self._note(choice.index, choice.finish_reason)
        if chunk.usage is not None:
            self.usage = _counted(chunk.usage)
            if not chunk.choices and not self._wants_usage:
                return b""
        if chunk.model is None or chunk.model == self._alias:
            self.served_model = chunk.model
            return raw
        return self._renamed(raw, name, data, chunk.model)

    def _note(self, index: int, finish_reason: str) -> None:
        if finish_reason in _BROKEN:
            raise EngineError(f"ended its answer with '{finish_reason}'")
        self._finished.add(index)
        self.finish_reason = finish_reason

    def _end(self, raw: bytes) -> None:
        if not self._finished or self._finished != self._begun:
            raise EngineError("sent [DONE] before its answer had a finish reason")
        self.ending = raw
        self.complete = True

    def _renamed(self, raw: bytes, name: bytes, data: bytes, theirs: str) -> bytes:
        """The event under the alias.

        The first `"model":"<theirs>"` of an event's bytes is its own member: inside a string
        the quotes would be escaped, so a text cannot hold these bytes, and nothing that stands
        before it in a chunk has a member of that name. An engine that spaces or escapes its
        JSON otherwise has the event taken apart and put together.
        """
        if theirs != self._named:
            self._named = self.served_model = theirs
            self._theirs = b'"model":%b' % msgspec.json.encode(theirs)
            self._ours = b'"model":%b' % msgspec.json.encode(self._alias)
        ours = raw.replace(self._theirs, self._ours, 1)
        return ours if ours != raw else event_of(name, renamed(data, theirs, self._alias))


class _ResponseUsage(msgspec.Struct, gc=False):
    input_tokens: Count = None
    output_tokens: Count = None


class _Incomplete(msgspec.Struct, gc=False):
    reason: str | None = None


class _Response(msgspec.Struct, gc=False):
    status: str | None = None
    model: str | None = None
    output: list[msgspec.Raw] | None = None
    usage: _ResponseUsage | None = None
    error: Fault | str | None = None
    incomplete_details: _Incomplete | None = None


class _ResponseEvent(msgspec.Struct, gc=False):
    type: str
    response: _Response | None = None
    error: Fault | str | None = None
    code: str | int | None = None
    message: str | None = None


_RESPONSE = msgspec.json.Decoder(_Response)
_RESPONSE_EVENT = msgspec.json.Decoder(_ResponseEvent)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ResponseStream(EventReader):
    """A response, streamed. Complete with `response.completed` or `response.incomplete`."""

    __slots__ = ()

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask.model)

    def _take(self, raw: bytes, name: bytes, data: bytes) -> bytes:
        read = _RESPONSE_EVENT.decode(data)
        if read.type == "error" or name == b"error":
            _refuse_fault(read.error or Fault(read.message, None, read.code))
        check_name(name, read.type)
        response = read.response
        if response is None:
            return raw
        if read.type not in ("response.completed", "response.incomplete"):
            _refuse_broken(response)
            return self._renamed(raw, name, data, response)
        _note_response(self, response)
        self.ending = self._renamed(raw, name, data, response)
        self.complete = True
        return b""

    def _renamed(self, raw: bytes, name: bytes, data: bytes, response: _Response) -> bytes:
        self.served_model = response.model or self.served_model
        if response.model is None or response.model == self._alias:
            return raw
        members = _MEMBERS.decode(data)
        body = renamed(bytes(members["response"]), response.model, self._alias)
        members["response"] = msgspec.Raw(body)
        return event_of(name, msgspec.json.encode(members))


def _refuse_broken(response: _Response) -> None:
    _refuse_fault(response.error)
    if response.status in ("failed", "cancelled"):
        raise EngineError(f"ended its response as {response.status}")


def _note_response(reader: "ResponseStream | ResponseWhole", response: _Response) -> None:
    _refuse_broken(response)
    if response.status not in ("completed", "incomplete") or response.output is None:
        raise EngineError("ended a response that is neither completed nor incomplete")
    reader.served_model = response.model
    reader.finish_reason = response.status
    if response.incomplete_details is not None and response.incomplete_details.reason:
        reader.finish_reason = response.incomplete_details.reason
    if response.usage is not None:
        reader.usage = Usage(response.usage.input_tokens, response.usage.output_tokens)


class ResponseWhole(WholeReader):
    """A response in one piece."""

    __slots__ = ()

    def _judge(self, body: bytes) -> None:
        _note_response(self, _RESPONSE.decode(body))


class ChoicesWhole(WholeReader):
    """A chat or a completion in one piece: choices, each with its finish reason."""

    __slots__ = ()

    def _judge(self, body: bytes) -> None:
        chunk = _CHUNK.decode(body)
        if chunk.error is not None:
            _refuse_fault(chunk.error)
        if not chunk.choices:
            raise EngineError("answered 200 with an answer that has no choices")
        for choice in chunk.choices:
            if not choice.finish_reason:
                raise EngineError("answered 200 with a choice that has no finish reason")
            if choice.finish_reason in _BROKEN:
                raise EngineError(f"ended its answer with '{choice.finish_reason}'")
            self.finish_reason = choice.finish_reason
        self.served_model = chunk.model
        if chunk.usage is not None:
            self.usage = _counted(chunk.usage)


class _Vector(msgspec.Struct, gc=False):
    embedding: msgspec.Raw


class _Vectors(msgspec.Struct, gc=False):
    data: list[_Vector] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: Fault | str | None = None


_VECTORS = msgspec.json.Decoder(_Vectors)
_OBJECTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class VectorsWhole(WholeReader):
    """Embeddings: as many as there were inputs, of the size that was asked for.

    llama.cpp passes over `dimensions`, so a longer vector is cut here; where a model's vectors
    are shorter, `finish` raises Refusal.
    """

    __slots__ = ("_dimensions", "_inputs")

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask.model)
        self._inputs = ask.facts["inputs"]
        self._dimensions = ask.facts.get("dimensions")

    def _judge(self, body: bytes) -> None:
        vectors = _VECTORS.decode(body)
        _refuse_fault(vectors.error)
        given = len(vectors.data or ())
        if given != self._inputs:
            raise EngineError(f"answered with {given} embeddings to {self._inputs} inputs")
        self.served_model = vectors.model
        if vectors.usage is not None:
            self.usage = _counted(vectors.usage)

    def _released(self, body: bytes) -> bytes:
        body = super()._released(body)
        return self._cut(body, self._dimensions) if isinstance(self._dimensions, int) else body

    def _cut(self, body: bytes, dimensions: int) -> bytes:
        members = OBJECT.decode(body)
        vectors = _OBJECTS.decode(members["data"])
        sizes = [size_of(vector["embedding"]) for vector in vectors]
        if all(size == dimensions for size in sizes):
            return body
        if min(sizes) < dimensions:
            raise too_few(self._alias, min(sizes), dimensions)
        for vector in vectors:
            vector["embedding"] = cut(vector["embedding"], dimensions)
        members["data"] = msgspec.Raw(msgspec.json.encode(vectors))
        return msgspec.json.encode(members)


def reader(ask: Ask) -> Reader:
    """The reader of the answer to `ask`."""
    if ask.operation is Operation.EMBEDDING:
        return VectorsWhole(ask)
    if ask.operation is Operation.RESPONSE:
        return ResponseStream(ask) if ask.stream else ResponseWhole(ask.model)
    return OpenAIStream(ask) if ask.stream else ChoicesWhole(ask.model)
