"""What a start, or a process that comes back to the log, must read of it: where it ends, and
which requests were left open."""

import os
from itertools import pairwise
from pathlib import Path

import msgspec

from inhouse.audit.record import Gap, Intent, Outcome, Record, Started, decode
from inhouse.audit.segment import Line, Link, first_line, lines_of, link_of, read_line

TAIL_BYTES = 1 << 20
LONGEST_REQUEST_S = 86_400.0  # no request is open longer: the configuration bounds it


def given_up_at(following: Path, segment: str) -> int | None:
    """Where a segment was given up, if the first record of the one behind it says so."""
    record = decoded(first_line(following))
    return record.offset if isinstance(record, Gap) and record.segment == segment else None


def link_before(paths: list[Path]) -> Link:
    """The last record that counts before the last of these segments, as it stands there."""
    for path, following in reversed(list(pairwise(paths))):
        link = _last_link(path, given_up_at(following, path.name))
        if link is not None:
            return link
    return Link()


def _last_link(path: Path, end: int | None) -> Link | None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) if end is None else end
        start = max(0, size - TAIL_BYTES)
        file.seek(start)
        data = file.read(size - start)
    for raw in reversed(data.splitlines()):
        line = read_line(raw)
        if line is not None:
            return link_of(line)
    return None


def left_open(paths: list[Path]) -> list[str]:
    """The ids of the requests that have an intent and no outcome, oldest first.

    Reads back to the last start of a gateway, which closed what was open before it, and no
    further than a request can last.
    """
    open_ids: dict[str, None] = {}
    closed: set[str] = set()
    newest = None
    for path, following in reversed([*pairwise(paths), *([(paths[-1], None)] if paths else [])]):
        end = given_up_at(following, path.name) if following else None
        found = list(_since_start(path, end))
        closed.update(record.request_id for record in found if isinstance(record, Outcome))
        intents = [record for record in found if isinstance(record, Intent)]
        here = {i.request_id: None for i in intents if i.request_id not in closed}
        open_ids = here | open_ids
        times = [record.time for record in found]
        newest = max(times, default=0.0) if newest is None else newest
        if found and isinstance(found[0], Started):
            break
        if times and max(times) < newest - LONGEST_REQUEST_S:
            break
    return list(open_ids)


def _since_start(path: Path, end: int | None) -> list[Record]:
    """The records of a segment; from the last start of a gateway on, where it holds one."""
    found: list[Record] = []
    for line in lines_of(path, end):
        record = decoded(line)
        if isinstance(record, Started):
            found = []
        if isinstance(record, Started | Intent | Outcome):
            found.append(record)
    return found


def decoded(line: Line | None) -> Record | None:
    """The record of a line; None where there is none of a known kind."""
    try:
        return None if line is None else decode(line.r)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
