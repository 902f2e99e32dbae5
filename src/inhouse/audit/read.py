"""Reads the log for people: one row per request and per change of who may do what, newest last,
found by who, what, when and text."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inhouse.audit.ends import decoded, end_of
from inhouse.audit.head import parts
from inhouse.audit.record import Changed, Denial, Intent, KeyChanged, Outcome, Record, cut
from inhouse.audit.segment import lines_of
from inhouse.domain import OutcomeKind

RUNNING = "running"
CHANGED = "changed"  # no request: who may do what
OUTCOMES = (*(kind.value for kind in OutcomeKind), RUNNING, CHANGED)


@dataclass(slots=True)
class Row:
    """A request, from one record or two; an intent without an outcome is still running. Or a
    change, of which `principal` is the actor."""

    request_id: str
    time: float
    principal: str = ""
    address: str = ""
    model: str = ""
    route: str = ""
    outcome: str = RUNNING
    status: int = 0
    code: str | None = None
    engine: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    duration_ms: float | None = None  # not known of what runs or was interrupted
    fingerprint: str = ""
    fingerprint_last: str = ""
    verdicts: tuple[str, ...] = ()
    claimed_key: str | None = None  # of a key that was refused
    purpose: str = ""
    grant: str = ""  # that allowed it
    change: str = ""  # what was changed, in words
    before: dict[str, str] | None = None
    after: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; an empty field looks for anything. Times in seconds since the epoch."""

    who: str = ""
    model: str = ""
    outcome: str = ""
    request_id: str = ""
    fingerprints: tuple[str, ...] = ()  # any of them
    since: float = 0.0
    until: float = float("inf")

    def described(self) -> str:
        """The search, for the record of it: of a text, its fingerprints."""
        given = {
            "who": cut(self.who),
            "model": cut(self.model),
            "outcome": self.outcome,
            "id": cut(self.request_id),
            "since": _iso(self.since) if self.since else "",
            "until": _iso(self.until) if self.until < float("inf") else "",
            "fingerprint": ",".join(self.fingerprints),
        }
        return " ".join(["search", *(f"{name}={each}" for name, each in given.items() if each)])

    def matches(self, row: Row) -> bool:
        return (
            (not self.who or self.who.casefold() in row.principal.casefold())
            and (not self.model or self.model == row.model)
            and (not self.outcome or self.outcome == row.outcome)
            and (not self.request_id or self.request_id == row.request_id)
            and (
                not self.fingerprints
                or row.fingerprint in self.fingerprints
                or row.fingerprint_last in self.fingerprints
            )
            and self.since <= row.time <= self.until
        )


def records(directory: Path) -> Iterator[Record]:
    """Every record of a log, in order, but for what stands behind the place where a segment was
    given up. Verifies nothing: that is `verify`'s to do."""
    for path in parts(directory):
        for found in lines_of(path, end_of(path)):
            record = decoded(found)
            if record is not None:
                yield record


def rows(stream: Iterator[Record], *, changes: bool = False) -> Iterator[Row]:
    """One row per request, when it has ended; those that have not, at the end. With `changes`, one
    for each of these, too."""
    running: dict[str, Row] = {}
    for record in stream:
        match record:
            case Intent():
                running[record.request_id] = begun(record)
            case Outcome():
                row = running.pop(record.request_id, None) or Row(record.request_id, record.time)
                yield ended(row, record)
            case Denial():
                yield denied(record)
            case Changed() | KeyChanged() if changes:
                yield changed(record)
    yield from running.values()


def begun(record: Intent) -> Row:
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
        purpose=record.purpose,
        grant=record.authorized_by,
    )


def ended(row: Row, record: Outcome) -> Row:
    row.outcome = record.outcome
    row.status = record.status
    row.code = record.code
    row.engine = record.engine
    row.prompt_tokens = record.prompt_tokens
    row.completion_tokens = record.completion_tokens
    interrupted = record.outcome == OutcomeKind.INTERRUPTED
    row.duration_ms = None if interrupted else record.duration_ms
    row.verdicts += tuple(verdict.rule for verdict in record.verdicts)
    return row


def denied(record: Denial) -> Row:
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
        fingerprint=record.fingerprint,
        fingerprint_last=record.fingerprint_last,
        verdicts=tuple(verdict.rule for verdict in record.verdicts),
        claimed_key=record.claimed_key,
        purpose=record.purpose,
    )


def changed(record: Changed | KeyChanged) -> Row:
    """'key ab12 of anna: revoked', and what there was before and is now."""
    if isinstance(record, KeyChanged):
        what = f"key {record.key_id} of {record.owner}: {record.action}"
    else:
        what = f"{record.noun} {record.id}, {record.name}: {record.action}"
        what += f" ({record.reason})" if record.reason else ""
    return Row(
        "",
        record.time,
        principal=record.actor,
        outcome=CHANGED,
        change=what,
        before=record.before,
        after=record.after,
    )


def line(row: Row) -> str:
    """A row as one line: time, id, who, model, how long, outcome, its code or the tokens; and
    which rules of screening matched, where any did. What may be long stands last, so that the
    columns stand below each other; a usual line fits into 100 characters."""
    at = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(row.time))
    if row.change:
        now = ", ".join(f"{name} {value}" for name, value in (row.after or {}).items() if value)
        what = printable(f"{row.principal}: {row.change}{'; ' if now else ''}{now}")
        return f"{at} changed by {what}"
    tokens = f"{_count(row.prompt_tokens)}+{_count(row.completion_tokens)}"
    who, model = printable(row.principal) or "-", printable(row.model) or "-"
    left = f"{at} {printable(row.request_id)} {who:<10} {model:<12} {_took(row.duration_ms):>6}"
    told = f"{left} {printable(row.outcome):<9} {printable(row.code or '') or tokens}"
    found = printable(", ".join(dict.fromkeys(row.verdicts)))
    return f"{told}  [{found}]" if found else told


def printable(text: str) -> str:
    """A text of a client's, without what would begin a line of its own or drive a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _count(tokens: int | None) -> str:
    return "-" if tokens is None else str(tokens)


def _took(ms: float | None) -> str:
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 100_000 else f"{ms / 1000:.0f} s"


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
