"""The chain on the disk: appends batches of records, durable on return, or not there at all.

Several processes of one host may append to one log: who holds its lock appends, behind what the
others wrote since. What is there already is read before the lock is taken, so that under it only
the newest records are left to read, however long the log is.

A batch that cannot be written is cut off again. After a failed sync the kernel may have dropped
what it could not write and say nothing more, so that file is given up: a new segment begins with
a `Gap` that says where the old one ends. Until that is durable the lock is kept, so that nobody
goes on behind bytes that may not be there tomorrow.
"""

import contextlib
import logging
import math
import secrets
import time
from pathlib import Path

from inhouse.audit.files import Files, disk, same_file
from inhouse.audit.head import head_path, parts, read_seals, write_head
from inhouse.audit.lock import Lock
from inhouse.audit.record import Gap, Outcome, Record, Repaired, encode
from inhouse.audit.recover import (
    Rest,
    counts,
    follow,
    left_open,
    stands,
    start_without_seals,
    what_is_wrong,
)
from inhouse.audit.segment import Link, Place, line_of, mac_of, segment_path
from inhouse.domain import OutcomeKind
from inhouse.errors import AuditUnavailable, UsageError
from inhouse.mac import Mac
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.audit")

HEAD_EVERY_S = 1.0
LOCK_S = 5.0  # how long another process may hold the lock
IDLE_S = 0.05  # after the last batch, how long the lock is kept for the next one
MOST_TAKEOVERS = 5  # in one commit; more would be a fight for the lock
LONGEST_REQUEST_S = 86_400.0  # what the configuration allows at most


class TakenOver(OSError):
    """While this process was stopped, the gateway took the lock from it."""

    def __init__(self, end: Place | None) -> None:
        super().__init__(0, "its lock was taken over")
        self.end = end  # of the batch that was written meanwhile, if one was


class Chain:
    """One process's hold on the log of a directory."""

    def __init__(
        self,
        directory: Path,
        key: bytes,
        *,
        segment_bytes: int,
        clock: Clock,
        files: Files,
        mark: Path | None = None,
    ) -> None:
        """`mark` is the file outside of the directory that says how far the log goes."""
        self._directory = directory
        self._key = key
        self._signs = Mac(key)
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._files = files
        self._mark = mark
        self._lock: Lock | None = None
        self._at = Place()  # behind the last record that is durable
        self._seen: int | None = None  # its number, once the log was held against head and mark
        self._file = -1  # the segment of that place
        self._given_up = ""  # why nothing may be appended to that segment
        self._behind: int | None = None  # how much of a batch may stand behind that place then
        self._untold: list[Record] = []  # what was mended, until a record of it is durable
        self._headed: Link | None = None  # what head and mark name
        self._head_at = 0.0  # monotonic
        self._head_failed = False
        self._seals_told = False  # what they find wrong, until they are written anew
        self._to_fence = False  # the lock was taken over, and nothing keeps its old holder off yet

    def open(self, *, close_open: bool, longest_s: float = LONGEST_REQUEST_S) -> None:
        """Find the end of the log, mend what a crash tore. With `close_open`, for the one gateway
        of the directory, close what it left open, as far back as a request of `longest_s` began;
        and take the lock over from who does not let go.

        Raises UsageError where the directory cannot be used, AuditUnavailable where the disk
        fails.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = Lock(self._directory, wait_s=LOCK_S, takes_over=close_open)
        except OSError as error:
            raise UsageError(
                f"the audit log's directory {self._directory} cannot be used: {error.strerror}"
            ) from error
        with disk(self._directory):
            self._at, _, _ = self._end()
            self._hold()
            if self._untold or self._given_up:
                self._commit([])
            if self._headed != self._at.link:
                self._write_head()
        self._let_go()
        if close_open:
            self._close_open(longest_s)
            self._let_go()

    def commit(self, batch: list[bytes]) -> None:
        """Append encoded records; durable on return. Raises AuditUnavailable, and then none is."""
        with disk(self._directory):
            self._hold(surely=False)
            for _ in range(MOST_TAKEOVERS):
                try:
                    self._commit(batch)
                    break
                except TakenOver as error:
                    self._hold()
                    if error.end is not None and counts(self._directory, error.end):
                        break
            else:
                raise TakenOver(None)
            if time.monotonic() - self._head_at > HEAD_EVERY_S:
                self._write_head()

    def due_s(self) -> float | None:
        """In how many seconds `idle` has something to do; None where it has nothing."""
        if self._lock is not None and self._lock.held and not self._given_up:
            return IDLE_S
        if self._headed != self._at.link:
            return max(0.0, self._head_at + HEAD_EVERY_S - time.monotonic())
        return None

    def idle(self) -> None:
        """Between batches: write the head where it is due, and let go of the lock."""
        with contextlib.suppress(AuditUnavailable), disk(self._directory):
            due = time.monotonic() - self._head_at > HEAD_EVERY_S
            if due and self._headed != self._at.link:
                self._hold()
                self._write_head()
        self._let_go()

    def close(self) -> None:
        """Write the head and let go of the files."""
        if self._lock is not None:
            with contextlib.suppress(AuditUnavailable), disk(self._directory):
                if self._headed != self._at.link:
                    self._hold()
                    self._write_head()
            self._lock.close()
            self._lock = None
        self._close_file()

    # The lock

    def _hold(self, *, surely: bool = True) -> None:
        """Have the lock, and stand behind the last record that anybody wrote. Where not `surely`,
        a lock that was lost is noticed behind the next write, before that counts."""
        assert self._lock is not None  # open came first
        if self._lock.turn_over() and not self._given_up:
            self._lock.stand_back()
        if self._lock.held and not (surely and self._lock.lost):
            return
        for _ in range(MOST_TAKEOVERS):
            self._to_fence = self._lock.take() or self._to_fence
            try:
                self._catch_up()
                if self._to_fence:
                    self._fence()
            except TakenOver:
                self._lock.release()
            except BaseException:
                self._lock.release()
                raise
            else:
                return
        raise TakenOver(None)

    def _let_go(self) -> None:
        if self._lock is not None and not self._given_up:
            self._lock.release()

    def _fence(self) -> None:
        """Who was stopped with the lock in its hand may go on one day, and write where it stood:
        nothing that comes there counts."""
        log.error("%s: its lock was not let go for %g s; taken over", self._directory, LOCK_S)
        if self._file >= 0:
            self._files.sync(self._file)
            self._given_up, self._behind = "a stopped process held the lock", None
            self._begin_segment([])
        self._to_fence = False

    # Writing

    def _commit(self, batch: list[bytes]) -> None:
        batch = [encode(record) for record in self._untold] + batch
        if self._given_up or self._file < 0 or self._at.offset >= self._segment_bytes:
            self._begin_segment(batch)
        else:
            self._append(batch)
        self._untold = []

    def _append(self, batch: list[bytes]) -> None:
        n, mac, lines = self._at.link.n, self._at.link.mac, []
        for raw in batch:
            n += 1
            mac = mac_of(self._signs, mac, n, raw)
            lines.append(line_of(n, mac, raw))
        data, link = b"".join(lines), Link(n, mac)
        end = Place(self._at.number, self._at.offset + len(data), link)
        try:
            self._files.write(self._file, data)
        except OSError:
            self._cut(end)
            raise
        try:
            self._files.sync(self._file)
        except OSError:
            self._given_up, self._behind = "the disk failed", len(data)
            self._cut(end)
            raise
        if self._lost:
            raise TakenOver(end)
        self._at = end
        self._seen = link.n

    @property
    def _lost(self) -> bool:
        return self._lock is not None and self._lock.lost

    def _cut(self, end: Place) -> None:
        """Take back what was written of a batch that is not acknowledged."""
        if self._lost:
            raise TakenOver(end)  # others have gone on: nothing of theirs is cut
        try:
            self._files.truncate(self._file, self._at.offset)
        except OSError as error:
            self._given_up, self._behind = "the disk failed", end.offset - self._at.offset
            log.error("segment %06d could not be cut: %s", self._at.number, error.strerror)

    def _begin_segment(self, batch: list[bytes]) -> None:
        """Write a batch as the first of a new segment. Where that fails, nothing has changed."""
        path = segment_path(self._directory, self._at.number + 1)
        file = self._created(path)
        before = self._file, self._at, self._given_up
        if self._given_up:
            name = segment_path(self._directory, self._at.number).name
            gap = Gap(self._clock(), name, self._at.offset, self._given_up, behind=self._behind)
            batch = [encode(gap), *batch]
        self._file, self._given_up = file, ""
        self._at = Place(self._at.number + 1, 0, self._at.link)
        try:
            self._append(batch)
        except OSError as error:
            self._file, self._at, self._given_up = before
            if not isinstance(error, TakenOver) and same_file(file, path) and not self._lost:
                with contextlib.suppress(OSError):
                    path.unlink()
            self._files.close(file)
            raise
        if before[0] >= 0:
            self._files.close(before[0])

    def _created(self, path: Path) -> int:
        try:
            return self._files.create(path)
        except FileExistsError:
            if self._lost:
                raise TakenOver(None) from None
            # An earlier try failed and could not take it away, or it was put there just now
            aside = path.with_name(f"aside-{path.stem}-{secrets.token_hex(4)}.bin")
            log.error("%s is in the way; it is kept as %s", path, aside.name)
            path.rename(aside)
            return self._files.create(path)

    def _write_head(self) -> None:
        """Failing this fails nobody: the records are durable, and the head is written anew soon."""
        self._head_at = time.monotonic()
        for path in (head_path(self._directory), self._mark):
            if path is None:
                continue
            if self._lost:
                return  # others have gone on, and name newer records
            try:
                if not write_head(
                    self._files, path, self._key, self._at, self._clock(), lambda: not self._lost
                ):
                    return
            except OSError as error:
                if not self._head_failed:
                    log.error("%s cannot be written: %s", path, error.strerror)
                self._head_failed = True
                return
        self._headed, self._head_failed, self._seals_told = self._at.link, False, False

    # Reading

    def _catch_up(self) -> None:
        """Go behind what other processes wrote since; mend what one that died left half written.
        What head and mark know of is looked at each time: others may have written it, and somebody
        may have taken it away."""
        place, rest, wrong = self._end()
        if self._lost:
            raise TakenOver(None)  # what was read may be of who took it over, and is still at work
        self._go_to(place)
        if wrong and not self._seals_told:
            for reason in wrong:
                self._gap_altered(reason, None)
            self._seals_told, self._headed = True, None  # and they are written anew
            self._head_at = -math.inf
        if self._mark is not None and not self._mark.exists() and place.link.n:
            if not self._head_failed:
                log.warning("%s is gone: a log that was rolled back is not told now", self._mark)
            self._headed = None
        self._seen = place.link.n
        if rest is Rest.NOTHING:
            return
        path = segment_path(self._directory, place.number)
        if rest is Rest.TORN:
            self._mend(path)
            return
        log.error("%s: does not verify from byte %d on: inhouse audit verify", path, place.offset)
        behind = path.stat().st_size - place.offset
        self._gap_altered("what follows does not verify", behind)
        self._begin_segment([encode(record) for record in self._untold])
        self._untold = []

    def _end(self) -> tuple[Place, Rest, list[str]]:
        """Where the log ends, what stands behind, and what head and mark find wrong with it."""
        seals = read_seals(self._directory, self._key, self._mark)
        sealed = [place for place in seals.places if stands(self._directory, place)]
        ours = [self._at] if self._at.link.n and stands(self._directory, self._at) else []
        good = [*sealed, *ours] or [start_without_seals(self._directory)]
        start = max(good, key=lambda place: place.link.n)
        durable = bool(sealed) and len(sealed) == len(seals.places) and not seals.wrong
        place, rest = follow(self._directory, self._key, start, durable=durable)
        complete = seals.head is not None and (self._mark is None or seals.mark is not None)
        if complete and len({each.link for each in seals.places}) == 1:
            self._headed = seals.places[0].link
        wrong = what_is_wrong(
            self._directory, seals, place.link.n, self._seen or 0, headed=not self._head_failed
        )
        return place, rest, wrong

    def _go_to(self, place: Place) -> None:
        """Stand behind a place, with its segment open."""
        path = segment_path(self._directory, place.number)
        if self._file >= 0 and (place.number != self._at.number or not same_file(self._file, path)):
            self._close_file()
            self._given_up = ""
        if self._file < 0 and place.number:
            self._file = self._files.open(path)
        self._at = place

    def _mend(self, path: Path) -> None:
        """A torn end: cut it off, keep the bytes beside the log."""
        offset = self._at.offset
        with path.open("rb") as file:
            file.seek(offset)
            torn = file.read()
        kept = self._directory / f"torn-{path.stem}-{offset}.bin"
        self._files.replace(kept, torn)
        self._files.truncate(self._file, offset)
        self._files.sync(self._file)
        self._untold.append(Repaired(self._clock(), path.name, offset, len(torn), kept.name))

    def _gap_altered(self, reason: str, behind: int | None) -> None:
        name = segment_path(self._directory, max(1, self._at.number)).name
        log.error("%s was altered: %s; run inhouse audit verify", self._directory, reason)
        # In front: as the first record of a segment it also says where the one before ends
        gap = Gap(self._clock(), name, self._at.offset, reason, altered=True, behind=behind)
        same = [each for each in self._untold if isinstance(each, Gap) and each.reason == reason]
        if (gap.segment, gap.offset) not in [(each.segment, each.offset) for each in same]:
            self._untold.insert(0, gap)

    def _close_open(self, longest_s: float) -> None:
        """Close what the last gateway left open: it was killed with these requests running."""
        with disk(self._directory):
            ids = left_open(parts(self._directory), longest_s)
        interrupted = OutcomeKind.INTERRUPTED.value
        closing = [encode(Outcome(each, self._clock(), interrupted, 0)) for each in ids]
        if closing:
            self.commit(closing)
            log.warning("%d requests of the last run were closed as interrupted", len(closing))

    def _close_file(self) -> None:
        if self._file >= 0:
            self._files.close(self._file)
            self._file = -1
