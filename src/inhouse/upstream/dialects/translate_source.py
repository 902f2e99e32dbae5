"""What an engine of the OpenAI API answers, as typed values: the source of every translation.

Whole answers and the chunks of a stream have the same members; what one engine leaves out is
None. Names differ between engines where the API is silent: llama.cpp and older vLLM write
`reasoning_content`, newer vLLM and Ollama `reasoning`.
"""

from typing import Any

import msgspec

from inhouse.domain import Usage
from inhouse.errors import EngineError
from inhouse.upstream.dialects.openai_read import Count
from inhouse.upstream.dialects.reading import REPORTED


class FunctionPart(msgspec.Struct):
    """A function's name, and its arguments as JSON text; in a stream, pieces of it."""

    name: str | None = None
    arguments: str | None = None


class CallPart(msgspec.Struct):
    """A tool call, or in a stream a piece of the one at `index`."""

    index: int = 0
    id: str | None = None
    function: FunctionPart | None = None


class Said(msgspec.Struct):
    """A message, or in a stream what is added to it."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPart] | None = None

    @property
    def thinking(self) -> str:
        return self.reasoning_content or self.reasoning or ""


class TopToken(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class Token(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopToken] | None = None


class Logprobs(msgspec.Struct):
    content: list[Token] | None = None


class Choice(msgspec.Struct):
    """One answer. Chat has `message` or `delta`, completions have `text`."""

    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None  # vLLM: the stop sequence that ended it
    logprobs: Logprobs | None = None

    @property
    def said(self) -> Said:
        return self.message or self.delta or Said(content=self.text)


class PromptDetails(msgspec.Struct):
    cached_tokens: Count = None


class Counted(msgspec.Struct):
    prompt_tokens: Count = None
    completion_tokens: Count = None
    prompt_tokens_details: PromptDetails | None = None


class Chunk(msgspec.Struct):
    """A whole answer, or one event of a stream."""

    id: str = ""
    model: str | None = None
    choices: list[Choice] = []
    usage: Counted | None = None
    error: Any = None

    @property
    def first(self) -> Choice | None:
        """The answer that is translated; a translated request never asks for a second."""
        return next((choice for choice in self.choices if choice.index == 0), None)


_CHUNK = msgspec.json.Decoder(Chunk)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def decode(data: bytes) -> Chunk:
    """A chunk or a whole answer. Raises EngineError where it is none, or is the engine's error."""
    try:
        chunk = _CHUNK.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise EngineError(f"sent what is no OpenAI answer: {error}") from error
    if chunk.error is not None:
        raise EngineError(REPORTED)
    return chunk


def counted(usage: Counted | None) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens) if usage else Usage()


class Call(msgspec.Struct):
    """A tool call put together."""

    id: str
    name: str
    arguments: str  # JSON text as the engine wrote it


def arguments_of(call: Call, *, cut: bool) -> dict[str, Any] | None:
    """The arguments as an object.

    An answer that ended at its token bound (`cut`) may have ended inside a call: None, the call
    was never made. Anywhere else, arguments that are no object are the engine's fault.
    """
    try:
        return _OBJECT.decode(call.arguments.encode()) if call.arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        if cut:
            return None
        raise EngineError(
            f"called the tool '{call.name}' with arguments that are no JSON object"
        ) from error


def whole_calls(said: Said) -> list[Call]:
    """The tool calls of a whole message. An id that the engine left out is made from the place."""
    return [_call(place, part) for place, part in enumerate(said.tool_calls or ())]


def _call(place: int, part: CallPart) -> Call:
    function = part.function or FunctionPart()
    return Call(part.id or f"call_{place}", function.name or "", function.arguments or "")


class CallCollector:
    """Puts the pieces of streamed tool calls together, in the order in which they began."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}

    def add(self, parts: list[CallPart] | None) -> None:
        for part in parts or ():
            call = self._calls.get(part.index)
            if call is None:
                self._calls[part.index] = _call(len(self._calls), part)
            elif part.function is not None:
                call.name += part.function.name or ""
                call.arguments += part.function.arguments or ""

    @property
    def calls(self) -> list[Call]:
        return list(self._calls.values())
