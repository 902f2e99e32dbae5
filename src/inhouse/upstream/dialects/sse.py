"""Server-sent events: where one ends, and what is in it.

An event is what stands before a blank line. Lines end with LF or CR LF. By the WHATWG's rules a
lone CR ends a line too; no engine writes one, and a reader that passed over it would see another
event than the client does, so it is a fault here: of its event, so that what was said before it
counts, whether it came in the same piece of the stream or in another. So is an event with a name
and no data, which clients pass over.

    engine's bytes ──EventSplitter──► whole events ──split──► one event ──event──► Event

The splitter is on the path of every token: where what arrived is whole events and nothing is
pending, it looks at the last bytes and hands the same object on.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from inhouse.errors import EngineError

MOST_PENDING_BYTES = 1_048_576
"""Longest event. An engine's event is a token or, at its largest, a whole answer repeated at the
end; what grows past this has lost its line ends."""

ENDS = (b"\n\n", b"\n\r\n")
"""How a block of whole events ends."""

_END = re.compile(rb"\n\r?\n")


class Event(NamedTuple):
    """One event, its blank line included in `raw`. `data` is None in a comment."""

    raw: bytes
    name: bytes
    data: bytes | None


class EventSplitter:
    """Releases whole events and keeps the beginning of the next one.

    Raises EngineError where an event grows past `most_bytes`.
    """

    __slots__ = ("_most_bytes", "_rest")

    def __init__(self, most_bytes: int = MOST_PENDING_BYTES) -> None:
        self._rest = bytearray()
        self._most_bytes = most_bytes

    @property
    def pending(self) -> bytes:
        """The beginning of an event that has not ended."""
        return bytes(self._rest)

    @property
    def between(self) -> bool:
        """Nothing is pending."""
        return not self._rest

    def feed(self, data: bytes) -> bytes:
        return data if not self._rest and data.endswith(ENDS) else self._cut(data)

    def _cut(self, data: bytes) -> bytes:
        rest = self._rest
        # What was pending holds no end, so only one that reaches into `data` is news.
        start = max(0, len(rest) - 2)
        rest += data
        cut = max(_end_of_last(rest, end, start) for end in ENDS)
        block = bytes(rest[:cut])
        del rest[:cut]
        if len(rest) > self._most_bytes:
            raise EngineError(f"sent an event of more than {self._most_bytes} bytes")
        return block


def _end_of_last(data: bytearray, end: bytes, start: int) -> int:
    found = data.rfind(end, start)
    return found + len(end) if found >= 0 else 0


def split(block: bytes) -> Iterator[bytes]:
    """The events of a block that the splitter released, each with its blank line."""
    start = 0
    for end in _END.finditer(block):
        yield block[start : end.end()]
        start = end.end()


def lone(block: bytes) -> tuple[bytes, bytes] | None:
    """Name and data of a block that ends as `ENDS` and is one event as engines spell it.

    None for whatever else: several events, comments, further fields, data in several lines, or
    a CR that ends no line, which `splitlines` would make a line of its own.
    """
    lines = block.splitlines()
    if len(lines) == 2 and lines[0].startswith(b"data: "):
        return b"", lines[0][6:]  # both line ends are those of the blank line: there is no other
    if (
        len(lines) == 3
        and not _lone_cr(block)
        and lines[0].startswith(b"event: ")
        and lines[1].startswith(b"data: ")
    ):
        return lines[0][7:], lines[1][6:]
    return None


def event(raw: bytes) -> Event:
    """One event read by the rules. Raises EngineError for a line that belongs to no event, for a CR
    that ends no line, and for a name without data."""
    if _lone_cr(raw):
        raise EngineError("sent a stream with a carriage return that ends no line")
    name, data = b"", []
    for line in raw.replace(b"\r\n", b"\n").split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field not in (b"", b"id", b"retry"):
            raise EngineError("sent a line that belongs to no event")
    if name and not data:
        raise EngineError("sent an event that has a name and no data")
    return Event(raw, name, b"\n".join(data) if data else None)


def _lone_cr(block: bytes) -> bool:
    return b"\r" in block and b"\r" in block.replace(b"\r\n", b"\n")


class Events:
    """Splits a stream into the data of its events, for whoever translates each of them.

    Raises EngineError as the splitter does, and for a line that belongs to no event.
    """

    __slots__ = ("_splitter",)

    def __init__(self) -> None:
        self._splitter = EventSplitter()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of the events that ended, one by one. Comments are left out."""
        for raw in split(self._splitter.feed(data)):
            read = event(raw).data
            if read is not None:
                yield read
