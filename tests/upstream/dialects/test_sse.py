"""Splitting streams of events: whole events only, at whatever border the bytes were cut."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inhouse.errors import EngineError
from inhouse.upstream.dialects.sse import ENDS, Event, Events, EventSplitter, event, lone, split

EVENT = b'data: {"a":1}\n\n'
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
pieces = st.lists(
    st.sampled_from([b"data: x", b"event: y", b":", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"z"]),
    max_size=30,
).map(b"".join)


def reference(stream: bytes) -> list[bytes]:
    """The events of a stream by its lines: an event ends with an empty line."""
    found, lines = [], b""
    for line in re.findall(rb"[^\n]*\n", stream):
        lines += line
        if not line.strip(b"\r\n") and lines.strip():
            found.append(lines.strip())
            lines = b""
    return found


@unhurried
@given(pieces, st.data())
def test_pieces_give_what_the_whole_gives(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    splitter = EventSplitter()
    released = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        block = splitter.feed(stream[start:end])
        assert not block or block.endswith(ENDS)
        released.append(block)
    whole = b"".join(released)
    assert whole + splitter.pending == stream
    assert [raw.strip() for raw in split(whole) if raw.strip()] == reference(stream)


@pytest.mark.parametrize(
    "block", [EVENT, EVENT * 3, b"data: a\r\n\r\n", b"data: a\n\r\n", b": c\n\n"]
)
def test_whole_events_pass_as_the_same_object(block: bytes) -> None:
    assert EventSplitter().feed(block) is block


def test_an_event_may_not_grow_without_end() -> None:
    splitter = EventSplitter(most_bytes=100)
    assert splitter.feed(b"x" * 100) == b""
    with pytest.raises(EngineError, match="more than 100 bytes"):
        splitter.feed(b"x")


def test_the_bound_is_on_what_is_pending_not_on_what_passes() -> None:
    assert EventSplitter(most_bytes=20).feed(EVENT * 100 + b"data") == EVENT * 100


@pytest.mark.parametrize("block", [b"data: a\rdata: [DONE]\n\n", b"data: a\n\n\rdata: b\n\n"])
def test_a_carriage_return_that_ends_no_line_is_a_fault(block: bytes) -> None:
    with pytest.raises(EngineError, match="carriage return"):
        [event(raw) for raw in split(EventSplitter().feed(block))]


def test_a_name_without_data_is_a_fault() -> None:
    with pytest.raises(EngineError, match="a name and no data"):
        event(b"event: message_start\0data: x\n\n")


def test_crlf_cut_in_its_middle() -> None:
    splitter = EventSplitter()
    stream = b"data: a\r\n\r\ndata: b\r\n\r\n"
    fed = [splitter.feed(stream[place : place + 1]) for place in range(len(stream))]
    assert [block for block in fed if block] == [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]


READ = [
    (b"data: x\n\n", b"", b"x"),
    (b"data:x\n\n", b"", b"x"),
    (b"data:  x\n\n", b"", b" x"),
    (b"data: x\ndata: y\n\n", b"", b"x\ny"),
    (b"data: x\r\ndata: y\r\n\r\n", b"", b"x\ny"),
    (b"data: x\r\n\r\n", b"", b"x"),
    (b"data: x\r\n\n", b"", b"x"),
    (b"event: e\ndata: x\n\n", b"e", b"x"),
    (b"event:e\r\ndata:x\r\n\r\n", b"e", b"x"),
    (b"data: x\nevent: e\n\n", b"e", b"x"),
    (b"id: 7\nretry: 3\ndata: x\n\n", b"", b"x"),
    (b"data\n\n", b"", b""),
    (b": comment\n\n", b"", None),
    (b":\ndata: x\n\n", b"", b"x"),
    (b"\n\n", b"", None),
    (b"\ndata: x\n\n", b"", b"x"),
]


@pytest.mark.parametrize(("raw", "name", "data"), READ)
def test_an_event_is_read_by_the_rules(raw: bytes, name: bytes, data: bytes | None) -> None:
    assert event(raw) == Event(raw, name, data)


@pytest.mark.parametrize(("raw", "name", "data"), READ)
def test_the_quick_way_reads_the_same_or_nothing(
    raw: bytes, name: bytes, data: bytes | None
) -> None:
    assert lone(raw) in (None, (name, data))


@pytest.mark.parametrize(
    "block",
    [EVENT * 2, b": c\n\n", b"data: a\rb\n\n", b"event: a\rdata: b\n\n", b"data: a\ndata: b\n\n"],
)
def test_the_quick_way_leaves_what_is_not_one_plain_event(block: bytes) -> None:
    assert lone(block) is None


@pytest.mark.parametrize(
    "line", [b"<html>", b'{"error":1}', b'error: {"code":500}', b"\xef\xbb\xbfdata: x"]
)
def test_a_line_of_no_event_is_a_fault(line: bytes) -> None:
    with pytest.raises(EngineError, match="belongs to no event"):
        event(line + b"\n\n")


def test_data_of_events_without_comments() -> None:
    events = Events()
    assert list(events.feed(b": hello\n\ndata: a\n\ndata:")) == [b"a"]
    assert list(events.feed(b" b\n\n")) == [b"b"]
