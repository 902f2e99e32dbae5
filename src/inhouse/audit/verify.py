"""Verifies a log: that nothing was changed, added, taken away or left open.

Reads with the log's key and nothing else. Constant memory, but for the requests open at a time.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from inhouse.audit.head import read_head
from inhouse.audit.record import Gap, Intent, Outcome, Record
from inhouse.audit.recover import decoded, given_up_at
from inhouse.audit.segment import Found, Link, link_of, segments, walk


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where."""

    segment: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.segment} line {self.line}: {self.sentence}"


@dataclass(slots=True)
class Report:
    """What was read, and what was found."""

    records: int = 0
    segments: int = 0
    open_requests: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.findings


def verify(directory: Path, key: bytes) -> Report:
    """Read a whole log and say what is wrong with it. A log that is not there is empty."""
    return _Verifier(directory, key).run()


class _Verifier:
    def __init__(self, directory: Path, key: bytes) -> None:
        self._directory = directory
        self._key = key
        self._report = Report()
        self._open: dict[str, Found] = {}
        self._closed: str = ""
        self._link = Link()
        self._headed = False

    def run(self) -> Report:
        try:
            self._head = read_head(self._directory, self._key)
        except ValueError as error:
            self._head = None
            self._find("head.json", 0, str(error))
        paths = segments(self._directory)
        self._report.segments = len(paths)
        self._check_numbers(paths)
        gaps = self._gaps(paths)
        for path in paths:
            self._segment(path, gaps.get(path.name), last=path is paths[-1])
        self._check_head(paths)
        self._report.open_requests = len(self._open)
        return self._report

    def _check_numbers(self, paths: list[Path]) -> None:
        for number, path in enumerate(paths, 1):
            if int(path.stem) != number:
                self._find(f"{number:06}.jsonl", 0, "the segment is missing")
                return

    def _gaps(self, paths: list[Path]) -> dict[str, int]:
        """Where segments were given up, as the first records of the next ones say."""
        ends = {path.name: given_up_at(behind, path.name) for path, behind in pairwise(paths)}
        return {name: end for name, end in ends.items() if end is not None}

    def _segment(self, path: Path, end: int | None, *, last: bool) -> None:
        for found in walk(path, self._key, self._link):
            if end is not None and found.offset >= end:
                return  # given up from here on, and the next segment says so under the chain
            self._line(found, last=last)

    def _line(self, found: Found, *, last: bool) -> None:
        self._report.records += 1
        if found.line is None:
            torn = last and not found.whole
            what = "is torn; the next start cuts it off" if torn else "is no record"
            self._find(found.segment, found.number, what)
            return
        if not found.chained or not found.whole:
            self._find(found.segment, found.number, self._why(found))
        self._link = link_of(found.line)
        self._match_head(found)
        record = decoded(found.line)
        if record is None:
            self._find(found.segment, found.number, "holds a record of no known kind")
        else:
            self._pair(record, found)

    def _why(self, found: Found) -> str:
        assert found.line is not None
        if not found.whole:
            return "is torn; the next start cuts it off"
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

    def _match_head(self, found: Found) -> None:
        assert found.line is not None
        if self._head is not None and found.line.n == self._head.n:
            self._headed = True
            if found.line.mac != self._head.mac:
                self._find(found.segment, found.number, "is not the record that the head names")

    def _check_head(self, paths: list[Path]) -> None:
        last = paths[-1].name if paths else "000001.jsonl"
        if self._head is None:
            if paths and not self._report.findings and self._report.records:
                self._find("head.json", 0, "is missing")
        elif not self._headed:
            sentence = f"the log ends with record {self._link.n}, but it had {self._head.n}"
            self._find(last, 0, f"{sentence}: the end was cut off")

    def _find(self, segment: str, line: int, sentence: str) -> None:
        self._report.findings.append(Finding(segment, line, sentence))
