"""Ollama's dialect, for engines that speak it themselves: rendered, read, and its errors.

A stream is one JSON object a line; the line with `"done":true` ends it. Whole answers are one
such object. Both carry the model's name, which is put back to the alias that the client used.
"""

import msgspec

from inhouse.domain import Operation, Usage
from inhouse.errors import EngineError, Refusal
from inhouse.upstream.dialects.ollama_fields import KEPT_BACK
from inhouse.upstream.dialects.openai_read import Count
from inhouse.upstream.dialects.reading import REPORTED, Progress, WholeReader, renamed
from inhouse.upstream.dialects.shapes import Ask, Reader, Rendered
from inhouse.upstream.dialects.sse import MOST_PENDING_BYTES

PATHS = {
    Operation.OLLAMA_CHAT: "/api/chat",
    Operation.OLLAMA_GENERATE: "/api/generate",
    Operation.OLLAMA_EMBED: "/api/embed",
    Operation.OLLAMA_EMBEDDING: "/api/embeddings",
}
STREAM_TYPE = b"application/x-ndjson"

_OPTIONS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STAY_LOADED = b"-1"


class Line(msgspec.Struct):
    """What is read of an answer's line; the rest of it passes unread."""

    model: str | None = None
    done: bool = False
    done_reason: str | None = None
    error: object = None
    embeddings: list[msgspec.Raw] | None = None
    embedding: list[float] | None = None
    prompt_eval_count: Count = None
    eval_count: Count = None


_LINE = msgspec.json.Decoder(Line)


def render(ask: Ask, engine_model: str, max_tokens: int | None) -> Rendered:
    """The request for an Ollama engine: the client's values as they came, under the engine's name.

    `max_tokens` becomes `num_predict`; None (embeddings) sends none. The model stays loaded
    whatever the client said, so that a preloaded one is still there for the next.
    """
    members = {name: raw for name, raw in ask.fields.items() if name not in KEPT_BACK}
    members["model"] = msgspec.Raw(msgspec.json.encode(engine_model))
    members["keep_alive"] = msgspec.Raw(_STAY_LOADED)
    if ask.operation in (Operation.OLLAMA_CHAT, Operation.OLLAMA_GENERATE):
        members["stream"] = msgspec.Raw(msgspec.json.encode(ask.stream))
        members["options"] = _options(ask, 1 if ask.facts.get("load") else max_tokens)
    return Rendered(PATHS[ask.operation], msgspec.json.encode(members), _reader(ask))


def _reader(ask: Ask) -> Reader:
    if ask.operation is Operation.OLLAMA_EMBED:
        return VectorsWhole(ask.answers_as, ask.facts["inputs"])
    if ask.operation is Operation.OLLAMA_EMBEDDING:
        return VectorWhole(ask.answers_as, ask.facts["inputs"])
    load = bool(ask.facts.get("load"))
    return (LineReader if ask.stream else Whole)(ask.answers_as, load=load)


def _options(ask: Ask, max_tokens: int | None) -> msgspec.Raw:
    options = _OPTIONS.decode(ask.fields["options"]) if "options" in ask.fields else {}
    if max_tokens is not None:
        options["num_predict"] = msgspec.Raw(b"%d" % max_tokens)
    return msgspec.Raw(msgspec.json.encode(options))


def _read(line: bytes) -> Line:
    read = _LINE.decode(line)
    if read.error is not None:
        raise EngineError(REPORTED)
    return read


def _note(reader: Progress, read: Line, *, load: bool = False) -> None:
    """Note the end of an answer. Only to load a model ends without a reason."""
    if not (read.done_reason or load):
        raise EngineError("marked its answer as done without saying why")
    _note_counts(reader, read)


def _note_counts(reader: Progress, read: Line) -> None:
    reader.usage = Usage(read.prompt_eval_count, read.eval_count)
    reader.finish_reason = read.done_reason
    reader.served_model = read.model


class LineReader(Progress):
    """Reads a streamed answer, line by line."""

    __slots__ = ("_load", "_pending")
    content_type = STREAM_TYPE

    def __init__(self, alias: str, *, load: bool = False) -> None:
        super().__init__(alias)
        self._load = load
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._pending) + lines[0]
            self._pending.clear()
        self._pending += rest  # not joined for each piece: a long line may come in many
        released = b"".join([self._line(line) for line in lines])
        if len(self._pending) > MOST_PENDING_BYTES and not self.complete and self.fault is None:
            self.fault = f"sent a line of more than {MOST_PENDING_BYTES} bytes"
        return released

    def finish(self) -> bytes:
        released = self._line(bytes(self._pending))  # a last line needs no newline
        if not self.complete and self.fault is None:
            self.fault = "ended its stream before its answer ended"
        return released

    def _line(self, line: bytes) -> bytes:
        """What the client gets of one line."""
        if self.complete or self.fault is not None or not line.strip():
            return b""
        try:
            return self._take(line, _read(line))
        except EngineError as error:
            self.fault = str(error)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.fault = "sent a line that is not of its dialect"
        return b""

    def _take(self, line: bytes, read: Line) -> bytes:
        if read.model is not None and read.model != self._alias:
            line = renamed(line, read.model, self._alias)
        if not read.done:
            self.events += 1
            return line + b"\n"
        _note(self, read, load=self._load)
        self.ending = line + b"\n"
        self.complete = True
        return b""


class Whole(WholeReader):
    """Reads a conversation's or a prompt's answer in one piece."""

    __slots__ = ("_load",)

    def __init__(self, alias: str, *, load: bool = False) -> None:
        super().__init__(alias)
        self._load = load

    def _judge(self, body: bytes) -> None:
        read = _read(body)
        if not read.done:
            raise EngineError("sent an answer that is not marked as done")
        _note(self, read, load=self._load)


class VectorsWhole(WholeReader):
    """Reads embeddings: as many as there were inputs."""

    __slots__ = ("_inputs",)

    def __init__(self, alias: str, inputs: object) -> None:
        super().__init__(alias)
        self._inputs = inputs

    def _judge(self, body: bytes) -> None:
        read = _read(body)
        given = len(read.embeddings or ())
        if given != self._inputs:
            raise EngineError(f"answered with {given} embeddings to {self._inputs} inputs")
        _note_counts(self, read)


class VectorWhole(WholeReader):
    """Reads the one embedding of /api/embeddings; an empty one where nothing was asked."""

    __slots__ = ("_inputs",)

    def __init__(self, alias: str, inputs: object) -> None:
        super().__init__(alias)
        self._inputs = inputs

    def _judge(self, body: bytes) -> None:
        read = _read(body)
        if bool(read.embedding) is not bool(self._inputs):
            raise EngineError("answered with no embedding, or with one to no text")
        _note_counts(self, read)


class OllamaErrors:
    """Ollama's shape of errors. Its clients read `error` and pass over the other members."""

    def body(self, refusal: Refusal, request_id: str) -> bytes:
        return msgspec.json.encode(
            {"error": refusal.sentence, "code": refusal.code.value, "request_id": request_id}
        )

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        return self.body(refusal, request_id) + b"\n"


ERRORS = OllamaErrors()
