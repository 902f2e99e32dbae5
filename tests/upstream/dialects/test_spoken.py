"""Every text that an answer carries is seen by whoever must look at it, under its own key."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.upstream.dialects.spoken import Key, Unreadable, events, spoken, spoken_whole, token


def texts(event: dict[str, Any]) -> list[tuple[Key, str]]:
    """The texts of an event, however it is written."""
    data = json.dumps(event)
    found = spoken(f"{data}\n".encode())
    assert found is not None
    assert spoken(f"data: {data}\n\n".encode()) == found
    assert spoken(f"event: x\r\ndata: {data}\r\n\r\n".encode()) == found
    lines = json.dumps(event, indent=1).replace("\n", "\ndata: ")
    assert (spoken(f": hi\ndata: {lines}\n\n".encode()) or [])[:-1] == found
    return found


def choice(delta: dict[str, Any], index: int = 1) -> dict[str, Any]:
    return {"id": "4", "object": "x", "choices": [{"index": index, "delta": delta}]}


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (choice({"content": "TEXT"}), ("choices", 1, "content")),
        (choice({"reasoning_content": "TEXT"}), ("choices", 1, "reasoning_content")),
        (choice({"whatever_is_new": "TEXT"}), ("choices", 1, "whatever_is_new")),
        ({"choices": [{"text": "TEXT"}]}, ("choices", 0, "text")),
        (
            choice({"tool_calls": [{"index": 3, "function": {"arguments": "TEXT"}}]}),
            ("choices", 1, "tool_calls", 3, "arguments"),
        ),
        (
            choice({"tool_calls": [{"index": 3, "function": {"name": "TEXT"}}]}),
            ("choices", 1, "tool_calls", 3, "name"),
        ),
        ({"message": {"content": "TEXT"}}, ("content",)),
        ({"response": "TEXT", "thinking": ""}, ("response",)),
        ({"message": {"tool_calls": [{"function": {"arguments": {"a": ["TEXT"]}}}]}}, None),
        ({"message": {"tool_calls": [{"function": {"arguments": {"TEXT": True}}}]}}, None),
        ({"type": "content_block_start", "content_block": {"input": {"a": "TEXT"}}}, None),
    ],
)
def test_texts_and_their_keys(event: dict[str, Any], key: Key) -> None:
    found = dict(texts(event))
    assert "TEXT" in found[key]


@pytest.mark.parametrize(
    "pieces",
    [
        [
            {"type": "content_block_start", "index": 2, "content_block": {"text": "TE"}},
            {"type": "content_block_delta", "index": 2, "delta": {"text": "XT"}},
        ],
        [
            {"type": "message_start", "message": {"content": [{"type": "text", "text": "TE"}]}},
            {"type": "content_block_delta", "index": 0, "delta": {"text": "XT"}},
        ],
        [
            {"type": "response.output_item.added", "output_index": 1,
             "item": {"type": "message", "content": [{"type": "output_text", "text": "T"}]}},
            {"type": "response.content_part.added", "output_index": 1, "content_index": 0,
             "part": {"type": "output_text", "text": "E"}},
            {"type": "response.output_text.delta", "output_index": 1, "content_index": 0,
             "delta": "XT"},
        ],
        [
            {"type": "response.output_item.added", "output_index": 1,
             "item": {"type": "function_call", "arguments": "TE"}},
            {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "XT"},
        ],
        [
            {"type": "response.output_item.added", "output_index": 1,
             "item": {"type": "custom_tool_call", "input": "TE"}},
            {"type": "response.custom_tool_call_input.delta", "output_index": 1, "delta": "XT"},
        ],
    ],
)  # fmt: skip
def test_pieces_that_a_client_puts_together_have_one_key(pieces: list[dict[str, Any]]) -> None:
    found = [text for piece in pieces for text in texts(piece)]
    assert len({key for key, _ in found}) == 1
    assert "".join(text for _, text in found) == "TEXT"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (choice({"content": "a"}), choice({"content": "b"}, index=0)),
        (choice({"content": "a"}), choice({"reasoning": "b"})),
        (
            choice({"tool_calls": [{"index": 0, "function": {"arguments": "a"}}]}),
            choice({"tool_calls": [{"index": 1, "function": {"arguments": "b"}}]}),
        ),
        (
            {"type": "content_block_delta", "index": 0, "delta": {"text": "a"}},
            {"type": "content_block_delta", "index": 1, "delta": {"text": "b"}},
        ),
        (
            {"type": "response.reasoning_text.delta", "content_index": 0, "delta": "a"},
            {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": "b"},
        ),
    ],
)
def test_different_texts_have_different_keys(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert texts(one)[0][0] != texts(other)[0][0]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.done", "output_index": 0, "text": "TEXT"},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "TEXT"}]}]}},
    ],
)
def test_what_repeats_an_answer_is_complete_in_itself(event: dict[str, Any]) -> None:
    assert texts(event) == [(None, "TEXT")]


def test_nothing_hides_behind_another_name_for_the_same() -> None:
    event = {"type": "response.output_text.delta", "delta": "one", "text": "two"}
    assert {text for _, text in texts(event)} == {"one", "two"}


def test_numbers_in_arguments_are_texts() -> None:
    body = {"content": [{"type": "tool_use", "input": {"card": 4111111111111111, "at": [1.5]}}]}
    assert spoken_whole(json.dumps(body).encode()) == ["card\n4111111111111111\nat\n1.5"]


@pytest.mark.parametrize("event", [b"data: [DONE]\n\n", b"data: null\r\n\r\n", b"data: {}\n\n"])
def test_what_says_nothing(event: bytes) -> None:
    assert spoken(event) == []


@pytest.mark.parametrize("event", [b": ping\n\n", b"\n", b"id: 4\n\n"])
def test_comments(event: bytes) -> None:
    assert spoken(event) is None


@pytest.mark.parametrize(
    "event",
    [
        b"data: {\n\n",
        b'data: {"a":1e999}\n\n',
        b'data: {"a":"\xff"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"what: ever\n\n",
        b'{"a":1} {"b":2}\n',
    ],
)
def test_what_nobody_can_read(event: bytes) -> None:
    with pytest.raises(Unreadable):
        spoken(event)


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (b"data: {}\n\ndata: {}\n\n", 2),
        (b"data: {}\r\n\r\ndata: {}\r\n\r\n: hi\n\n", 3),
        (b"data: {}\n\ndata", 2),
        (b'{"a":1}\n{"b":2}\n', 2),
        (b' {"a":1,\r"b":2}\r\n{"b":2}', 2),
    ],
)
def test_blocks_are_taken_apart(block: bytes, count: int) -> None:
    assert len(list(events(block))) == count
    assert b"".join(events(block)) == block


FREQUENT = [
    b'data: {"id":"4","object":"x","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"he"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n',
    b'data: {"choices":[{"delta":{"content":"he"}}]}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":1,"delta":'
    b'{"type":"text_delta","text":"he"}}\n\n',
]
RARE = [
    b'data: {"choices":[{"index":0,"delta":{"content":"he","reasoning":"ho"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"a"}},{"index":1,"delta":{"content":"b"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"he"}}],"timings":{"x":1}}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"he"}}]}\ndata: {}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"he"}}]}\n\ndata: x\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"he"}}]}\r\n\r\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"he"}}]}\n: ho\n',
    b"data: [DONE]\n\n",
    b": ping\n\n",
]


@pytest.mark.parametrize("event", FREQUENT)
def test_the_event_of_a_token_is_read_at_once_and_says_the_same(event: bytes) -> None:
    text = token(event)

    assert text is not None
    assert spoken(event) == [text]


@pytest.mark.parametrize("event", RARE)
def test_any_other_event_is_left_to_the_rules(event: bytes) -> None:
    assert token(event) is None


@given(
    event=st.sampled_from(FREQUENT),
    at=st.integers(0, 250),
    cut=st.integers(0, 3),
    put=st.sampled_from(
        [b"", b"\n", b"\r", b'"', b",", b"1.0", b"null", b'"content":"ho",', b"\xff"]
    ),
)
def test_what_is_read_at_once_is_never_less_than_the_rules_find(
    event: bytes, at: int, cut: int, put: bytes
) -> None:
    event = event[:at] + put + event[at + cut :]

    text = token(event)

    if text is not None:
        assert spoken(event) == [text]
