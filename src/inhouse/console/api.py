"""One request of an operator, top to bottom.

    host, site ► one credential, one principal ► route, method ► may they? ► query, body ► handler

Nobody learns what there is before they are known: an unknown path and a known one answer them
alike. Whoever is refused for who they are is recorded; what is done, the services record. Nothing
that blocks runs here: handlers run in threads (`work.py`).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from inhouse.audit.log import AuditLog
from inhouse.audit.record import Denial, Record, cut
from inhouse.console.authenticate import Authenticator, Channel, NotKnown
from inhouse.console.budget import Budget, source_of
from inhouse.console.call import Answer, Call, Head, Services
from inhouse.console.decode import MOST_BODY_BYTES, body_of, query_of
from inhouse.console.guard import Guard
from inhouse.console.route import Place, Route, Table
from inhouse.console.work import Work
from inhouse.domain import OutcomeKind, Principal
from inhouse.errors import AuditUnavailable, Code, Refusal
from inhouse.identity.actor import Actor
from inhouse.telemetry import Clock

log = logging.getLogger("inhouse.console")

Acting = Callable[[Principal, float], Actor]
"""A principal with what their grants give them at a time, in seconds since the epoch."""

Body = Callable[[int], Awaitable[bytes]]

QUICK_PLACES, SLOW_PLACES, WAITING = 8, 2, 32
REFUSALS_PER_MINUTE = 30  # by one source, each with its record; more are only counted
RECORD_S = 20.0  # for a record to be durable; the log itself gives up before
SAY_EVERY_S = 60.0
STOP_S = 5.0  # for changes that are being made when the gateway stops
MOST_ANSWER_BYTES = 8_388_608
JSON = b"application/json"


class Api:
    """Everything under /admin/."""

    def __init__(
        self,
        table: Table,
        services: Services,
        channels: Sequence[Channel],
        acting: Acting,
        audit: AuditLog,
        *,
        clock: Clock = time.time,
        refusals_per_minute: int = REFUSALS_PER_MINUTE,
    ) -> None:
        self._table = table
        self._services = services
        self._authenticator = Authenticator(channels)
        self._acting = acting
        self._audit = audit
        self._clock = clock
        self._guard = Guard(services.config.settings.admin.names)
        self._budget = Budget(refusals_per_minute)
        self._say_at = 0.0
        self._quick = Work(QUICK_PLACES, WAITING)
        self._slow = Work(SLOW_PLACES, WAITING)
        self._loop = asyncio.get_running_loop()

    def check_host(self, fields: "dict[bytes, bytes]") -> None:
        """For every page of the listener. Raises Refusal."""
        self._guard.check_host(fields)

    async def stop(self) -> None:
        """Once nothing new can come: let what is being changed be changed."""
        if not await self._quick.idle(STOP_S):
            log.warning("a request of an operator was still at work after %g s", STOP_S)

    async def serve(self, head: Head, peer: str, request_id: str, body: Body) -> Answer:
        """The answer to one request. `body` reads at most so many bytes, and raises Refusal."""
        asked = _Asked(head, peer, request_id, self._clock())
        try:
            return await self._serve(asked, body)
        except Refusal as refusal:
            return await self._refused(asked, refusal)
        except AuditUnavailable as error:
            log.error("%s: the audit log: %s", request_id, error)
            return _said(asked, _unrecorded())
        except Exception:  # the outermost net: the caller gets an id, the log gets the cause
            log.exception("%s: internal error", request_id)
            sentence = "the admin API failed; the log has the cause"
            return _said(asked, Refusal(Code.INTERNAL, 500, sentence))

    async def _serve(self, asked: "_Asked", body: Body) -> Answer:
        head = asked.head
        self._guard.check_host(head.fields)
        self._guard.check_site(head.fields)
        asked.principal = self._authenticator.check(head.fields, asked.began)
        found = self._table.find(head.path)
        if found is None:
            raise Refusal(Code.NO_SUCH_ROUTE, 404, "there is nothing here; see docs/admin-api.md")
        asked.place, parameters = found
        asked.route = next(iter(asked.place.routes.values())).path
        route = asked.place.routes.get(head.method)
        if route is None:
            allowed = asked.place.allowed.decode()
            raise Refusal(Code.METHOD_NOT_ALLOWED, 405, f"{asked.route} takes {allowed}")
        actor = self._acting(asked.principal, asked.began)
        self._authorize(actor, route)
        arguments: dict[str, Any] = dict(parameters)
        query = query_of(head.query, route.query)
        if route.query is not None:
            arguments["query"] = query
        if route.body is not None:
            _check_type(head)
            arguments["body"] = body_of(await body(MOST_BODY_BYTES), route.body)
        elif head.length:
            raise Refusal(Code.INVALID_FIELD, 400, f"{route.method} {route.path} takes no body")
        call = Call(self._services, actor, asked.request_id, asked.began, self._record)
        work = self._slow if route.slow else self._quick
        encoded = await work.run(partial(_handle, route, call, arguments), route.deadline_s)
        return Answer(route.status, b"", encoded)

    def _authorize(self, actor: Actor, route: Route) -> None:
        wanted = self._table.permissions if route.permission is None else {route.permission}
        if any(actor.may(permission) for permission in wanted):
            return
        needs = "any permission" if route.permission is None else f"'{route.permission}'"
        sentence = f"{route.method} {route.path} needs {needs}, which you do not have"
        raise Refusal(Code.NOT_ALLOWED, 403, sentence)

    def _record(self, record: Record) -> None:
        """From a handler's thread. Durable on return; raises AuditUnavailable."""
        asyncio.run_coroutine_threadsafe(self._audit.write(record), self._loop).result(RECORD_S)

    async def _refused(self, asked: "_Asked", refusal: Refusal) -> Answer:
        if refusal.status not in (401, 403, 421):
            return _said(asked, refusal)
        source = asked.principal.id if asked.principal is not None else source_of(asked.peer)
        wait_s = self._budget.spend(source, self._loop.time())
        if wait_s:
            self._say_withheld(source)
            return _said(
                asked,
                Refusal(
                    Code.RATE_LIMITED,
                    429,
                    "too many requests were refused; wait before the next one",
                    retry_after_s=max(1, round(wait_s)),
                ),
            )
        try:
            await self._audit.write(_denial(asked, refusal, self._clock()))
        except AuditUnavailable as error:
            log.error("%s: the audit log: %s", asked.request_id, error)
            refusal = _unrecorded()
        return _said(asked, refusal)

    def _say_withheld(self, source: str) -> None:
        """In the operator's log, now and then, that not every refusal has its record."""
        if self._loop.time() >= self._say_at:
            self._say_at = self._loop.time() + SAY_EVERY_S
            count, self._budget.withheld = self._budget.withheld, 0
            log.warning("%d refusals without a record of their own; the last of %s", count, source)


class _Asked:
    """What is known of a request so far."""

    def __init__(self, head: Head, peer: str, request_id: str, began: float) -> None:
        self.head = head
        self.peer = peer
        self.request_id = request_id
        self.began = began
        self.principal: Principal | None = None
        self.place: Place | None = None
        self.route = cut(head.path.decode("latin-1"))


def _handle(route: Route, call: Call, arguments: dict[str, Any]) -> bytes:
    """In a thread: what the route does, and its answer as bytes."""
    encoded = msgspec.json.encode(route.handler(call, **arguments))
    if len(encoded) > MOST_ANSWER_BYTES:
        raise Refusal(
            Code.LIMIT_EXCEEDED, 400, "the answer would be too large; ask for less with 'limit'"
        )
    return encoded


def _check_type(head: Head) -> None:
    kind = head.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != JSON:
        raise Refusal(
            Code.UNSUPPORTED_MEDIA_TYPE,
            415,
            "the body must be JSON: send 'Content-Type: application/json'",
        )


def _denial(asked: _Asked, refusal: Refusal, now: float) -> Denial:
    principal = asked.principal
    return Denial(
        request_id=asked.request_id,
        time=asked.began,
        address=asked.peer,
        route=asked.route,
        outcome=OutcomeKind.DENIED,
        status=refusal.status,
        code=refusal.code,
        principal_id=principal.id if principal else None,
        principal_name=principal.name if principal else None,
        duration_ms=round((now - asked.began) * 1000, 3),
        claimed_key=refusal.claimed if isinstance(refusal, NotKnown) else None,
    )


def _unrecorded() -> Refusal:
    return Refusal(
        Code.AUDIT_UNAVAILABLE,
        503,
        "the audit log cannot be written, and nothing is done without its record",
        retry_after_s=5,
    )


def _said(asked: _Asked, refusal: Refusal) -> Answer:
    fields = b""
    if refusal.status == 401:
        fields += b'www-authenticate: Bearer realm="inhouse"\r\n'
    if refusal.status == 405 and asked.place is not None:
        fields += b"allow: %b\r\n" % asked.place.allowed
    if refusal.retry_after_s is not None:
        fields += b"retry-after: %d\r\n" % refusal.retry_after_s
    error = {
        "code": refusal.code.value,
        "message": refusal.sentence,
        "request_id": asked.request_id,
    }
    return Answer(refusal.status, fields, msgspec.json.encode({"error": error}))
