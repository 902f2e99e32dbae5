"""Reads an OpenAI answer and has it written in another dialect, whole or piece by piece.

    engine ──► StreamReader ──Chunk──► Writer ──► client

The reader knows when an answer is complete and when it is broken; the writer only knows how its
dialect says things. A stream is complete with a finish reason and `[DONE]`, and only then does
the writer get to say its last event.
"""

from dataclasses import dataclass
from typing import Protocol

from inhouse.domain import Usage
from inhouse.errors import EngineError
from inhouse.upstream.dialects.reading import JSON, Progress
from inhouse.upstream.dialects.sse import Events
from inhouse.upstream.dialects.translate_source import Choice, Chunk, counted, decode

_DONE = b"[DONE]"
_BROKEN = frozenset({"abort", "aborted", "cancelled", "error"})
"""Finish reasons by which vLLM and SGLang say that an answer did not end, but was ended."""


@dataclass(slots=True)
class End:
    """How an answer ended."""

    finish_reason: str
    stop_reason: str | None = None  # the stop sequence, where the engine told
    usage: Usage = Usage()  # noqa: RUF009  # frozen
    cached_tokens: int = 0  # of the prompt, where the engine told


class Writer(Protocol):
    """Says an answer in the client's dialect. Raises EngineError for what cannot be said."""

    stream_type: bytes

    def piece(self, answer_id: str, choice: Choice) -> bytes:
        """The events for one piece of a streamed answer; b"" where there is nothing to say."""
        ...

    def close(self, end: End) -> tuple[bytes, bytes]:
        """What is left to say, and the last event."""
        ...

    def whole(self, answer_id: str, choice: Choice, end: End) -> bytes:
        """The body of an answer that is not streamed."""
        ...


class _Translated(Progress):
    """What both readers know of an answer."""

    __slots__ = ("_end", "_writer")

    def __init__(self, alias: str, writer: Writer) -> None:
        super().__init__(alias)
        self._writer = writer
        self._end = End("")

    def _note(self, chunk: Chunk) -> Choice | None:
        """Keep what a chunk tells of the end; return the answer in it."""
        self.served_model = chunk.model or self.served_model
        if chunk.usage is not None:
            self.usage = self._end.usage = counted(chunk.usage)
            details = chunk.usage.prompt_tokens_details
            self._end.cached_tokens = (details and details.cached_tokens) or 0
        choice = chunk.first
        if choice is not None and choice.finish_reason:
            if choice.finish_reason in _BROKEN:
                raise EngineError(f"ended its answer with '{choice.finish_reason}'")
            self.finish_reason = self._end.finish_reason = choice.finish_reason
            self._end.stop_reason = (
                choice.stop_reason if isinstance(choice.stop_reason, str) else None
            )
        return choice


class StreamReader(_Translated):
    """Translates a streamed answer."""

    __slots__ = ("_events", "content_type")

    def __init__(self, alias: str, writer: Writer) -> None:
        super().__init__(alias, writer)
        self.content_type = writer.stream_type
        self._events = Events()

    def feed(self, data: bytes) -> bytes:
        if self.complete or self.fault:
            return b""
        released = []
        try:
            for event in self._events.feed(data):
                released.append(self._event(event))
                if self.complete or self.fault:
                    break
        except EngineError as error:
            self.fault = str(error)
        return b"".join(released)

    def finish(self) -> bytes:
        if not (self.complete or self.fault):
            self.fault = "ended its stream before its answer ended"
        return b""

    def _event(self, data: bytes) -> bytes:
        try:
            return self._close() if data == _DONE else self._piece(decode(data))
        except EngineError as error:
            self.fault = str(error)
            return b""

    def _piece(self, chunk: Chunk) -> bytes:
        self.events += 1
        choice = self._note(chunk)
        return self._writer.piece(chunk.id, choice) if choice is not None else b""

    def _close(self) -> bytes:
        if not self._end.finish_reason:
            raise EngineError("ended its stream without saying why the answer ended")
        released, self.ending = self._writer.close(self._end)
        self.complete = True
        return released


class WholeReader(_Translated):
    """Translates an answer that comes in one piece."""

    __slots__ = ("_pieces",)
    content_type = JSON

    def __init__(self, alias: str, writer: Writer) -> None:
        super().__init__(alias, writer)
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
        if not body.strip():
            raise EngineError("sent an empty answer")
        chunk = decode(body)
        choice = self._note(chunk)
        if choice is None or not self._end.finish_reason:
            raise EngineError("sent an answer that has no finished choice")
        self.ending = self._writer.whole(chunk.id, choice, self._end)
        self.complete = True
