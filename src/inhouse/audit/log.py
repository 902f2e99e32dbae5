"""The log as a process uses it: one writer thread, many records per sync.

    append ──► pending ──► writer: all that is pending, one write, one sync ──► futures resolved

A record costs the loop its encoding and two appends. While a sync runs, the next batch gathers.

Once a batch fails, every record is refused at once, and the writer tries the disk each second with
a `Resumed` record; when that is durable, the log takes records again.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Self

from inhouse.audit.chain import Chain
from inhouse.audit.files import Files
from inhouse.audit.record import Record, Resumed, encode
from inhouse.config.keyfile import read_or_create
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.audit")

MAX_PENDING = 10_000
GATHER_S = 0.001  # commits begin at most this often, so that under load many records share one
RETRY_S = 1.0  # after a failure, how often the disk is tried
STUCK_S = 5.0  # a disk that has not answered for so long takes no new requests

_Item = tuple[bytes, "asyncio.Future[None] | None"]  # None: nobody waits, it is kept until written


class AuditLog:
    """Appends records; each is durable when its future resolves."""

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Item] = deque()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._failure: AuditUnavailable | None = None
        self._failed_since = 0.0
        self._refused = 0
        self._busy_since: float | None = None  # monotonic; the writer is at the disk
        self._thread = threading.Thread(target=self._write, name="audit-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        directory: Path,
        key: bytes,
        *,
        segment_bytes: int,
        clock: Clock,
        close_open: bool = False,
        files: Files | None = None,
    ) -> Self:
        """The log of a directory. With `close_open`, requests that a killed gateway left open are
        closed as interrupted: for the one gateway of the directory only."""
        chain = Chain(
            directory, key, segment_bytes=segment_bytes, clock=clock, files=files or Files()
        )
        chain.open(close_open=close_open)
        return cls(chain, clock)

    def append(self, record: Record) -> "asyncio.Future[None]":
        """Queue a record. The future resolves when it is durable, or fails with AuditUnavailable,
        and then the log does not hold it; so does this call, where the log takes no records. A
        record whose future was cancelled is kept, as by `keep`."""
        if self._failure is not None or self._stop.is_set() or len(self._pending) >= MAX_PENDING:
            self._refused += 1
            raise AuditUnavailable(self._why_not())
        future = self._loop.create_future()
        self._pending.append((encode(record), future))
        self._nudge()
        return future

    def keep(self, record: Record) -> None:
        """Queue a record for which nobody waits: it is tried until it is durable."""
        if len(self._pending) >= MAX_PENDING:
            log.error("a record was lost: %s", self._why_not())
            return
        self._pending.append((encode(record), None))
        self._nudge()

    def ready(self) -> None:
        """Raises AuditUnavailable where the last try failed, or the disk does not answer."""
        if self._failure is not None:
            raise self._failure
        busy_since = self._busy_since
        if busy_since is not None and time.monotonic() - busy_since > STUCK_S:
            raise AuditUnavailable(f"the audit log's disk has not answered for {STUCK_S:g} s")

    def close(self) -> None:
        """Write what is pending, and the head."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self._chain.close()
        if self._pending:
            log.error("%d records were lost: %s", len(self._pending), self._why_not())

    def _why_not(self) -> str:
        if self._failure is not None:
            return str(self._failure)
        if self._stop.is_set():
            return "the audit log is closed"
        return f"{MAX_PENDING} records wait for the audit log's disk"

    def _nudge(self) -> None:
        if not self._wake.is_set():
            self._wake.set()

    # The writer's thread

    def _write(self) -> None:
        while True:
            if self._failure is not None:
                self._stop.wait(RETRY_S)
            else:
                self._wake.wait(self._chain.due_s())
            self._wake.clear()
            if not self._pending and self._failure is None:
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
        if failure is not None:
            resumed = Resumed(self._clock(), self._failed_since, str(failure), refused)
            raws.insert(0, encode(resumed))
        error = self._try(raws)
        if error is not None and failure is None:
            self._failed_since = self._clock()
            log.error("the audit log takes no records: %s", error)
        if error is None and failure is not None:
            self._refused -= refused
            log.warning("the audit log takes records again; %d were refused", refused)
        self._failure = error
        # Where the loop has ended, nobody waits any more
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._resolve, batch, error)
        if self._pending:
            self._wake.set()

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
                self._refused += 1
                future.set_exception(AuditUnavailable(str(error)))
        self._pending.extendleft(reversed(kept))


def append_once(config: Config, *records: Record) -> None:
    """Append from a command, which has no loop; durable on return."""
    chain = Chain(
        config.audit_directory,
        read_or_create(config.secrets_directory / "audit.key"),
        segment_bytes=config.settings.audit.segment_bytes,
        clock=time.time,
        files=Files(),
    )
    chain.open(close_open=False)
    try:
        chain.commit([encode(record) for record in records])
    finally:
        chain.close()
