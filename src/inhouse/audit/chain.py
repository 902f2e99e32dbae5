"""The chain on the disk: appends batches of records, durable on return, or not there at all.

Several processes of one host may append to one log: each batch is written under a file lock, by
whoever holds it, behind what the others wrote since.

A batch that cannot be written is cut off again. After a failed sync the kernel may have dropped
what it could not write and say nothing more, so that file is given up: a new segment begins with
a `Gap` that says where the old one ends.
"""

import contextlib
import fcntl
import logging
import os
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from inhouse.audit.files import Files
from inhouse.audit.head import read_head, write_head
from inhouse.audit.record import Gap, Intent, Outcome, Record, Repaired, decode, encode
from inhouse.audit.segment import (
    Found,
    Link,
    line_of,
    link_of,
    mac_of,
    segment_path,
    segments,
    walk,
)
from inhouse.domain import OutcomeKind
from inhouse.errors import AuditUnavailable, UsageError
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.audit")

HEAD_EVERY_S = 1.0


class Chain:
    """One process's hold on the log of a directory."""

    def __init__(
        self, directory: Path, key: bytes, *, segment_bytes: int, clock: Clock, files: Files
    ) -> None:
        self._directory = directory
        self._key = key
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._files = files
        self._link = Link()
        self._number = 0
        self._size = 0  # of the open segment, as far as it is durable
        self._file = -1
        self._given_up = False  # the open segment's disk failed
        self._head_at = 0.0
        self._lock = -1

    @property
    def link(self) -> Link:
        return self._link

    def open(self, *, close_open: bool) -> None:
        """Find the end of the log, mend what a crash tore; with `close_open`, close what it left.

        Raises UsageError where the directory cannot be used, AuditUnavailable where the disk
        fails.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(
                self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise UsageError(
                f"the audit log's directory {self._directory} cannot be used: {error.strerror}"
            ) from error
        with self._locked(), _disk(self._directory):
            pending = self._find_end() + self._hold_against_head()
            self._write_head(self._clock())
        if pending:
            self.commit([encode(record) for record in pending])
        if close_open:
            self._close_open()

    def commit(self, batch: list[bytes]) -> None:
        """Append encoded records; durable on return. Raises AuditUnavailable, and then none is."""
        with self._locked(), _disk(self._directory):
            self._catch_up()
            if self._given_up or self._size >= self._segment_bytes or self._file < 0:
                self._begin_segment()
            self._append(batch)
            now = self._clock()
            if not 0 <= now - self._head_at < HEAD_EVERY_S:
                self._write_head(now)

    def close(self) -> None:
        """Write the head and let go of the files."""
        if self._lock >= 0:
            with contextlib.suppress(AuditUnavailable), self._locked(), _disk(self._directory):
                self._catch_up()
                self._write_head(self._clock())
            os.close(self._lock)
            self._lock = -1
        if self._file >= 0:
            self._files.close(self._file)
            self._file = -1

    # Writing

    def _append(self, batch: list[bytes]) -> None:
        link, lines = self._link, []
        for raw in batch:
            mac = mac_of(self._key, link, link.n + 1, raw)
            link = Link(link.n + 1, mac)
            lines.append(line_of(link.n, mac, raw))
        data = b"".join(lines)
        try:
            self._files.write(self._file, data)
        except OSError:
            self._cut()
            raise
        try:
            self._files.sync(self._file)
        except OSError:
            self._given_up = True
            self._cut()
            raise
        self._link = link
        self._size += len(data)

    def _cut(self) -> None:
        """Take back what was written of a batch that is not acknowledged."""
        try:
            self._files.truncate(self._file, self._size)
        except OSError as error:
            self._given_up = True
            log.error("segment %06d could not be cut: %s", self._number, error.strerror)

    def _begin_segment(self) -> None:
        old, size, given_up = self._number, self._size, self._given_up
        file = self._files.open(segment_path(self._directory, old + 1))
        if self._file >= 0:
            self._files.close(self._file)
        self._file, self._number, self._size, self._given_up = file, old + 1, 0, False
        if given_up:
            name = segment_path(self._directory, old).name
            gap = Gap(self._clock(), name, size, "the disk failed")
            self._append([encode(gap)])

    def _write_head(self, now: float) -> None:
        """Failing this fails nobody: the records are durable, and the head is written anew soon."""
        self._head_at = now
        try:
            write_head(self._files, self._directory, self._key, self._link, now)
        except OSError as error:
            log.error("the head of %s could not be written: %s", self._directory, error.strerror)

    # Reading

    def _find_end(self) -> list[Record]:
        """Open the last segment at its last good record; what was mended there, to be told."""
        found = segments(self._directory)
        if not found:
            return []
        before = self._link_before(found)
        path = found[-1]
        self._number = int(path.stem)
        self._file = self._files.open(path)
        self._link, self._size = before, 0
        broken_at = -1
        sound_behind = False
        for line in walk(path, self._key, before):
            if broken_at < 0 and line.chained and line.whole and line.line is not None:
                self._link = link_of(line.line)
                self._size = line.end
            else:
                broken_at = line.offset if broken_at < 0 else broken_at
                sound_behind = sound_behind or (line.line is not None and line.whole)
        if broken_at < 0:
            return []
        return [self._give_up(path) if sound_behind else self._mend(path)]

    def _hold_against_head(self) -> list[Record]:
        """What the head names and the log does not hold was taken away: no crash does that."""
        try:
            head = read_head(self._directory, self._key)
        except ValueError as error:
            reason = str(error)
        else:
            if head is None and not self._link.n:
                return []
            if head is not None and head.n <= self._link.n:
                return []
            reason = f"records {self._link.n + 1} to {head.n} are gone" if head else "no head"
        log.error("%s was altered: %s; run inhouse audit verify", self._directory, reason)
        name = segment_path(self._directory, self._number).name
        return [Gap(self._clock(), name, self._size, reason, altered=True)]

    def _mend(self, path: Path) -> Record:
        """A torn end: cut it off, keep the bytes beside the log."""
        with path.open("rb") as file:
            file.seek(self._size)
            torn = file.read()
        kept = self._directory / f"torn-{path.stem}-{self._size}.bin"
        self._files.replace(kept, torn)
        self._files.truncate(self._file, self._size)
        self._files.sync(self._file)
        return Repaired(self._clock(), path.name, self._size, len(torn), kept.name)

    def _give_up(self, path: Path) -> Record:
        """Whole records that do not verify: no crash does that. Touch nothing, go on elsewhere."""
        log.error("%s does not verify from byte %d on: run inhouse audit verify", path, self._size)
        reason = "what follows does not verify"
        gap = Gap(self._clock(), path.name, self._size, reason, altered=True)
        self._begin_segment()
        return gap

    def _link_before(self, paths: list[Path]) -> Link:
        """The last record that counts before the last segment: in a segment that was given up,
        only what stands before the place that its follower names."""
        for path, following in reversed(list(pairwise(paths))):
            end = _gap_end(next(walk(following, self._key, Link()), None), path.name)
            last = deque(
                (
                    link_of(found.line)
                    for found in walk(path, self._key, Link())
                    if found.line is not None and (end is None or found.offset < end)
                ),
                maxlen=1,
            )
            if last:
                return last[0]
        return Link()

    def _catch_up(self) -> None:
        """Go behind what other processes wrote since."""
        while True:
            self._read_new()
            following = segment_path(self._directory, self._number + 1)
            if not following.exists():
                return
            if self._file >= 0:
                self._files.close(self._file)
            self._number += 1
            self._file = self._files.open(following)
            self._size = 0
            self._given_up = False

    def _read_new(self) -> None:
        if self._file < 0 or self._given_up:
            return
        size = os.fstat(self._file).st_size
        if size <= self._size:
            return
        path = segment_path(self._directory, self._number)
        with path.open("rb") as file:
            file.seek(self._size)
            tail = file.read(size - self._size)
        last = tail.rstrip(b"\n").rpartition(b"\n")[2]
        try:
            n, mac = last[5 : last.index(b",")], last[last.index(b'"mac":"') + 7 :][:64]
            self._link = Link(int(n), bytes.fromhex(mac.decode()))
        except ValueError as error:
            raise AuditUnavailable(
                f"{path} ends within a record that another process left; start again to mend it"
            ) from error
        self._size = size

    def _close_open(self) -> None:
        """Close what the last gateway left open: it was killed with these requests running."""
        open_intents: dict[str, Intent] = {}
        for path in segments(self._directory)[-2:]:
            for line in walk(path, self._key, Link()):
                if line.line is None:
                    continue
                record = decode(line.line.r)
                if isinstance(record, Intent):
                    open_intents[record.request_id] = record
                elif isinstance(record, Outcome):
                    open_intents.pop(record.request_id, None)
        closing = [
            encode(Outcome(intent.request_id, self._clock(), OutcomeKind.INTERRUPTED.value, 0))
            for intent in open_intents.values()
        ]
        if closing:
            self.commit(closing)
            log.warning("%d requests of the last run were closed as interrupted", len(closing))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)


def _gap_end(first: Found | None, segment: str) -> int | None:
    """Where the segment before was given up, if the first record of the next one says so."""
    if first is None or first.line is None:
        return None
    record = decode(first.line.r)
    return record.offset if isinstance(record, Gap) and record.segment == segment else None


@contextlib.contextmanager
def _disk(directory: Path) -> Iterator[None]:
    """An error of the disk, as the sentence that the operator needs."""
    try:
        yield
    except OSError as error:
        raise AuditUnavailable(f"{directory} cannot be written: {error.strerror}") from error
