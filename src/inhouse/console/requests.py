"""The audit log: requests in pages, and its proof. That it was read is a record of its own."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from inhouse.audit import verify as verifying
from inhouse.audit.pages import cursor_of, page
from inhouse.audit.read import Query, Row
from inhouse.audit.record import Read
from inhouse.audit.secrets import chain_key_path, mark_path
from inhouse.console.call import Call
from inhouse.console.verifier import Job, run
from inhouse.errors import Code, Refusal

Text = Annotated[str, Meta(min_length=1, max_length=200)]
When = Annotated[datetime, Meta(tz=True)]
VERIFY_S = 300.0  # for a whole log to be read


class RequestOutcome(StrEnum):
    """How a request ended, or that it runs."""

    ANSWERED = "answered"
    DENIED = "denied"
    REFUSED = "refused"
    FAILED = "failed"
    TRUNCATED = "truncated"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    RUNNING = "running"


class Request(msgspec.Struct, frozen=True):
    """A request to a model, from its records. `status` is 0 while it runs, or where the client
    left; `claimed_key` is the id in a key that was refused."""

    request_id: str
    time: When
    principal: str
    address: str
    model: str
    route: str
    outcome: RequestOutcome
    status: int
    code: str | None
    engine: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    duration_ms: float | None
    fingerprint: str
    fingerprint_last: str
    verdicts: list[str]
    claimed_key: str | None
    purpose: str
    grant: str  # that allowed it


class RequestPage(msgspec.Struct, frozen=True):
    """Requests, newest first. `next` is the `after` of the next page; null where there is none.

    A page looks at a bounded part of the log: it may hold fewer than `limit`, or none, and have a
    next one."""

    data: list[Request]
    next: str | None


class RequestQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for; all of what is given holds."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    after: Annotated[str, Meta(max_length=64)] | None = None  # the `next` of the page before
    who: Text | None = None  # part of the owner's name, in any case
    model: Text | None = None
    outcome: RequestOutcome | None = None
    id: Text | None = None  # the request's
    fingerprint: Text | None = None  # of the prompt, or of what the user said last
    since: When | None = None
    until: When | None = None


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, or worth a note; line 0 is the file as a whole."""

    segment: str
    line: int
    sentence: str


class Proof(msgspec.Struct, frozen=True):
    """Whether the log is whole: nothing changed, added, taken away or left open. The first
    findings and notes, and how many there are of each."""

    good: bool
    records: int
    segments: int
    open_requests: int
    findings: list[Finding]
    findings_total: int
    notes: list[Finding]
    notes_total: int


def listed(call: Call, query: RequestQuery) -> RequestPage:
    start = None
    if query.after is not None:
        start = cursor_of(query.after)
        if start is None:
            raise Refusal(Code.INVALID_FIELD, 400, "'after' in the query is no 'next' of a page")
    asked = Query(
        who=query.who or "",
        model=query.model or "",
        outcome=query.outcome.value if query.outcome is not None else "",
        request_id=query.id or "",
        fingerprints=(query.fingerprint,) if query.fingerprint is not None else (),
        since=query.since.timestamp() if query.since is not None else 0.0,
        until=query.until.timestamp() if query.until is not None else float("inf"),
    )
    call.record(Read(call.now, call.actor.id, f"{asked.described()} limit={query.limit}"))
    config = call.services.config
    longest_s = config.settings.gateway.request_timeout_s
    found = page(config.audit_directory, asked, query.limit, start, longest_s=longest_s)
    following = None if found.following is None else str(found.following)
    return RequestPage([_shown(row) for row in found.rows], following)


def verify(call: Call) -> Proof:
    call.record(Read(call.now, call.actor.id, "verify"))
    config = call.services.config
    job = Job(str(config.audit_directory), str(chain_key_path(config)), str(mark_path(config)))
    told = run(job, VERIFY_S, withheld=config.secret_variables)
    return Proof(
        good=told.good,
        records=told.records,
        segments=told.segments,
        open_requests=told.open_requests,
        findings=[_finding(each) for each in told.findings],
        findings_total=told.findings_total,
        notes=[_finding(each) for each in told.notes],
        notes_total=told.notes_total,
    )


def _finding(found: verifying.Finding) -> Finding:
    return Finding(found.segment, found.line, found.sentence)


def _shown(row: Row) -> Request:
    return Request(
        request_id=row.request_id,
        time=datetime.fromtimestamp(row.time, UTC),
        principal=row.principal,
        address=row.address,
        model=row.model,
        route=row.route,
        outcome=RequestOutcome(row.outcome),
        status=row.status,
        code=row.code,
        engine=row.engine,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        duration_ms=row.duration_ms,
        fingerprint=row.fingerprint,
        fingerprint_last=row.fingerprint_last,
        verdicts=list(row.verdicts),
        claimed_key=row.claimed_key,
        purpose=row.purpose,
        grant=row.grant,
    )
