"""Answers of OpenAI chat in Anthropic's words: a message of blocks, or the events that build it.

    message_start ( content_block_start content_block_delta* content_block_stop )*
    message_delta message_stop

Blocks follow one another and never overlap: a piece of another kind closes the one before it.
"""

from typing import Any

import msgspec

from inhouse.errors import EngineError
from inhouse.upstream.dialects.translate_reader import End
from inhouse.upstream.dialects.translate_source import (
    CallCollector,
    CallPart,
    Choice,
    FunctionPart,
    arguments_of,
    whole_calls,
)

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


def event(name: str, **members: Any) -> bytes:
    """One server-sent event, its type in both places as Anthropic has it."""
    data = msgspec.json.encode({"type": name} | members)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


class MessageWriter:
    """Writes one message."""

    stream_type = b"text/event-stream"

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._started = False
        self._index = -1  # of the block that is open, or was last
        self._open: str | None = None  # "text", "thinking", or "tool:" and the call's index
        self._called = False
        self._calls = CallCollector()

    def piece(self, answer_id: str, choice: Choice) -> bytes:
        said = choice.said
        events = [] if self._started else [self._start(answer_id)]
        if said.thinking:
            delta = {"type": "thinking_delta", "thinking": said.thinking}
            events += [self._turn_to("thinking", _THINKING), self._delta(delta)]
        if said.content:
            delta = {"type": "text_delta", "text": said.content}
            events += [self._turn_to("text", _TEXT), self._delta(delta)]
        self._calls.add(said.tool_calls)
        events += [self._call(part) for part in said.tool_calls or ()]
        return b"".join(events)

    def close(self, end: End) -> tuple[bytes, bytes]:
        for call in self._calls.calls:
            arguments_of(call, cut=end.finish_reason == "length")
        start = b"" if self._started else self._start("")
        reason = {"stop_reason": self._reason(end), "stop_sequence": end.stop_reason}
        said = event("message_delta", delta=reason, usage=_usage(end))
        return start + self._stop() + said, event("message_stop")

    def whole(self, answer_id: str, choice: Choice, end: End) -> bytes:
        content = _blocks(choice, end)
        self._called = any(block["type"] == "tool_use" for block in content)
        message = self._message(answer_id) | {
            "content": content,
            "stop_reason": self._reason(end),
            "stop_sequence": end.stop_reason,
            "usage": _usage(end),
        }
        return msgspec.json.encode(message)

    def _start(self, answer_id: str) -> bytes:
        """The counts are not known yet; `message_delta` carries the true ones."""
        self._started = True
        return event("message_start", message=self._message(answer_id))

    def _message(self, answer_id: str) -> dict[str, Any]:
        return {
            "id": message_id("msg", answer_id),
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": self._alias,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def _turn_to(self, kind: str, block: dict[str, Any]) -> bytes:
        if self._open == kind:
            return b""
        stop = self._stop()
        self._open = kind
        self._index += 1
        return stop + event("content_block_start", index=self._index, content_block=block)

    def _stop(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return event("content_block_stop", index=self._index)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event("content_block_delta", index=self._index, delta=delta)

    def _call(self, part: CallPart) -> bytes:
        self._called = True
        function = part.function or FunctionPart()
        call_id = part.id or f"call_{part.index}"
        kind = f"tool:{part.index}"
        if self._open != kind and not function.name:
            raise EngineError("went back to a tool call after it had begun another")
        block: dict[str, Any] = {
            "type": "tool_use",
            "id": call_id,
            "name": function.name,
            "input": {},
        }
        said = self._turn_to(kind, block)
        if not function.arguments:
            return said
        delta = {"type": "input_json_delta", "partial_json": function.arguments}
        return said + self._delta(delta)

    def _reason(self, end: End) -> str:
        if end.finish_reason == "stop" and self._called:
            return "tool_use"  # some engines say "stop" after a tool call
        if end.stop_reason is not None:
            return "stop_sequence"
        return _STOP_REASONS.get(end.finish_reason, "end_turn")


_TEXT = {"type": "text", "text": ""}
_THINKING = {"type": "thinking", "thinking": "", "signature": ""}


def message_id(prefix: str, answer_id: str) -> str:
    """The engine's own id under the prefix that the dialect's clients expect."""
    return f"{prefix}_{answer_id.rpartition('-')[2] or 'none'}"


def _blocks(choice: Choice, end: End) -> list[dict[str, Any]]:
    said = choice.said
    blocks: list[dict[str, Any]] = []
    if said.thinking:
        blocks.append(_THINKING | {"thinking": said.thinking})
    if said.content:
        blocks.append(_TEXT | {"text": said.content})
    cut = end.finish_reason == "length"
    calls = ((call, arguments_of(call, cut=cut)) for call in whole_calls(said))
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}
        for call, arguments in calls
        if arguments is not None
    ]


def _usage(end: End) -> dict[str, int]:
    """Anthropic counts what came from a cache apart from the rest of the input."""
    prompt = end.usage.prompt_tokens or 0
    return {
        "input_tokens": max(0, prompt - end.cached_tokens),
        "cache_read_input_tokens": end.cached_tokens,
        "output_tokens": end.usage.completion_tokens or 0,
    }
