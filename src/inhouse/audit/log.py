"""The log as a process uses it: one writer thread, many records per sync.

    append ──► pending ──► writer: all that is pending, one write, one sync ──► futures resolved

A record costs the loop its encoding and two appends. While a sync runs, the next batch gathers.
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
from inhouse.audit.record import Record, encode
from inhouse.config.keyfile import read_or_create
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.audit")

MAX_PENDING = 10_000
RETRY_S = 1.0  # after a failure, how long new requests are refused before the disk is tried again

_Waiting = tuple[bytes, "asyncio.Future[None]"]


class AuditLog:
    """Appends records; each is durable when its future resolves."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Waiting] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failure: AuditUnavailable | None = None
        self._failed_at = 0.0
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
        return cls(chain)

    def append(self, record: Record) -> "asyncio.Future[None]":
        """Queue a record. The future resolves when it is durable, or fails with
        AuditUnavailable; so does this call, where too many are waiting already."""
        if self._closing:
            raise AuditUnavailable("the audit log is closed")
        if len(self._pending) >= MAX_PENDING:
            raise AuditUnavailable(f"{MAX_PENDING} records wait for the audit log's disk")
        future = self._loop.create_future()
        self._pending.append((encode(record), future))
        if not self._wake.is_set():
            self._wake.set()
        return future

    def ready(self) -> None:
        """Raises AuditUnavailable where the last try failed, less than a second ago."""
        if self._failure is not None and time.monotonic() - self._failed_at < RETRY_S:
            raise self._failure

    def close(self) -> None:
        """Write what is pending, and the head."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._chain.close()

    # The writer's thread

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                self._commit(batch)
            if self._closing and not self._pending:
                return

    def _take(self) -> list[_Waiting]:
        batch = []
        while self._pending:
            batch.append(self._pending.popleft())
        return batch

    def _commit(self, batch: list[_Waiting]) -> None:
        error: AuditUnavailable | None = None
        try:
            self._chain.commit([raw for raw, _ in batch])
        except AuditUnavailable as failure:
            error = failure
        except Exception:  # the outermost net of this thread: a writer that died would hang all
            log.exception("the audit log's writer failed")
            error = AuditUnavailable("the audit log's writer failed; the operator's log says why")
        if error is not None:
            self._failed_at = time.monotonic()
        self._failure = error
        # Where the loop has ended, nobody waits any more, and the records are written
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_resolve, [future for _, future in batch], error)


def _resolve(futures: "list[asyncio.Future[None]]", error: AuditUnavailable | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(AuditUnavailable(str(error)))


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
