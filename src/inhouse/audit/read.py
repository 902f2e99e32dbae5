"""Reads the log for people: one row per request, newest last, found by who, what, when and text."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from inhouse.audit.record import Denial, Intent, Outcome, Record, decode
from inhouse.audit.segment import Link, segments, walk


@dataclass(slots=True)
class Row:
    """A request, from one record or two. An intent without an outcome is still running."""

    request_id: str
    time: float
    principal: str = ""
    address: str = ""
    model: str = ""
    route: str = ""
    outcome: str = "running"
    status: int = 0
    code: str | None = None
    engine: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_ms: float = 0.0
    fingerprint: str = ""
    fingerprint_last: str = ""
    verdicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; an empty field looks for anything. Times in seconds since the epoch."""

    who: str = ""
    model: str = ""
    outcome: str = ""
    request_id: str = ""
    fingerprint: str = ""
    since: float = 0.0
    until: float = float("inf")

    def matches(self, row: Row) -> bool:
        return (
            (not self.who or self.who in row.principal)
            and (not self.model or self.model == row.model)
            and (not self.outcome or self.outcome == row.outcome)
            and (not self.request_id or self.request_id == row.request_id)
            and (
                not self.fingerprint or self.fingerprint in (row.fingerprint, row.fingerprint_last)
            )
            and self.since <= row.time <= self.until
        )


def records(directory: Path) -> Iterator[Record]:
    """Every record of a log, in order. Verifies nothing: that is `verify`'s to do."""
    for path in segments(directory):
        for found in walk(path, b"", Link()):
            if found.line is not None:
                try:
                    yield decode(found.line.r)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    continue


def rows(stream: Iterator[Record]) -> Iterator[Row]:
    """One row per request, when it has ended; those that have not, at the end."""
    running: dict[str, Row] = {}
    for record in stream:
        match record:
            case Intent():
                running[record.request_id] = _begun(record)
            case Outcome():
                row = running.pop(record.request_id, None) or Row(record.request_id, record.time)
                yield _ended(row, record)
            case Denial():
                yield _denied(record)
    yield from running.values()


def _begun(record: Intent) -> Row:
    return Row(
        record.request_id,
        record.time,
        principal=record.principal_name,
        address=record.address,
        model=record.model,
        route=record.route,
        fingerprint=record.fingerprint,
        fingerprint_last=record.fingerprint_last,
        verdicts=tuple(verdict.rule for verdict in record.verdicts),
    )


def _ended(row: Row, record: Outcome) -> Row:
    row.outcome = record.outcome
    row.status = record.status
    row.code = record.code
    row.engine = record.engine
    row.prompt_tokens = record.prompt_tokens
    row.completion_tokens = record.completion_tokens
    row.duration_ms = record.duration_ms
    row.verdicts += tuple(verdict.rule for verdict in record.verdicts)
    return row


def _denied(record: Denial) -> Row:
    return Row(
        record.request_id,
        record.time,
        principal=record.principal_name or "",
        address=record.address,
        model=record.model or "",
        route=record.route,
        outcome=record.outcome,
        status=record.status,
        code=record.code,
        duration_ms=record.duration_ms,
        verdicts=tuple(verdict.rule for verdict in record.verdicts),
    )


def line(row: Row) -> str:
    """A row as one line: time, who, model, outcome, tokens, milliseconds."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.time))
    tokens = f"{_count(row.prompt_tokens)}+{_count(row.completion_tokens)}"
    outcome = f"{row.outcome} {row.code}" if row.code else row.outcome
    return (
        f"{at}Z  {row.request_id}  {row.principal or '-':<16} {row.model or '-':<20} "
        f"{outcome:<28} {tokens:>11} tok {row.duration_ms:>9.0f} ms"
    )


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else str(tokens)
