"""Answers of OpenAI chat as Responses: an object of items, or the events that build it.

    response.created response.in_progress
    ( output_item.added ... deltas ... output_item.done )*
    response.completed | response.incomplete

Items follow one another and never overlap: a piece of another kind closes the one before it.
An answer that reached its token bound is `incomplete`, which is a proper end all the same.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from inhouse.errors import EngineError
from inhouse.upstream.dialects.translate_anthropic_answer import message_id
from inhouse.upstream.dialects.translate_reader import End
from inhouse.upstream.dialects.translate_source import Choice, FunctionPart, whole_calls

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseWriter:
    """Writes one response. `echoed` is what it repeats of its request."""

    stream_type = b"text/event-stream"

    def __init__(
        self, alias: str, echoed: dict[str, msgspec.Raw], now: Callable[[], float]
    ) -> None:
        self._alias = alias
        self._echoed = echoed
        self._created_at = int(now())
        self._id: str | None = None
        self._sequence = 0
        self._items: list[Item] = []
        self._open: tuple[str, int] | None = None  # the kind, and for a call its index

    def piece(self, answer_id: str, choice: Choice) -> bytes:
        said = choice.said
        events = [] if self._id is not None else [self._start(answer_id)]
        if said.thinking:
            events.append(self._add(("reasoning", 0), said.thinking))
        if said.content:
            events.append(self._add(("message", 0), said.content))
        for part in said.tool_calls or ():
            function = part.function or FunctionPart()
            call_id = part.id or f"call_{part.index}"
            kind = ("function_call", part.index)
            events.append(self._add(kind, function.arguments or "", call_id, function.name))
        return b"".join(events)

    def close(self, end: End) -> tuple[bytes, bytes]:
        start = b"" if self._id is not None else self._start("")
        released = start + self._finish_item("incomplete" if _cut(end) else "completed")
        name = "response.incomplete" if _cut(end) else "response.completed"
        return released, self._event(name, response=self._response(end))

    def whole(self, answer_id: str, choice: Choice, end: End) -> bytes:
        said = choice.said
        self._id = message_id("resp", answer_id)
        if said.thinking:
            self._items.append(self._item("reasoning", said.thinking))
        if said.content:
            self._items.append(self._item("message", said.content))
        for call in whole_calls(said):
            self._items.append(self._item("function_call", call.arguments, call.id, call.name))
        return msgspec.json.encode(self._response(end))

    def _event(self, name: str, /, **members: Any) -> bytes:
        data = {"type": name, "sequence_number": self._sequence} | members
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))

    def _start(self, answer_id: str) -> bytes:
        self._id = message_id("resp", answer_id)
        created = self._event("response.created", response=self._response(None))
        return created + self._event("response.in_progress", response=self._response(None))

    def _add(
        self, kind: tuple[str, int], text: str, call_id: str = "", name: str | None = None
    ) -> bytes:
        """A piece of text for the open item, or the start of the next one with it."""
        said = b""
        if self._open != kind:
            if kind[0] == "function_call" and not name:
                raise EngineError("went back to a tool call after it had begun another")
            said = self._finish_item("completed") + self._begin_item(kind, call_id, name or "")
        if not text:
            return said
        item = self._items[-1]
        item.text += text
        return said + self._event(item.delta_event, delta=text, **self._at(item), **item.extra)

    def _begin_item(self, kind: tuple[str, int], call_id: str, name: str) -> bytes:
        self._open = kind
        item = self._item(kind[0], "", call_id, name)
        self._items.append(item)
        place = len(self._items) - 1
        said = self._event("response.output_item.added", output_index=place, item=item.begun())
        if item.kind == "function_call":
            return said
        return said + self._event("response.content_part.added", part=item.part(), **self._at(item))

    def _finish_item(self, status: str) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        item = self._items[-1]
        item.status = status
        at = self._at(item)
        events = [self._event(item.done_event, **item.finished(), **at, **item.extra)]
        if item.kind != "function_call":
            events.append(self._event("response.content_part.done", part=item.part(), **at))
        place = len(self._items) - 1
        done = self._event("response.output_item.done", output_index=place, item=item.whole())
        return b"".join([*events, done])

    def _at(self, item: "Item") -> dict[str, Any]:
        at: dict[str, Any] = {"item_id": item.id, "output_index": len(self._items) - 1}
        return at if item.kind == "function_call" else at | {"content_index": 0}

    def _item(self, kind: str, text: str, call_id: str = "", name: str = "") -> "Item":
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        base = (self._id or "").partition("_")[2]
        return Item(kind, f"{prefix}_{base}_{len(self._items)}", text, call_id, name)

    def _response(self, end: End | None) -> dict[str, Any]:
        """The response as it stands; without an end it is in progress."""
        reason = _INCOMPLETE.get(end.finish_reason) if end is not None else None
        status = "in_progress" if end is None else "incomplete" if reason else "completed"
        head = {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "model": self._alias,
            "output": _wholes(self._items) if end is not None else [],
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
        }
        tail = {"usage": _usage(end) if end is not None else None}
        return _REPEATED | self._echoed | head | tail


class Item:
    """One item of a response's output."""

    def __init__(self, kind: str, item_id: str, text: str, call_id: str, name: str) -> None:
        self.kind = kind
        self.id = item_id
        self.text = text
        self.call_id = call_id
        self.name = name
        self.status = "completed"

    @property
    def delta_event(self) -> str:
        return f"response.{_STEM[self.kind]}.delta"

    @property
    def done_event(self) -> str:
        return f"response.{_STEM[self.kind]}.done"

    @property
    def extra(self) -> dict[str, Any]:
        """What the events of output text carry besides."""
        return {"logprobs": []} if self.kind == "message" else {}

    def part(self) -> dict[str, Any]:
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": self.text}
        return {"type": "output_text", "text": self.text, "annotations": [], "logprobs": []}

    def finished(self) -> dict[str, Any]:
        if self.kind == "function_call":
            return {"arguments": self.text, "name": self.name}
        return {"text": self.text}

    def begun(self) -> dict[str, Any]:
        """The item when it is added: without content, in progress."""
        empty: dict[str, Any] = (
            {"arguments": ""} if self.kind == "function_call" else {"content": []}
        )
        return self.whole() | empty | {"status": "in_progress"}

    def whole(self) -> dict[str, Any]:
        head: dict[str, Any] = {"id": self.id, "type": self.kind, "status": self.status}
        if self.kind == "function_call":
            return head | {"call_id": self.call_id, "name": self.name, "arguments": self.text}
        if self.kind == "reasoning":
            return head | {"summary": [], "content": [self.part()]}
        return head | {"role": "assistant", "content": [self.part()]}


_STEM = {
    "message": "output_text",
    "reasoning": "reasoning_text",
    "function_call": "function_call_arguments",
}
_REPEATED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
}
"""What a response repeats where the request did not say it."""


def _wholes(items: Iterable[Item]) -> list[dict[str, Any]]:
    return [item.whole() for item in items]


def _cut(end: End) -> bool:
    return end.finish_reason in _INCOMPLETE


def _usage(end: End) -> dict[str, Any]:
    prompt, completion = end.usage.prompt_tokens or 0, end.usage.completion_tokens or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": end.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + completion,
    }
