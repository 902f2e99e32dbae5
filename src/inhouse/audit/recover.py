"""What a start, or a process that comes back to the log, must read of it: where it ends, and
which requests were left open."""

from collections.abc import Iterator
from enum import Enum, auto
from pathlib import Path

from inhouse.audit.ends import decoded, end_of
from inhouse.audit.head import Seals
from inhouse.audit.record import Denial, Intent, Outcome
from inhouse.audit.segment import (
    Link,
    Place,
    line_before,
    lines_backwards,
    link_of,
    number_of,
    segment_path,
    segments,
    walk,
)

SLACK_S = 3600.0  # for clocks that were set, and for a request timeout that was lowered since
PAIRED = (b"intent", b"outcome")


class Rest(Enum):
    """What stands behind the last good record."""

    NOTHING = auto()
    TORN = auto()  # what a crash leaves
    ALTERED = auto()  # what no crash leaves


def counts(directory: Path, place: Place) -> bool:
    """Whether the record of a place is in the log, and not behind where it was given up."""
    end = end_of(segment_path(directory, place.number))
    return stands(directory, place) and (end is None or place.offset <= end)


def stands(directory: Path, place: Place) -> bool:
    """Whether the record that a place names ends there."""
    if place.link.n == 0:
        return True
    if place.offset == 0:
        before = segment_path(directory, place.number - 1)
        return before.is_file() and _last_link(before) == place.link
    line = line_before(segment_path(directory, place.number), place.offset)
    return line is not None and link_of(line) == place.link


def start_without_seals(directory: Path) -> Place:
    """Where to begin where neither head nor mark helps: at the last segment, behind the last
    record that counts before it, as that stands there."""
    paths = segments(directory)
    if not paths:
        return Place()
    links = (_last_link(path) for path in reversed(paths[:-1]))
    link = next((link for link in links if link is not None), Link())
    return Place(number_of(paths[-1]), 0, link)


def _last_link(path: Path) -> Link | None:
    line = next(lines_backwards(path, end_of(path)), None)
    return None if line is None else link_of(line)


def follow(directory: Path, key: bytes, start: Place, *, durable: bool) -> tuple[Place, Rest]:
    """The last good record behind a place, and what stands behind that.

    `durable` says that all that was acknowledged and is known of ends at `start` or before.
    """
    place, rest = start, Rest.NOTHING
    while True:
        more = segment_path(directory, place.number + 1).exists()
        if place.number:
            place, rest = _follow_segment(directory, key, place, durable=durable)
        if not more:
            return place, rest
        place = Place(place.number + 1, 0, place.link)


def _follow_segment(
    directory: Path, key: bytes, place: Place, *, durable: bool
) -> tuple[Place, Rest]:
    path = segment_path(directory, place.number)
    end = end_of(path)
    torn = altered = False
    for found in walk(path, key, place.link, place.offset):
        if end is not None and found.offset >= end:
            break
        if found.chained and found.whole and found.line is not None and not torn:
            place = Place(place.number, found.end, link_of(found.line))
        else:
            torn = True
            altered = altered or (found.line is not None and found.whole)
    if altered and not (durable and _hole(path, place.offset)):
        return place, Rest.ALTERED
    return place, Rest.TORN if torn else Rest.NOTHING


def _hole(path: Path, offset: int) -> bool:
    """Whether the line at an offset holds NUL bytes, which no record does: a page that was not
    yet on the disk when the power went, though later ones were."""
    with path.open("rb") as file:
        file.seek(offset)
        return b"\0" in file.readline()


def what_is_wrong(
    directory: Path, seals: Seals, last: int, known: int, *, headed: bool
) -> list[str]:
    """What head, mark and this process know of, and the log does not hold: no crash does that.
    `last` is the number of the log's last record, `known` of the last that this process saw;
    `headed` says that there should be a head."""
    sentences = [f"{name}: {sentence}" for name, sentence in seals.wrong]
    most = max(known, seals.last)
    if most > last:
        sentences.append(f"records {last + 1} to {most} are gone")
    elif not all(stands(directory, place) for place in seals.places):
        sentences.append("the record that head or mark names is another one")
    if headed and seals.head is None and not seals.wrong and (last or seals.mark is not None):
        sentences.append("no head")
    return sentences


def left_open(paths: list[Path], longest_s: float) -> list[str]:
    """The ids of the requests that have an intent and no outcome, oldest first.

    Reads back to the last start of a gateway, which closed what was open before it, and no
    further than a request can last. Holds no more than what is open at a time.
    """
    open_ids: dict[bytes, None] = {}
    closed: set[bytes] = set()
    newest = 0.0
    for path in reversed(paths):
        at = _last_time(path)
        newest = max(newest, at)
        if at and at < newest - longest_s - SLACK_S:
            break
        here, elsewhere, started = _pairs(path)
        open_ids = {each: None for each in here if each not in closed} | open_ids
        closed |= elsewhere
        if started:
            break
    return [request_id.decode("utf-8", "replace") for request_id in open_ids]


def _last_time(path: Path) -> float:
    """The time of the last request in a segment; 0 where it holds none. Commands write days after
    a gateway was killed, so theirs says nothing."""
    for line in lines_backwards(path, end_of(path)):
        record = decoded(line)
        if isinstance(record, Intent | Outcome | Denial):
            return record.time
    return 0.0


def _pairs(path: Path) -> tuple[dict[bytes, None], set[bytes], bool]:
    """Of a segment, from the last start of a gateway on: intents without an outcome, outcomes
    without an intent, and whether there was a start."""
    opened: dict[bytes, None] = {}
    closed: set[bytes] = set()
    started = False
    for kind, request_id in _beginnings(path):
        if kind == b"intent":
            opened[request_id] = None
        elif kind == b"started":
            opened, closed, started = {}, set(), True
        elif request_id in opened:
            del opened[request_id]
        else:
            closed.add(request_id)
    return opened, closed, started


def _beginnings(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Kind and request id of every start, intent and outcome in a segment. Looks at the first
    bytes of a line only, as this log writes them; decoding each would take five times as long.

    {"n":17,"mac":"...","r":{"kind":"intent","request_id":"req_...", ...
    """
    end, offset = end_of(path), 0
    with path.open("rb") as file:
        for data in file:
            if end is not None and offset >= end:
                return
            offset += len(data)
            pieces = data.split(b'"', 16)
            kind = pieces[11] if len(pieces) > 11 and pieces[9] == b"kind" else b""
            if kind in PAIRED and len(pieces) == 17 and pieces[13] == b"request_id":
                yield kind, pieces[15]
            elif kind == b"started":
                yield kind, b""
