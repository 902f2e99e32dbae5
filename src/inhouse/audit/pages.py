"""The log in pages, newest request first; each page reads on where the one before ended.

    oldest ... [Intent A] [Intent B] │ [Denial C] [Outcome A] [Intent D] [Outcome D] ... newest
                                     at                      seen

A page holds requests in the order in which they were recorded to begin. Where it ends (`at`),
some that begin before have their outcomes behind; the next page reads from behind the last of
these (`seen`), and shows what begins before `at`. Both places are in its cursor, so that nothing is
kept between two pages. A request that ended after the first page was read is shown as running.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from inhouse.audit.ends import decoded, end_of
from inhouse.audit.head import parts
from inhouse.audit.read import Query, Row, begun, denied, ended
from inhouse.audit.record import Denial, Intent, Outcome, Record
from inhouse.audit.segment import number_of, placed_backwards
from inhouse.audit.tail import Position, end_position

MOST_LOOKED = 50_000  # records in one page, whether they match or not
MOST_BACK = 200_000  # records between a request's outcome and its beginning
_CURSOR = re.compile(r"([0-9]{1,9})\.([0-9]{1,15})-([0-9]{1,9})\.([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ends, and where the outcomes of what begins before that place end."""

    at: Position
    seen: Position

    def __str__(self) -> str:
        at, seen = self.at, self.seen
        return f"{at.number}.{at.offset}-{seen.number}.{seen.offset}"


def cursor_of(text: str) -> Cursor | None:
    """A cursor as it was written; None where it is none."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        return None
    at, at_offset, seen, seen_offset = map(int, match.groups())
    cursor = Cursor(Position(at, at_offset), Position(seen, seen_offset))
    return cursor if _key(cursor.at) <= _key(cursor.seen) else None


@dataclass(slots=True)
class Page:
    """Requests, newest first, and where the next page begins; None where there is none."""

    rows: list[Row] = field(default_factory=list)
    following: Cursor | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An outcome whose request is yet to be seen to begin."""

    outcome: Outcome
    behind: Position
    looked: int


def page(
    directory: Path,
    query: Query,
    count: int,
    start: Cursor | None = None,
    *,
    longest_s: float = 86_400.0,
    most_looked: int = MOST_LOOKED,
) -> Page:
    """At most `count` requests that match, from the log's end or where a page ended.

    Fewer where more than `most_looked` records were looked at: then the next page goes on. No
    request lasts longer than `longest_s`, so that what ended long before `query.since` is not
    looked for.
    """
    end = end_position(directory)
    start = start or Cursor(end, end)
    found = Page()
    waiting: dict[str, _Waiting] = {}
    new = 0
    behind = start.seen
    for looked, (record, place) in enumerate(_backwards(directory, start.seen)):
        earlier = _key(place) < _key(start.at)
        new += earlier
        row: Row | None = None
        match record:
            case Outcome():
                waiting[record.request_id] = _Waiting(record, behind, looked)
            case Intent():
                known = waiting.pop(record.request_id, None)
                row = begun(record) if known is None else ended(begun(record), known.outcome)
            case Denial():
                row = denied(record)
        behind = place
        if row is None or not earlier:
            pass
        elif row.time < query.since - longest_s:
            return found
        elif query.matches(row):
            found.rows.append(row)
        if len(found.rows) >= count or new >= most_looked:
            seen = [each.behind for each in waiting.values() if looked - each.looked < MOST_BACK]
            found.following = Cursor(place, seen[0] if seen else place)
            return found
    return found


def _backwards(directory: Path, end: Position) -> Iterator[tuple[Record | None, Position]]:
    """The lines before a place, newest first, and where each begins."""
    for path in reversed(parts(directory)):
        number = number_of(path)
        if number > end.number:
            continue
        limit = end_of(path)
        if number == end.number:
            limit = end.offset if limit is None else min(limit, end.offset)
        for line, offset in placed_backwards(path, limit):
            yield decoded(line), Position(number, offset)


def _key(place: Position) -> tuple[int, int]:
    return place.number, place.offset
