"""Reads what engines answer in Anthropic's dialect: the bytes pass, what they prove is noted."""

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

_Count = Annotated[int, msgspec.Meta(ge=0)] | None


class _Usage(msgspec.Struct, gc=False):
    input_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    output_tokens: _Count = None

    @property
    def total(self) -> Usage:
        """Anthropic counts what came from a cache apart."""
        cached = (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        prompt = None if self.input_tokens is None else self.input_tokens + cached
        return Usage(prompt, self.output_tokens)


class _Message(msgspec.Struct, gc=False):
    type: str | None = None
    model: str | None = None
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: _Usage | None = None
    error: Fault | str | None = None


class _Delta(msgspec.Struct, gc=False):
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str
    message: _Message | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Fault | str | None = None


_EVENT = msgspec.json.Decoder(_Event)
_WHOLE = msgspec.json.Decoder(_Message)


def _refuse_fault(error: Fault | str | None) -> None:
    raise EngineError(str(Fault(message=error) if isinstance(error, str) else error or Fault()))


def _later(before: _Usage, after: _Usage) -> _Usage:
    """Counts of a stream add up already, so a later one replaces an earlier one."""
    pairs = {name: getattr(after, name) for name in _Usage.__struct_fields__}
    return msgspec.structs.replace(before, **{k: n for k, n in pairs.items() if n is not None})


_AT_SEQUENCE = msgspec.Raw(b'"stop_sequence"')


def _contradicts(said: _Message | _Delta) -> bool:
    """llama.cpp says `end_turn` where a stop sequence ended the answer, and names it beside."""
    return said.stop_sequence is not None and said.stop_reason == "end_turn"


class AnthropicStream(EventReader):
    """A message, streamed. Complete with `message_stop`, where a stop reason came before it."""

    __slots__ = ("_used",)

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask.model)
        self._used = _Usage()

    def _take(self, raw: bytes, name: bytes, data: bytes) -> bytes:
        read = _EVENT.decode(data)
        if read.type == "error" or read.error is not None or name == b"error":
            _refuse_fault(read.error)
        check_name(name, read.type)
        if read.usage is not None:
            self._count(read.usage)
        if read.type == "message_stop":
            self._end(raw)
            return b""
        if read.type == "message_delta" and read.delta is not None:
            return self._ended(raw, name, data, read.delta)
        return raw if read.message is None else self._started(raw, name, data, read.message)

    def _started(self, raw: bytes, name: bytes, data: bytes, message: _Message) -> bytes:
        self.served_model = message.model
        if message.usage is not None:
            self._count(message.usage)
        if message.model is None or message.model == self._alias:
            return raw
        members = OBJECT.decode(data)
        body = renamed(bytes(members["message"]), message.model, self._alias)
        members["message"] = msgspec.Raw(body)
        return event_of(name, msgspec.json.encode(members))

    def _ended(self, raw: bytes, name: bytes, data: bytes, delta: _Delta) -> bytes:
        self.finish_reason = delta.stop_reason or self.finish_reason
        if not _contradicts(delta):
            return raw
        self.finish_reason = "stop_sequence"
        members = OBJECT.decode(data)
        mended = OBJECT.decode(members["delta"]) | {"stop_reason": _AT_SEQUENCE}
        members["delta"] = msgspec.Raw(msgspec.json.encode(mended))
        return event_of(name, msgspec.json.encode(members))

    def _count(self, usage: _Usage) -> None:
        self._used = _later(self._used, usage)
        self.usage = self._used.total

    def _end(self, raw: bytes) -> None:
        if self.finish_reason is None:
            raise EngineError("sent message_stop before its answer had a stop reason")
        self.ending = raw
        self.complete = True


class AnthropicWhole(WholeReader):
    """A message in one piece, with its stop reason."""

    __slots__ = ("_mends",)

    def _judge(self, body: bytes) -> None:
        message = _WHOLE.decode(body)
        if message.type == "error" or message.error is not None:
            _refuse_fault(message.error)
        if message.content is None or not message.stop_reason:
            raise EngineError("answered 200 with a message without content or stop reason")
        self.served_model = message.model
        self._mends = _contradicts(message)
        self.finish_reason = "stop_sequence" if self._mends else message.stop_reason
        if message.usage is not None:
            self.usage = message.usage.total

    def _released(self, body: bytes) -> bytes:
        if self._mends:
            mended = OBJECT.decode(body) | {"stop_reason": _AT_SEQUENCE}
            body = msgspec.json.encode(mended)
        return super()._released(body)


class _Counted(msgspec.Struct, gc=False):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


_COUNTED = msgspec.json.Decoder(_Counted)


class CountWhole(WholeReader):
    """How many tokens a prompt has. Nothing was generated."""

    __slots__ = ()

    def _judge(self, body: bytes) -> None:
        self.usage = Usage(_COUNTED.decode(body).input_tokens)


def reader(ask: Ask) -> Reader:
    """The reader of the answer to `ask`."""
    if ask.operation is Operation.COUNT_TOKENS:
        return CountWhole(ask.model)
    return AnthropicStream(ask) if ask.stream else AnthropicWhole(ask.model)
