"""Ollama's dialect, for engines that speak it themselves: rendered, read, and its errors.

A stream is one JSON object a line; the line with `"done":true` ends it. Whole answers are one
such object. Both carry the model's name, which is put back to the alias that the client used.
"""

import msgspec

from inhouse.domain import Operation, Usage
from inhouse.errors import Refusal
from inhouse.upstream.dialects.ollama_fields import KEPT_BACK, OPTIONS_KEPT_BACK
from inhouse.upstream.dialects.reading import JSON, MOST_TOLD_CHARS, Progress
from inhouse.upstream.dialects.shapes import Ask, Reader, Rendered

PATHS = {
    Operation.OLLAMA_CHAT: "/api/chat",
    Operation.OLLAMA_GENERATE: "/api/generate",
    Operation.OLLAMA_EMBED: "/api/embed",
}
STREAM_TYPE = b"application/x-ndjson"

MAX_LINE_BYTES = 8_388_608
"""A line longer than this is no line of an answer: the engine is broken."""

_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STAY_LOADED = b"-1"


class Line(msgspec.Struct):
    """What is read of an answer's line; the rest of it passes unread."""

    model: str | None = None
    done: bool = False
    done_reason: str | None = None
    error: object = None
    embeddings: msgspec.Raw | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None


_LINE = msgspec.json.Decoder(Line)


def render(ask: Ask, engine_model: str, max_tokens: int | None) -> Rendered:
    """The request for an Ollama engine: the client's values as they came, under the engine's name.

    `max_tokens` becomes `num_predict`; None (embeddings) sends none. The model stays loaded
    whatever the client said, so that a preloaded one is still there for the next.
    """
    members = {name: raw for name, raw in ask.fields.items() if name not in KEPT_BACK}
    members["model"] = msgspec.Raw(msgspec.json.encode(engine_model))
    members["keep_alive"] = msgspec.Raw(_STAY_LOADED)
    if ask.operation is not Operation.OLLAMA_EMBED:
        members["stream"] = msgspec.Raw(msgspec.json.encode(ask.stream))
        members["options"] = _options(ask, max_tokens)
    reader: Reader = (LineReader if ask.stream else WholeReader)(engine_model, ask.model)
    return Rendered(PATHS[ask.operation], msgspec.json.encode(members), reader)


def _options(ask: Ask, max_tokens: int | None) -> msgspec.Raw:
    given = _OPTIONS.decode(ask.fields["options"]) if "options" in ask.fields else {}
    options = {name: raw for name, raw in given.items() if name not in OPTIONS_KEPT_BACK}
    if max_tokens is not None:
        options["num_predict"] = msgspec.Raw(b"%d" % max_tokens)
    return msgspec.Raw(msgspec.json.encode(options))


class _Alias:
    """Puts the client's name of the model in the place of the engine's."""

    __slots__ = ("_alias", "_same", "_theirs")

    def __init__(self, engine_model: str, alias: str) -> None:
        self._same = engine_model == alias
        self._alias = msgspec.json.encode(alias)
        self._theirs = b'{"model":%b' % msgspec.json.encode(engine_model)

    def put(self, line: bytes) -> bytes:
        if self._same:
            return line
        if line.startswith(self._theirs):  # as Ollama itself writes it: nothing to decode
            return b'{"model":%b%b' % (self._alias, line[len(self._theirs) :])
        members = _OBJECT.decode(line)
        if "model" not in members:
            return line
        members["model"] = msgspec.Raw(self._alias)
        return msgspec.json.encode(members)


class _Answer(Progress):
    """What both readers know of an answer."""

    __slots__ = ("_names",)

    def __init__(self, engine_model: str, alias: str) -> None:
        super().__init__(alias)
        self._names = _Alias(engine_model, alias)

    def _read(self, line: bytes) -> Line | None:
        """The line decoded; None, with the fault noted, where it is none or an error."""
        try:
            read = _LINE.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            self.fault = f"sent a line that is not of its dialect: {error}"
            return None
        if read.error is not None:
            self.fault = f"reported an error: {str(read.error)[:MOST_TOLD_CHARS]!r}"
            return None
        return read

    def _end(self, read: Line, last: bytes) -> None:
        self.usage = Usage(read.prompt_eval_count, read.eval_count)
        self.finish_reason = read.done_reason
        self.served_model = read.model
        self.ending = self._names.put(last)
        self.complete = True


class LineReader(_Answer):
    """Reads a streamed answer, line by line."""

    __slots__ = ("_pending",)
    content_type = STREAM_TYPE

    def __init__(self, engine_model: str, alias: str) -> None:
        super().__init__(engine_model, alias)
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        if self.complete or self.fault:
            return b""
        *lines, self._pending = (self._pending + data).split(b"\n")
        released = b"".join([self._line(line) for line in lines])
        if len(self._pending) > MAX_LINE_BYTES and not (self.complete or self.fault):
            self.fault = f"sent a line of more than {MAX_LINE_BYTES} bytes"
        return released

    def finish(self) -> bytes:
        if self.complete or self.fault:
            return b""
        line, self._pending = self._pending, b""
        released = self._line(line)  # a last line needs no newline
        if not (self.complete or self.fault):
            self.fault = "ended its stream before its answer ended"
        return released

    def _line(self, line: bytes) -> bytes:
        if self.complete or self.fault or not line.strip():
            return b""
        read = self._read(line)
        if read is None:
            return b""
        if read.done:
            self._end(read, line + b"\n")
            return b""
        return self._names.put(line) + b"\n"


class WholeReader(_Answer):
    """Reads an answer that comes in one piece: its body is the one event, held back."""

    __slots__ = ("_pieces",)
    content_type = JSON

    def __init__(self, engine_model: str, alias: str) -> None:
        super().__init__(engine_model, alias)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        self._pieces.append(data)
        return b""

    def finish(self) -> bytes:
        if self.complete or self.fault:
            return b""
        body = b"".join(self._pieces)
        if not body.strip():
            self.fault = "sent an empty answer"
            return b""
        read = self._read(body)
        if read is not None and not (read.done or read.embeddings is not None):
            self.fault = "sent an answer that is not marked as done"
        elif read is not None:
            self._end(read, body)
        return b""


class OllamaErrors:
    """Ollama's shape of errors. Its clients read `error` and pass over the other members."""

    def body(self, refusal: Refusal, request_id: str) -> bytes:
        return msgspec.json.encode(
            {"error": refusal.sentence, "code": refusal.code.value, "request_id": request_id}
        )

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        return self.body(refusal, request_id) + b"\n"
