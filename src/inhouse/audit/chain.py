"""The chain on the disk: appends batches of records, durable on return, or not there at all.

Several processes of one host may append to one log: who holds its lock appends, behind what the
others wrote since.

A batch that cannot be written is cut off again. After a failed sync the kernel may have dropped
what it could not write and say nothing more, so that file is given up: a new segment begins with
a `Gap` that says where the old one ends. Until that is durable the lock is kept, so that nobody
goes on behind bytes that may not be there tomorrow.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from inhouse.audit.files import Files
from inhouse.audit.head import read_head, write_head
from inhouse.audit.lock import Lock
from inhouse.audit.record import Gap, Outcome, Record, Repaired, encode
from inhouse.audit.recover import left_open, link_before
from inhouse.audit.segment import Link, line_of, link_of, mac_of, segment_path, segments, walk
from inhouse.domain import OutcomeKind
from inhouse.errors import AuditUnavailable, UsageError
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.audit")

HEAD_EVERY_S = 1.0
LOCK_S = 5.0  # how long another process may hold the lock
IDLE_S = 0.05  # after the last batch, how long the lock is kept for the next one


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
        self._lock: Lock | None = None
        self._link = Link()
        self._number = 0
        self._file = -1
        self._size = 0  # of the open segment, as far as it is durable
        self._given_up = False  # the open segment's disk failed
        self._untold: list[Record] = []  # what was mended, until a record of it is durable
        self._headed = Link()  # what the head names
        self._head_at = 0.0  # monotonic
        self._head_failed = False

    def open(self, *, close_open: bool) -> None:
        """Find the end of the log, mend what a crash tore; with `close_open`, close what it left.

        Raises UsageError where the directory cannot be used, AuditUnavailable where the disk
        fails.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = Lock(self._directory, wait_s=LOCK_S)
        except OSError as error:
            raise UsageError(
                f"the audit log's directory {self._directory} cannot be used: {error.strerror}"
            ) from error
        with _disk(self._directory):
            self._hold()
            if self._untold:
                self._commit([])
            self._write_head()
            if close_open:
                self._close_open()
        self._let_go()

    def commit(self, batch: list[bytes]) -> None:
        """Append encoded records; durable on return. Raises AuditUnavailable, and then none is."""
        with _disk(self._directory):
            self._hold()
            self._commit(batch)
            if time.monotonic() - self._head_at > HEAD_EVERY_S:
                self._write_head()

    def due_s(self) -> float | None:
        """In how many seconds `idle` has something to do; None where it has nothing."""
        if self._lock is not None and self._lock.held and not self._given_up:
            return IDLE_S
        if self._headed != self._link:
            return max(0.0, self._head_at + HEAD_EVERY_S - time.monotonic())
        return None

    def idle(self) -> None:
        """Between batches: write the head where it is due, and let go of the lock."""
        with contextlib.suppress(AuditUnavailable), _disk(self._directory):
            due = time.monotonic() - self._head_at > HEAD_EVERY_S
            if due and self._headed != self._link:
                self._hold()
                self._write_head()
        self._let_go()

    def close(self) -> None:
        """Write the head and let go of the files."""
        if self._lock is not None:
            with contextlib.suppress(AuditUnavailable), _disk(self._directory):
                self._hold()
                self._write_head()
            self._lock.close()
            self._lock = None
        self._close_file()

    # The lock

    def _hold(self) -> None:
        """Have the lock, and stand behind the last record that anybody wrote."""
        assert self._lock is not None  # open came first
        if self._lock.turn_over() and not self._given_up:
            self._lock.stand_back()
        if self._lock.held:
            return
        self._lock.take()
        try:
            self._catch_up()
        except BaseException:
            self._lock.release()
            raise

    def _let_go(self) -> None:
        if self._lock is not None and not self._given_up:
            self._lock.release()

    # Writing

    def _commit(self, batch: list[bytes]) -> None:
        batch = [encode(record) for record in self._untold] + batch
        if self._given_up or self._file < 0 or self._size >= self._segment_bytes:
            self._begin_segment(batch)
        else:
            self._append(batch)
        self._untold = []

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

    def _begin_segment(self, batch: list[bytes]) -> None:
        """Write a batch as the first of a new segment. Where that fails, nothing has changed."""
        path = segment_path(self._directory, self._number + 1)
        file = self._files.open(path)
        before = self._file, self._number, self._size, self._given_up
        if self._given_up:
            name = segment_path(self._directory, self._number).name
            gap = Gap(self._clock(), name, self._size, "the disk failed")
            batch = [encode(gap), *batch]
        self._file, self._number, self._size, self._given_up = file, self._number + 1, 0, False
        try:
            self._files.truncate(file, 0)  # what an earlier try may have left
            self._append(batch)
        except OSError:
            self._file, self._number, self._size, self._given_up = before
            self._files.close(file)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        if before[0] >= 0:
            self._files.close(before[0])

    def _write_head(self) -> None:
        """Failing this fails nobody: the records are durable, and the head is written anew soon."""
        self._head_at = time.monotonic()
        try:
            write_head(self._files, self._directory, self._key, self._link, self._clock())
        except OSError as error:
            if not self._head_failed:
                log.error("%s: the head cannot be written: %s", self._directory, error.strerror)
            self._head_failed = True
        else:
            self._headed, self._head_failed = self._link, False

    # Reading

    def _catch_up(self) -> None:
        """Go behind what other processes wrote since; mend what one that died left half written."""
        if self._file >= 0 and not self._given_up:
            state = os.fstat(self._file)
            following = segment_path(self._directory, self._number + 1)
            if state.st_nlink and state.st_size >= self._size and not following.exists():
                if state.st_size > self._size:
                    self._read_on()
                return
        self._find_end()

    def _find_end(self) -> None:
        """Open the last segment, and stand behind its last good record."""
        known = self._link.n
        found = segments(self._directory)
        self._close_file()
        self._link, self._number, self._size = link_before(found), 0, 0
        self._given_up = False
        if found:
            self._number = int(found[-1].stem)
            self._file = self._files.open(found[-1])
            self._read_on()
        self._hold_against_head(known)

    def _read_on(self) -> None:
        """Follow the open segment to its end. A crash tears the last line; that is cut off. Whole
        lines that do not verify are no crash: nothing is touched, and it goes on elsewhere."""
        path = segment_path(self._directory, self._number)
        torn = altered = False
        for found in walk(path, self._key, self._link, self._size):
            if found.chained and found.whole and found.line is not None and not torn:
                self._link = link_of(found.line)
                self._size = found.end
            else:
                torn = True
                altered = altered or (found.line is not None and found.whole)
        if altered:
            log.error("%s: does not verify from byte %d on: inhouse audit verify", path, self._size)
            self._gap_altered("what follows does not verify")
            self._begin_segment([encode(record) for record in self._untold])
            self._untold = []
        elif torn:
            self._mend(path)

    def _mend(self, path: Path) -> None:
        """A torn end: cut it off, keep the bytes beside the log."""
        with path.open("rb") as file:
            file.seek(self._size)
            torn = file.read()
        kept = self._directory / f"torn-{path.stem}-{self._size}.bin"
        self._files.replace(kept, torn)
        self._files.truncate(self._file, self._size)
        self._files.sync(self._file)
        self._untold.append(Repaired(self._clock(), path.name, self._size, len(torn), kept.name))

    def _hold_against_head(self, known: int) -> None:
        """What this process or the head knows of and the log does not hold was taken away: no
        crash does that."""
        try:
            head = read_head(self._directory, self._key)
        except ValueError as error:
            self._gap_altered(str(error))
            return
        last = max(known, head.n if head is not None else 0)
        if last > self._link.n:
            self._gap_altered(f"records {self._link.n + 1} to {last} are gone")
        elif head is None and self._link.n:
            self._gap_altered("no head")

    def _gap_altered(self, reason: str) -> None:
        name = segment_path(self._directory, self._number).name
        log.error("%s was altered: %s; run inhouse audit verify", self._directory, reason)
        # In front: as the first record of a segment it also says where the one before ends
        self._untold.insert(0, Gap(self._clock(), name, self._size, reason, altered=True))

    def _close_open(self) -> None:
        """Close what the last gateway left open: it was killed with these requests running."""
        interrupted = OutcomeKind.INTERRUPTED.value
        closing = [
            encode(Outcome(request_id, self._clock(), interrupted, 0))
            for request_id in left_open(segments(self._directory))
        ]
        if closing:
            self._commit(closing)
            log.warning("%d requests of the last run were closed as interrupted", len(closing))

    def _close_file(self) -> None:
        if self._file >= 0:
            self._files.close(self._file)
            self._file = -1


@contextlib.contextmanager
def _disk(directory: Path) -> Iterator[None]:
    """An error of the disk, as the sentence that the operator needs."""
    try:
        yield
    except OSError as error:
        raise AuditUnavailable(f"{directory} cannot be written: {error.strerror}") from error
