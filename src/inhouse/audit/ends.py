"""Where a segment ends: with its file, or where the first record of the next one says that it was
given up. What stands behind that does not count."""

from pathlib import Path

import msgspec

from inhouse.audit.record import Gap, Record, decode
from inhouse.audit.segment import Line, first_line, number_of, segment_path


def gap_of(following: Path, segment: str) -> Gap | None:
    """What the first record of a segment says of the one before, if that was given up."""
    record = decoded(first_line(following))
    return record if isinstance(record, Gap) and record.segment == segment else None


def given_up_at(following: Path, segment: str) -> int | None:
    """Where a segment was given up, if the first record of the one behind it says so."""
    gap = gap_of(following, segment)
    return None if gap is None else gap.offset


def end_of(path: Path) -> int | None:
    """Where a segment was given up, if there is one behind it that says so."""
    following = segment_path(path.parent, number_of(path) + 1)
    return given_up_at(following, path.name) if following.is_file() else None


def decoded(line: Line | None) -> Record | None:
    """The record of a line; None where there is none of a known kind."""
    try:
        return None if line is None else decode(line.r)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
