"""The request path: one request, top to bottom. Each stage is the file of its name.

    record ► authenticate ► receive ► authorize ► limit ► screen ► admit ► choose, forward
           ► screen the answer ► settle

`record` opens first and closes exactly once, whatever happens in between. `authenticate` comes
before `receive`, so that nobody without a key makes this process hold a body. The answer's last
bytes go out after the record of its end is on the disk; where that cannot be, they do not.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field

from inhouse.audit.fingerprint import Fingerprinter
from inhouse.audit.log import AuditLog
from inhouse.config.schema import Config
from inhouse.domain import Dialect, OutcomeKind
from inhouse.errors import AuditUnavailable, Code, EngineError, Refusal
from inhouse.gateway import listing, routes
from inhouse.gateway.admit import Queue
from inhouse.gateway.authenticate import People, authenticate, claimed_key
from inhouse.gateway.authorize import Asking, Directory, authorize, purpose_of
from inhouse.gateway.exchange import ClientGone, Exchange
from inhouse.gateway.forward import Answer, forward
from inhouse.gateway.limit import Limiter
from inhouse.gateway.listener import HttpDate
from inhouse.gateway.origin import Network, origin
from inhouse.gateway.receive import receive
from inhouse.gateway.record import Entry, new_request_id
from inhouse.gateway.refuse import fields, refuse
from inhouse.gateway.screen import AnswerGate, Screening
from inhouse.gateway.settle import Meter
from inhouse.identity.tokens import Tokens
from inhouse.telemetry import Clock
from inhouse.upstream.pool import Pool

log = logging.getLogger("inhouse.gateway")

_FAILED = (
    Code.NO_ENGINE,
    Code.ENGINE_FAILED,
    Code.INTERNAL,
    Code.DEADLINE_EXCEEDED,
    Code.STOPPING,
)
INTERNAL = Refusal(Code.INTERNAL, 500, "the gateway failed; the log has the cause")


@dataclass(slots=True, kw_only=True)
class Gateway:
    """What the stages work with. Made once; a request changes none of it but counters."""

    config: Config
    people: People
    directory: Directory
    audit: AuditLog
    fingerprinter: Fingerprinter
    pool: Pool
    limiter: Limiter
    queues: dict[str, Queue]
    screening: Screening
    meter: Meter
    clock: Clock
    proxies: tuple[Network, ...] = ()
    tokens: Tokens | None = None  # of a provider, where there is one
    monotonic: Clock = time.monotonic
    date: HttpDate = field(default_factory=HttpDate)


async def serve(exchange: Exchange, gateway: Gateway) -> None:
    """Answer one request, and record how it ended."""
    try:
        address = exchange.peer
        if gateway.proxies:
            forwarded = exchange.head.fields.get(b"x-forwarded-for")
            address = origin(address, forwarded, gateway.proxies)
        entry = Entry(gateway.audit, gateway.clock, address)
    except AuditUnavailable as error:
        _refuse_unrecorded(exchange, gateway, error)
        return
    exchange.request_id = entry.request_id
    try:
        await _serve(exchange, gateway, entry)
    except Refusal as refusal:
        await _end(exchange, gateway, entry, refusal)
    except AuditUnavailable as error:
        log.error("%s: the audit log: %s", entry.request_id, error)
        entry.unrecorded(exchange.bytes_out)
        gateway.meter.unrecorded()
        _say(exchange, gateway, _unrecorded())
    except (ClientGone, asyncio.CancelledError):
        await _interrupted(exchange, gateway, entry)
    except Exception:  # the outermost net: the client gets an id, the log gets the cause
        log.exception("%s: internal error", entry.request_id)
        await _end(exchange, gateway, entry, INTERNAL)


async def _serve(exchange: Exchange, gateway: Gateway, entry: Entry) -> None:
    head = exchange.head
    route = routes.find(head.method, head.path)
    entry.route = route.path
    if route.needs is routes.Needs.NOTHING:
        await listing.greet(exchange, gateway.date.at(entry.began))
        return
    try:
        principal = entry.principal = await authenticate(
            head, gateway.people, gateway.tokens, entry.began
        )
    except Refusal:
        entry.claimed_key = claimed_key(head)
        raise
    purpose = entry.purpose = purpose_of(head, principal)
    if isinstance(route.does, routes.Listing):
        rights = gateway.directory.rights(principal, entry.began)
        asking = Asking(principal, rights, listing.dialect_of(exchange, route), purpose)
        date = gateway.date.at(entry.began)
        await listing.answer(exchange, asking, route, gateway.config.models, date)
        return
    settings = gateway.config.settings
    ask = entry.ask = await receive(exchange, route, settings.gateway, settings.limits)
    entry.bytes_in = exchange.body_bytes
    entry.fingerprints = gateway.fingerprinter.both(ask.texts, ask.last_text)
    rights = gateway.directory.rights(principal, gateway.clock())  # as they are now
    asking = Asking(principal, rights, ask.dialect, purpose)
    model, entry.rule = authorize(asking, ask, gateway.config.models)
    with gateway.limiter.reserve(principal, gateway.monotonic()):
        entry.verdicts = await gateway.screening.look(ask)
        gateway.screening.judge(entry.verdicts)
        async with gateway.queues[model.name]:
            await entry.intent()
            with await forward(
                ask,
                model,
                gateway.pool.of(model.name),
                request_id=entry.request_id,
                max_answer_bytes=settings.gateway.max_answer_bytes,
                clock=gateway.clock,
                failed_over=gateway.meter.failed_over,
            ) as answer:
                entry.answering(answer.target, answer.reader)
                await _send(exchange, gateway, entry, answer)


async def _send(exchange: Exchange, gateway: Gateway, entry: Entry, answer: Answer) -> None:
    reader = answer.reader
    head = fields(reader.content_type, entry.request_id, gateway.date.at(entry.began))
    gate = gateway.screening.answer()
    entry.verdicts_out = gate.verdicts
    if answer.whole:
        if gate.looks:
            await gate.whole(reader.ending)
    else:
        head += b"x-accel-buffering: no\r\n"  # for an nginx in front
        await _stream(exchange, head, answer, gate)
    exchange.settling = True
    await entry.close(
        OutcomeKind.ANSWERED,
        200,
        bytes_out=exchange.bytes_out + len(reader.ending),
    )
    if exchange.started:
        exchange.end(reader.ending)
    else:
        exchange.respond(200, head, reader.ending)
    gateway.meter.answered(entry, reader.usage)


async def _stream(exchange: Exchange, head: bytes, answer: Answer, gate: AnswerGate) -> None:
    """Send what comes as it comes; an engine that breaks off becomes a refusal."""
    try:
        await answer.relay(exchange, gate, head)
    except EngineError as error:
        log.warning("%s: %s", exchange.request_id, error)
        raise Refusal(
            Code.ANSWER_TRUNCATED, 502, "the engine broke off: this answer is not complete"
        ) from error
    left = gate.rest(answer.reader.ending)
    if not exchange.started:
        exchange.start(200, head)
    if left:
        exchange.write(left)


async def _end(exchange: Exchange, gateway: Gateway, entry: Entry, refusal: Refusal) -> None:
    """Record a refusal, then say it."""
    outcome = _outcome(refusal, started=exchange.started)
    try:
        await entry.close(outcome, refusal.status, code=refusal.code, bytes_out=exchange.bytes_out)
    except AuditUnavailable as error:
        log.error("%s: the audit log: %s", entry.request_id, error)
        entry.unrecorded(exchange.bytes_out)
        refusal = _unrecorded()
    _say(exchange, gateway, refusal)
    gateway.meter.count(entry, _dialect(exchange), outcome, refusal.status)


async def _interrupted(exchange: Exchange, gateway: Gateway, entry: Entry) -> None:
    """The client left, the request's deadline passed, or the gateway stops."""
    refusal = _cut_off(exchange, gateway)
    if refusal is not None and not exchange.gone and not entry.closed:
        await _end(exchange, gateway, entry, refusal)
        return
    if not entry.closed:
        gateway.meter.abandoned(entry, gateway.config.models)
    entry.close_soon(OutcomeKind.CANCELLED, exchange.bytes_out)
    gateway.meter.count(entry, _dialect(exchange), OutcomeKind.CANCELLED, 0)
    exchange.abort()


def _cut_off(exchange: Exchange, gateway: Gateway) -> Refusal | None:
    if exchange.stopped:
        return Refusal(Code.STOPPING, 503, "the gateway stops, and could wait no longer")
    if exchange.late:
        limit_s = gateway.config.settings.gateway.request_timeout_s
        sentence = f"the request took longer than {limit_s:g} s"
        return Refusal(Code.DEADLINE_EXCEEDED, 504, sentence)
    return None


def _refuse_unrecorded(exchange: Exchange, gateway: Gateway, error: AuditUnavailable) -> None:
    exchange.request_id = new_request_id(gateway.clock())
    log.error("%s: the audit log: %s", exchange.request_id, error)
    gateway.meter.unrecorded()
    _say(exchange, gateway, _unrecorded())


def _unrecorded() -> Refusal:
    return Refusal(
        Code.AUDIT_UNAVAILABLE,
        503,
        "the audit log cannot be written, and nothing is answered without its record",
        retry_after_s=5,
    )


def _say(exchange: Exchange, gateway: Gateway, refusal: Refusal) -> None:
    if not exchange.ended:
        refuse(exchange, refusal, _dialect(exchange), gateway.date.at(gateway.clock()))


def _dialect(exchange: Exchange) -> Dialect:
    return routes.dialect_of(exchange.head.path)


def _outcome(refusal: Refusal, *, started: bool) -> OutcomeKind:
    if started:
        return OutcomeKind.TRUNCATED
    if refusal.status in (401, 403) or refusal.code is Code.CONTENT_BLOCKED:
        return OutcomeKind.DENIED
    return OutcomeKind.FAILED if refusal.code in _FAILED else OutcomeKind.REFUSED
