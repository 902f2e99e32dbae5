"""Segments: how records stand in a file, and how they are chained.

    {"n":17,"mac":"<64 hex>","r":{"kind":"intent", ...}}

`mac` is HMAC-SHA256 under the log's key of: the mac before (32 bytes), n (8 bytes, big endian),
and the bytes of `r` as they stand in the line. The first record's mac before is 32 zero bytes.
The chain goes on across segments 000001.jsonl, 000002.jsonl, ...
"""

import hmac
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inhouse.mac import Mac

ZERO = bytes(32)
BLOCK_BYTES = 1 << 16
_NAME = re.compile(r"\d{6}|[1-9]\d{6,}")


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the last record's number and mac."""

    n: int = 0
    mac: bytes = ZERO


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record ends: its segment's number, the byte behind its line feed, its link. Before
    the first record of a segment, `offset` is 0 and the link is the one before."""

    number: int = 0
    offset: int = 0
    link: Link = Link()


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


def mac_of(key: Mac, before: bytes, n: int, raw: bytes) -> bytes:
    """The mac of record `n`, behind one whose mac is `before`."""
    return key.digest(before + n.to_bytes(8, "big") + raw)


def line_of(n: int, mac: bytes, raw: bytes) -> bytes:
    return b'{"n":%d,"mac":"%b","r":%b}\n' % (n, mac.hex().encode(), raw)


def segments(directory: Path) -> list[Path]:
    """Everything in a directory that is named like a segment, in the order of the numbers."""
    found = [path for path in directory.glob("*.jsonl") if _NAME.fullmatch(path.stem)]
    return sorted(found, key=number_of)


def number_of(path: Path) -> int:
    return int(path.stem)


def run_from(directory: Path, number: int) -> int:
    """The last number of the segments that follow this one without a hole."""
    while segment_path(directory, number + 1).exists():
        number += 1
    return number


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:06}.jsonl"


def walk(path: Path, key: bytes, before: Link, offset: int = 0) -> Iterator[Found]:
    """Every line of a segment from a line's start on, each held against the one before it.

    Lines are numbered from 1 at `offset`.
    """
    mac = Mac(key)
    with path.open("rb") as file:
        file.seek(offset)
        for number, data in enumerate(file, 1):
            found = _hold(path.name, number, offset, data, mac, before)
            yield found
            offset = found.end
            if found.line is not None:
                before = link_of(found.line)


def _hold(segment: str, number: int, offset: int, data: bytes, key: Mac, before: Link) -> Found:
    end, whole = offset + len(data), data.endswith(b"\n")
    line = read_line(data)
    if line is None:
        return Found(segment, number, offset, end, None, chained=False, whole=whole)
    raw = bytes(line.r)
    chained = (
        line.n == before.n + 1
        and line_of(line.n, _mac_bytes(line), raw) == data
        and hmac.compare_digest(mac_of(key, before.mac, line.n, raw), _mac_bytes(line))
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
    for line, _ in lines_from(path, 0, end):
        if line is not None:
            yield line


def lines_from(
    path: Path, offset: int, end: int | None = None
) -> Iterator[tuple[Line | None, int]]:
    """Every whole line from a line's start on, unproven, and the byte behind it."""
    with path.open("rb") as file:
        file.seek(offset)
        for data in file:
            if not data.endswith(b"\n") or (end is not None and offset >= end):
                return
            offset += len(data)
            yield read_line(data), offset


def lines_backwards(path: Path, end: int | None = None) -> Iterator[Line]:
    """The records of a segment from its end, or from `end`, to its beginning, unproven."""
    for line, _ in placed_backwards(path, end):
        if line is not None:
            yield line


def placed_backwards(path: Path, end: int | None = None) -> Iterator[tuple[Line | None, int]]:
    """Every whole line from the end of a segment, or from `end`, to its beginning, unproven, and
    where it begins."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END) if end is None else end
        rest, whole = b"", False  # what stands behind the last line feed is no line yet
        while at > 0:
            start = max(0, at - BLOCK_BYTES)
            file.seek(start)
            first, *lines = (file.read(at - start) + rest).split(b"\n")
            offset = at + len(rest)  # behind the line that is looked at
            at = start
            for data in reversed(lines):
                offset -= len(data)
                if whole:
                    yield read_line(data), offset
                whole = True
                offset -= 1  # the line feed before it
            rest = first
        if whole:
            yield read_line(rest), 0


def line_before(path: Path, offset: int) -> Line | None:
    """The record whose line ends at `offset`, unproven; None where none does."""
    try:
        with path.open("rb") as file:
            file.seek(offset - 1)
            if file.read(1) != b"\n":
                return None
        return next(lines_backwards(path, offset), None)
    except FileNotFoundError:
        return None


def last_line_feed(path: Path) -> int:
    """The byte behind the last whole line of a segment."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        while at > 0:
            start = max(0, at - BLOCK_BYTES)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            at = start
    return 0


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
