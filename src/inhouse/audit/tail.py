"""The end of the log, for people: the last requests and changes, and new ones as they end.

Reads backwards from the end, and from there on only what is new, however long the log is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inhouse.audit.ends import decoded, end_of
from inhouse.audit.head import parts
from inhouse.audit.read import Row, begun, changed, denied, ended
from inhouse.audit.record import Changed, Denial, Intent, KeyChanged, Outcome, Record
from inhouse.audit.segment import (
    last_line_feed,
    lines_backwards,
    lines_from,
    number_of,
    segment_path,
)

MOST_BACK = 200_000  # records looked through for the beginning of a request
MOST_RUNNING = 10_000  # of which the beginning is kept; that of others is looked for


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two lines."""

    number: int = 0
    offset: int = 0


def end_position(directory: Path) -> Position:
    """Behind the last whole line."""
    paths = parts(directory)
    return Position(number_of(paths[-1]), last_line_feed(paths[-1])) if paths else Position()


def backwards(directory: Path, end: Position) -> Iterator[Record]:
    """The records before a place, newest first."""
    for path in reversed(parts(directory)):
        number = number_of(path)
        if number > end.number:
            continue
        for found in lines_backwards(path, end.offset if number == end.number else end_of(path)):
            record = decoded(found)
            if record is not None:
                yield record


def last_rows(directory: Path, count: int, end: Position) -> list[Row]:
    """The last requests and changes before a place, oldest first, in the order of their last
    records."""
    rows: list[Row] = []
    waiting: dict[str, tuple[int, Outcome]] = {}  # ended, and not yet seen to begin
    looked = 0
    for record in backwards(directory, end) if count else ():
        full = len(rows) >= count
        looked += full
        if full and (not waiting or looked > MOST_BACK):
            break
        match record:
            case Intent(request_id=request_id) if request_id in waiting:
                at, outcome = waiting.pop(request_id)
                rows[at] = ended(begun(record), outcome)
            case Intent() if not full:
                rows.append(begun(record))
            case Outcome() if not full:
                waiting[record.request_id] = len(rows), record
                rows.append(ended(Row(record.request_id, record.time), record))
            case Denial() if not full:
                rows.append(denied(record))
            case Changed() | KeyChanged() if not full:
                rows.append(changed(record))
    return rows[::-1]


class Follower:
    """What comes behind a place, each time that it is asked."""

    def __init__(self, directory: Path, start: Position) -> None:
        self._directory = directory
        self._at = start
        self._running: dict[str, Row] = {}

    def rows(self) -> Iterator[Row]:
        """The requests that have ended since, and the changes."""
        for record in self._records():
            match record:
                case Intent():
                    self._running[record.request_id] = begun(record)
                    if len(self._running) > MOST_RUNNING:
                        del self._running[next(iter(self._running))]
                case Outcome():
                    row = self._running.pop(record.request_id, None) or self._begun(record)
                    yield ended(row, record)
                case Denial():
                    yield denied(record)
                case Changed() | KeyChanged():
                    yield changed(record)

    def _records(self) -> Iterator[Record]:
        while True:
            path = segment_path(self._directory, self._at.number)
            more = segment_path(self._directory, self._at.number + 1).exists()
            if path.exists():
                size = path.stat().st_size
                if size < self._at.offset:  # what was not acknowledged was taken back
                    self._at = Position(self._at.number, size)
                for found, offset in lines_from(path, self._at.offset, end_of(path)):
                    self._at = Position(self._at.number, offset)
                    record = decoded(found)
                    if record is not None:
                        yield record
            if not more:
                return
            self._at = Position(self._at.number + 1)

    def _begun(self, outcome: Outcome) -> Row:
        """The row of a request that began before this looked."""
        for record in islice(backwards(self._directory, self._at), MOST_BACK):
            if isinstance(record, Intent) and record.request_id == outcome.request_id:
                return begun(record)
        return Row(outcome.request_id, outcome.time)
