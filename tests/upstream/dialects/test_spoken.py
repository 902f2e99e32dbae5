"""Every text that an answer carries is seen by whoever must look at it."""

import json
from typing import Any

import pytest

from inhouse.upstream.dialects.spoken import events, spoken


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"delta": {"content": "TEXT"}}]},
        {"choices": [{"delta": {"reasoning_content": "TEXT"}}]},
        {"choices": [{"text": "TEXT"}]},
        {"choices": [{"message": {"tool_calls": [{"function": {"arguments": '{"a":"TEXT"}'}}]}}]},
        {"type": "response.output_text.delta", "delta": "TEXT"},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "TEXT"}},
        {"type": "content_block_delta", "delta": {"partial_json": "TEXT"}},
        {"content": [{"type": "tool_use", "input": {"city": ["TEXT"]}}]},
        {"message": {"content": "TEXT"}},
        {"message": {"tool_calls": [{"function": {"arguments": {"TEXT": 1}}}]}},
        {"response": "TEXT", "thinking": ""},
    ],
)
def test_texts_are_found(event: dict[str, Any]) -> None:
    assert "TEXT" in spoken(json.dumps(event).encode())
    assert "TEXT" in spoken(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n")


@pytest.mark.parametrize("event", [b"data: [DONE]\n\n", b": ping\n\n", b"data: {\n\n", b""])
def test_what_says_nothing(event: bytes) -> None:
    assert spoken(event) == ""


@pytest.mark.parametrize(
    ("block", "count"),
    [(b"data: {}\n\ndata: {}\n\n", 2), (b'{"a":1}\n{"b":2}\n', 2), (b"data: {}\n\ndata", 2)],
)
def test_blocks_are_taken_apart(block: bytes, count: int) -> None:
    assert len(list(events(block))) == count
    assert b"".join(events(block)) == block
