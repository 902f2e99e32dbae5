"""Verifies a log: that nothing was changed, added, taken away or left open.

Reads with the log's key and nothing else; the mark, where there is one, stands outside of the
log's directory. Constant memory, but for the requests open at a time and for the findings.
"""

import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from inhouse.audit.ends import decoded, gap_of
from inhouse.audit.head import head_path, read_seals
from inhouse.audit.record import Gap, Intent, Outcome, Record
from inhouse.audit.segment import (
    Found,
    Link,
    last_line_feed,
    link_of,
    number_of,
    run_from,
    segment_path,
    segments,
    walk,
)

ENOUGH_TO_JUDGE_A_KEY = 1000  # records, none of which it made
WRITTEN_S = 0.1  # in which a line that is being written gets its end


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth a note, and where; line 0 is the file as a whole."""

    segment: str
    line: int
    sentence: str

    def __str__(self) -> str:
        at = f"{self.segment} line {self.line}" if self.line else self.segment
        return f"{at}: {self.sentence}"


@dataclass(slots=True)
class Report:
    """What was read, what is wrong, and what is not but should be known."""

    records: int = 0
    segments: int = 0
    open_requests: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.findings


class WrongKeyError(Exception):
    """Nothing in the log was written with this key."""


def verify(directory: Path, key: bytes, mark: Path | None = None) -> Report:
    """Read a whole log and say what is wrong with it. Without `mark`, it is held against its own
    head only."""
    return _Verifier(directory, key, mark).run()


class _Verifier:
    def __init__(self, directory: Path, key: bytes, mark: Path | None) -> None:
        self._directory = directory
        self._key = key
        self._mark = mark
        self._seals = read_seals(directory, key, mark)
        self._report = Report()
        self._open: dict[str, Found] = {}
        self._link = Link()
        self._fits = self._seals.head is not None or self._seals.mark is not None

    def run(self) -> Report:
        for name, sentence in self._seals.wrong:
            self._find(name, 0, sentence)
        found = segments(self._directory)
        paths = self._parts(found)
        self._report.segments = len(paths)
        self._check_numbers(found, paths)
        gaps = self._gaps(paths)
        try:
            for path in paths:
                self._segment(path, gaps.get(path.name), last=path is paths[-1])
            if self._report.records and not self._fits:
                raise WrongKeyError
        except WrongKeyError:
            self._report.findings.clear()
            self._find(paths[0].name, 0, "no record was written with this key")
            return self._report
        self._check_head(paths)
        self._check_mark(paths)
        self._report.open_requests = len(self._open)
        return self._report

    def _parts(self, found: list[Path]) -> list[Path]:
        """The segments that belong to the log: up to the head's, and what follows that one."""
        numbers = [place.number for place in self._seals.places]
        if not numbers:
            return found
        last = run_from(self._directory, max(numbers))
        return [path for path in found if number_of(path) <= last]

    def _check_numbers(self, found: list[Path], paths: list[Path]) -> None:
        for path in found[len(paths) :]:
            self._find(path.name, 0, "is no part of the log")
        for number, path in enumerate(paths, 1):
            if number_of(path) != number:
                missing = segment_path(self._directory, number)
                self._find(missing.name, 0, "the segment is missing")
                return

    def _gaps(self, paths: list[Path]) -> dict[str, Gap]:
        """Where segments were given up, as the first records of the next ones say."""
        gaps = {}
        for path, behind in pairwise(paths):
            gap = gap_of(behind, path.name) if behind.is_file() else None
            if gap is not None:
                gaps[path.name] = gap
        return gaps

    def _segment(self, path: Path, gap: Gap | None, *, last: bool) -> None:
        try:
            end = last_line_feed(path) if last else None  # it grows while this reads
            for found in walk(path, self._key, self._link):
                if gap is not None and found.offset >= gap.offset:
                    break  # given up from here on, and the next segment says so under the chain
                if end is not None and found.offset >= end:
                    break
                self._line(found)
            if gap is not None:
                self._behind(path, gap)
            if end is not None:
                self._torn(path, end)
        except OSError as error:
            self._find(path.name, 0, f"cannot be read: {error.strerror}")

    def _behind(self, path: Path, gap: Gap) -> None:
        """What stands where nothing counts any more."""
        size = max(0, path.stat().st_size - gap.offset)
        sentence = f"{plural(size, 'byte')} behind the place where it was given up"
        if gap.behind is not None and size > gap.behind:
            self._find(path.name, 0, f"{sentence}, where there were {gap.behind} at most")
        elif size:
            self._report.notes.append(Finding(path.name, 0, f"{sentence} do not count"))

    def _torn(self, path: Path, end: int) -> None:
        """A last line without its end is what a crash leaves; or it is being written just now."""
        size = path.stat().st_size
        if size <= end:
            return
        time.sleep(WRITTEN_S)
        if path.stat().st_size == size and last_line_feed(path) == end:
            with path.open("rb") as file:
                number = 1 + sum(1 for line in file if line.endswith(b"\n"))
            self._find(path.name, number, "is torn; the next start cuts it off")

    def _line(self, found: Found) -> None:
        self._report.records += 1
        self._fits = self._fits or found.chained
        if not self._fits and self._report.records >= ENOUGH_TO_JUDGE_A_KEY:
            raise WrongKeyError
        if found.line is None:
            self._find(found.segment, found.number, "is no record")
            return
        if not found.chained or not found.whole:
            self._find(found.segment, found.number, self._why(found))
        self._link = link_of(found.line)
        self._match_seals(found)
        record = decoded(found.line)
        if record is None:
            self._find(found.segment, found.number, "holds a record of no known kind")
        else:
            self._pair(record, found)

    def _why(self, found: Found) -> str:
        assert found.line is not None
        if not found.whole:
            return "does not end with a line feed"
        if found.line.n != self._link.n + 1:
            return f"has number {found.line.n} where {self._link.n + 1} belongs"
        return "does not follow from the record before: one of them was changed"

    def _pair(self, record: Record, found: Found) -> None:
        if isinstance(record, Gap) and record.altered:
            what = f"{record.segment} was altered behind byte {record.offset}: {record.reason}"
            self._find(found.segment, found.number, what)
        if isinstance(record, Intent):
            if record.request_id in self._open:
                self._find(found.segment, found.number, f"opens {record.request_id} twice")
            self._open[record.request_id] = found
        elif isinstance(record, Outcome) and self._open.pop(record.request_id, None) is None:
            self._find(
                found.segment, found.number, f"closes {record.request_id}, which is not open"
            )

    def _match_seals(self, found: Found) -> None:
        assert found.line is not None
        for seal, name in ((self._seals.head, "head"), (self._seals.mark, "mark")):
            if seal is not None and found.line.n == seal.n and found.line.mac != seal.mac:
                sentence = f"is not the record that the {name} names"
                self._find(found.segment, found.number, sentence)

    def _check_head(self, paths: list[Path]) -> None:
        head = self._seals.head
        last = paths[-1].name if paths else head_path(self._directory).name
        if head is None and not paths and not self._seals.wrong:
            self._find(last, 0, "the log is empty, though there is a key for it")
        elif head is None and not self._report.findings and self._report.records:
            self._find("head.json", 0, "is missing")
        elif head is not None and head.n > self._link.n:
            sentence = f"the log ends with record {self._link.n}, but it had {head.n}"
            self._find(last, 0, f"{sentence}: the end was cut off")

    def _check_mark(self, paths: list[Path]) -> None:
        mark = self._seals.mark
        name = self._mark.name if self._mark is not None else "audit.mark"
        if self._mark is None:
            sentence = "not looked at: that log and head were not rolled back together is not shown"
            self._report.notes.append(Finding(name, 0, sentence))
        elif mark is None and not self._seals.wrong:
            self._report.notes.append(Finding(name, 0, "is not there; the next start writes it"))
        elif mark is not None and mark.n > self._link.n:
            last = paths[-1].name if paths else head_path(self._directory).name
            sentence = f"the log ends with record {self._link.n}, but its mark names {mark.n}"
            self._find(last, 0, f"{sentence}: the end was cut off, or the log was rolled back")

    def _find(self, segment: str, line: int, sentence: str) -> None:
        self._report.findings.append(Finding(segment, line, sentence))


def plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
