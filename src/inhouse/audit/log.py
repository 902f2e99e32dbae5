"""The log as a process uses it: one writer thread, many records per sync.

    append ──► pending ──► writer: all that is pending, one write, one sync ──► futures resolved

A record costs the loop its encoding and two appends. While a sync runs, the next batch gathers.

Once a batch fails, every record is refused at once, and the writer tries the disk each second with
a `Resumed` record; when that is durable, the log takes records again. Whatever was refused is
counted there, for a failure as for a disk that did not answer.

Everything that touches the disk is done by that thread, so that a disk which hangs keeps nobody
from starting or stopping for longer than a bound.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from inhouse.audit.chain import LONGEST_REQUEST_S, Chain
from inhouse.audit.files import Files
from inhouse.audit.owner import acting_as, owner_of
from inhouse.audit.record import Read, Record, Resumed, encode
from inhouse.audit.secrets import chain_key, chain_key_path, mark_path
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable, UsageError
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.audit")

MAX_PENDING = 10_000
GATHER_S = 0.0015  # commits begin at most this often, so that under load many records share one
RETRY_S = 1.0  # after a failure, how often the disk is tried
STUCK_S = 5.0  # a disk that has not answered for so long takes no new requests
OPEN_S = 120.0  # for a start to find the log's end, and what was left open
CLOSE_S = 10.0  # for a stop to write what is pending

_Item = tuple[bytes, "asyncio.Future[None] | None"]  # None: nobody waits, it is kept until written


class Bell:
    """Wakes one thread, however often it is rung before that looks; an Event, at a third of the
    cost, for it is rung twice a request."""

    __slots__ = ("_queue", "_rung")

    def __init__(self) -> None:
        self._queue: SimpleQueue[None] = SimpleQueue()
        self._rung = False

    def ring(self) -> None:
        if not self._rung:
            self._rung = True
            self._queue.put(None)

    def wait(self, timeout_s: float | None) -> None:
        """Until it is rung, or was since the last wait."""
        with contextlib.suppress(Empty):
            self._queue.get(timeout=timeout_s)
        self._rung = False


class AuditLog:
    """Appends records; each is durable when its future resolves."""

    def __init__(self, chain: Chain, clock: Clock, *, close_open: bool, longest_s: float) -> None:
        self._chain = chain
        self._clock = clock
        self._close_open = close_open
        self._longest_s = longest_s
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Item] = deque()
        self._bell = Bell()
        self._stop = threading.Event()
        self._closed = False
        self._opened: Future[None] = Future()
        self._opened.set_running_or_notify_cancel()  # who waits may leave, it goes on
        self._failure: AuditUnavailable | None = None
        self._refused = 0  # counted on the loop
        self._told = 0  # of these, how many a record tells; counted by the writer
        self._failed_since = 0.0
        self._refused_since = 0.0
        self._refused_why = ""
        self._busy_since: float | None = None  # monotonic; the writer is at the disk
        self._thread = threading.Thread(target=self._run, name="audit-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(
        cls,
        directory: Path,
        key: bytes,
        *,
        segment_bytes: int,
        clock: Clock,
        close_open: bool = False,
        longest_s: float = LONGEST_REQUEST_S,
        mark: Path | None = None,
        files: Files | None = None,
    ) -> Self:
        """The log of a directory. With `close_open`, requests that a killed gateway left open are
        closed as interrupted: for the one gateway of the directory only. No request of it may
        have lasted longer than `longest_s`. `mark` says outside of the directory how far it goes.

        Raises UsageError where the directory cannot be used, AuditUnavailable where the disk
        fails or does not answer.
        """
        owner_of(directory, reading=False)
        chain = Chain(
            directory,
            key,
            segment_bytes=segment_bytes,
            clock=clock,
            files=files or Files(),
            mark=mark,
        )
        log = cls(chain, clock, close_open=close_open, longest_s=longest_s)
        try:
            async with asyncio.timeout(OPEN_S):
                await asyncio.wrap_future(log._opened)
        except BaseException as error:
            log._stop.set()  # it ends by itself, when the disk lets it
            log._bell.ring()
            if isinstance(error, TimeoutError):
                raise AuditUnavailable(
                    f"{directory} cannot be read: its disk has not answered for {OPEN_S:g} s"
                ) from error
            raise
        return log

    def append(self, record: Record) -> "asyncio.Future[None]":
        """Queue a record. The future resolves when it is durable, or fails with AuditUnavailable,
        and then the log does not hold it; so does this call, where the log takes no records. A
        record whose future was cancelled is kept, as by `keep`."""
        if self._failure is not None or self._closed or len(self._pending) >= MAX_PENDING:
            raise self._refuse(AuditUnavailable(self._why_not()))
        future = self._loop.create_future()
        self._pending.append((encode(record), future))
        self._bell.ring()
        return future

    def keep(self, record: Record) -> None:
        """Queue a record for which nobody waits: it is tried until it is durable."""
        if len(self._pending) >= MAX_PENDING:
            log.error("a record was lost: %s", self._why_not())
            return
        self._pending.append((encode(record), None))
        self._bell.ring()

    def ready(self) -> None:
        """Raises AuditUnavailable where the last try failed, or the disk does not answer."""
        if self._failure is not None:
            raise self._failure
        busy_since = self._busy_since
        if busy_since is not None and time.monotonic() - busy_since > STUCK_S:
            raise AuditUnavailable(f"the audit log's disk has not answered for {STUCK_S:g} s")

    def accept(self) -> None:
        """As `ready`, for a request that is refused then, and counted."""
        if self._failure is None and self._busy_since is None:
            return
        try:
            self.ready()
        except AuditUnavailable as error:
            raise self._refuse(error) from error

    async def write(self, record: Record) -> None:
        """Append a record at a start or a stop. Durable on return; raises AuditUnavailable where
        it cannot be, or the disk does not answer in time."""
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.append(record)
        except TimeoutError as error:
            raise AuditUnavailable(
                f"the audit log's disk has not answered for {CLOSE_S:g} s"
            ) from error

    def close(self) -> None:
        """Write what is pending, and the head; where the disk hangs, say so and leave."""
        self._closed = True
        self._stop.set()
        self._bell.ring()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            log.error("the audit log's disk has not answered for %g s; left behind", CLOSE_S)
        if self._pending:
            log.error("%d records were lost: %s", len(self._pending), self._why_not())

    def _refuse(self, error: AuditUnavailable) -> AuditUnavailable:
        """Count what is refused; on the loop only."""
        if self._refused == self._told:
            self._refused_since = self._clock()
        self._refused_why = str(error)
        self._refused += 1
        return error

    def _why_not(self) -> str:
        if self._failure is not None:
            return str(self._failure)
        if self._stop.is_set():
            return "the audit log is closed"
        return f"{MAX_PENDING} records wait for the audit log's disk"

    # The writer's thread

    def _run(self) -> None:
        try:
            self._chain.open(close_open=self._close_open, longest_s=self._longest_s)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the start is told
            self._chain.close()
            self._opened.set_exception(error)
            return
        self._opened.set_result(None)
        self._serve()
        self._chain.close()

    def _serve(self) -> None:
        while True:
            if self._failure is not None:
                self._stop.wait(RETRY_S)
            else:
                self._bell.wait(self._chain.due_s())
            if not self._pending and self._failure is None and self._refused == self._told:
                self._chain.idle()
            else:
                began = time.monotonic()
                self._commit(self._take())
                left = began + GATHER_S - time.monotonic()
                if left > 0:
                    time.sleep(left)
            if self._stop.is_set() and (self._failure is not None or not self._pending):
                return

    def _take(self) -> list[_Item]:
        batch = []
        while self._pending:
            batch.append(self._pending.popleft())
        return batch

    def _commit(self, batch: list[_Item]) -> None:
        raws = [raw for raw, _ in batch]
        failure, refused = self._failure, self._refused
        if failure is not None or refused > self._told:
            raws.insert(0, encode(self._resumed(refused - self._told)))
        error = self._try(raws)
        if error is None:
            if failure is not None:
                count = refused - self._told
                log.warning("the audit log takes records again; %d were refused", count)
            self._told = refused
        elif failure is None:
            self._failed_since = self._clock()
            log.error("the audit log takes no records: %s", error)
        self._failure = error
        # Where the loop has ended, nobody waits any more
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._resolve, batch, error)
        if self._pending or self._refused > self._told:
            self._bell.ring()

    def _resumed(self, refused: int) -> Resumed:
        if self._failure is not None:
            return Resumed(self._clock(), self._failed_since, str(self._failure), refused)
        return Resumed(self._clock(), self._refused_since, self._refused_why, refused)

    def _try(self, batch: list[bytes]) -> AuditUnavailable | None:
        """Append a batch, or say why not."""
        self._busy_since = time.monotonic()
        try:
            self._chain.commit(batch)
        except AuditUnavailable as failure:
            return failure
        except Exception:  # the outermost net of this thread: a writer that died would hang all
            log.exception("the audit log's writer failed")
            return AuditUnavailable("the audit log's writer failed; the operator's log says why")
        finally:
            self._busy_since = None
        return None

    # On the loop

    def _resolve(self, batch: list[_Item], error: AuditUnavailable | None) -> None:
        if error is None:
            for _, future in batch:
                if future is not None and not future.done():
                    future.set_result(None)
            return
        kept: list[_Item] = []
        for raw, future in batch:
            if future is None or future.cancelled():
                kept.append((raw, None))
            else:
                future.set_exception(self._refuse(AuditUnavailable(str(error))))
        self._pending.extendleft(reversed(kept))


def append_once(config: Config, *records: Record) -> None:
    """Append from a command, which has no loop; durable on return. Raises UsageError where the
    log is another user's, unless root wants to read it: that is written as its owner."""
    reading = all(isinstance(record, Read) for record in records)
    owner = owner_of(config.audit_directory, reading=reading, data=config.data)
    with acting_as(owner):
        if owner is not None and not os.access(chain_key_path(config), os.R_OK, effective_ids=True):
            raise UsageError(f"there is no key of the audit log in {config.secrets_directory}")
        chain = Chain(
            config.audit_directory,
            chain_key(config),
            segment_bytes=config.settings.audit.segment_bytes,
            clock=time.time,
            files=Files(),
            mark=mark_path(config),
        )
        try:
            chain.open(close_open=False)
            chain.commit([encode(record) for record in records])
        finally:
            chain.close()
