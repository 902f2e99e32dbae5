"""Segments: how records stand in a file, and how they are chained.

    {"n":17,"mac":"<64 hex>","r":{"kind":"intent", ...}}

`mac` is HMAC-SHA256 under the log's key of: the mac before (32 bytes), n (8 bytes, big endian),
and the bytes of `r` as they stand in the line. The first record's mac before is 32 zero bytes.
The chain goes on across segments 000001.jsonl, 000002.jsonl, ...
"""

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

ZERO = bytes(32)


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the last record's number and mac."""

    n: int = 0
    mac: bytes = ZERO


class Line(msgspec.Struct):
    """A line of a segment."""

    n: int
    mac: str
    r: msgspec.Raw


_LINES: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


@dataclass(frozen=True, slots=True)
class Found:
    """A line that was read: where it stands, and whether it follows from the one before."""

    segment: str
    number: int  # of the line, from 1
    offset: int  # of its first byte
    end: int  # behind its line feed, or the file's end where it has none
    line: Line | None  # None where it is no record at all
    chained: bool
    whole: bool  # it ends with a line feed


def mac_of(key: bytes, before: Link, n: int, raw: bytes) -> bytes:
    return hmac.digest(key, before.mac + n.to_bytes(8, "big") + raw, "sha256")


def line_of(n: int, mac: bytes, raw: bytes) -> bytes:
    return b'{"n":%d,"mac":"%b","r":%b}\n' % (n, mac.hex().encode(), raw)


def segments(directory: Path) -> list[Path]:
    """The segments of a log, in order."""
    return sorted(directory.glob("[0-9][0-9][0-9][0-9][0-9][0-9].jsonl"))


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:06}.jsonl"


def walk(path: Path, key: bytes, before: Link, offset: int = 0) -> Iterator[Found]:
    """Every line of a segment from a line's start on, each held against the one before it.

    Lines are numbered from 1 at `offset`.
    """
    with path.open("rb") as file:
        file.seek(offset)
        for number, data in enumerate(file, 1):
            found = _hold(path.name, number, offset, data, key, before)
            yield found
            offset = found.end
            if found.line is not None:
                before = link_of(found.line)


def _hold(segment: str, number: int, offset: int, data: bytes, key: bytes, before: Link) -> Found:
    end, whole = offset + len(data), data.endswith(b"\n")
    line = read_line(data)
    if line is None:
        return Found(segment, number, offset, end, None, chained=False, whole=whole)
    raw = bytes(line.r)
    chained = (
        line.n == before.n + 1
        and line_of(line.n, _mac_bytes(line), raw) == data
        and hmac.compare_digest(mac_of(key, before, line.n, raw), _mac_bytes(line))
    )
    return Found(segment, number, offset, end, line, chained=chained, whole=whole)


def read_line(data: bytes) -> Line | None:
    """A line's parts, unproven; None where it is no record."""
    try:
        return _LINES.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def lines_of(path: Path, end: int | None = None) -> Iterator[Line]:
    """The records of a segment up to `end`, unproven; what is none is left out."""
    offset = 0
    with path.open("rb") as file:
        for data in file:
            if end is not None and offset >= end:
                return
            offset += len(data)
            line = read_line(data) if data.endswith(b"\n") else None
            if line is not None:
                yield line


def first_line(path: Path) -> Line | None:
    """The first record of a segment, unproven; None where it holds none."""
    with path.open("rb") as file:
        return read_line(file.readline())


def link_of(line: Line) -> Link:
    """The place in the chain that a line claims."""
    return Link(line.n, _mac_bytes(line))


def _mac_bytes(line: Line) -> bytes:
    try:
        return bytes.fromhex(line.mac)
    except ValueError:
        return b""
