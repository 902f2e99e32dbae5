"""The admin listener: is the process alive, does a model answer, the metrics; and the admin API,
which is another room's and is handed in.

/healthz   200 while the process serves at all
/readyz    200 while every model has an engine that answers real requests, and the log takes
           records; 503 with the reasons otherwise, and while the gateway stops
/metrics   Prometheus' text format
/admin/    the admin API
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from inhouse.audit.log import AuditLog
from inhouse.errors import AuditUnavailable, Code, Refusal
from inhouse.gateway.exchange import BodyTooLarge, Exchange
from inhouse.gateway.http1 import Head, Malformed
from inhouse.gateway.listener import HttpDate
from inhouse.gateway.record import new_request_id
from inhouse.gateway.refuse import JSON, fields
from inhouse.identity.jwks import ProviderKeys
from inhouse.telemetry import Clock, Metrics
from inhouse.upstream.pool import Pool

log = logging.getLogger("inhouse.gateway")
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
API = b"/admin/"


class Answer(Protocol):
    """What the admin API answers; `fields` are whole header lines."""

    @property
    def status(self) -> int: ...
    @property
    def fields(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...


class Api(Protocol):
    """The admin API."""

    def check_host(self, fields: dict[bytes, bytes]) -> None:
        """Raise Refusal where this listener is not spoken to under a name of its own."""

    async def serve(
        self, head: Head, peer: str, request_id: str, body: Callable[[int], Awaitable[bytes]]
    ) -> Answer:
        """The answer to a request. `body` reads at most so many bytes of it, or raises Refusal."""


class Operations:
    """Answers operators and Prometheus."""

    def __init__(
        self, pool: Pool, audit: AuditLog, metrics: Metrics, clock: Clock, date: HttpDate, api: Api
    ) -> None:
        self._pool = pool
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._date = date
        self._api = api
        self._keys_away_since: Callable[[], float | None] = lambda: None
        self._provider: ProviderKeys | None = None
        self.stopping = False  # nothing new is taken

    def malformed(self) -> None:
        """Bytes came that were no request."""
        self._metrics.malformed.inc()

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Tell of the open connections of clients in the metrics."""
        self._metrics.connections.set_function(count)

    def watch_keys(self, away_since: Callable[[], float | None]) -> None:
        """Since when (monotonic) the store of keys cannot be followed; None while it can."""
        self._keys_away_since = away_since

    def watch_provider(self, keys: ProviderKeys) -> None:
        """Tell of the keys that prove access tokens."""
        self._provider = keys

    async def serve(self, exchange: Exchange) -> None:
        """One request of an operator."""
        now = self._clock()
        exchange.request_id = new_request_id(now)
        head = exchange.head
        more = b""
        if head.path.startswith(API):
            answer = await self._api.serve(
                head, exchange.peer, exchange.request_id, _body_of(exchange)
            )
            status, content_type, body = answer.status, JSON, answer.body
            more = answer.fields
        else:
            status, content_type, body = self._answer(head)
            more = b"allow: GET, HEAD\r\n" if status == 405 else b""
        about = fields(content_type, exchange.request_id, self._date.at(now))
        exchange.respond(status, about + more, body)

    def _answer(self, head: Head) -> tuple[int, bytes, bytes]:
        try:
            self._api.check_host(head.fields)
        except Refusal as refusal:
            return refusal.status, JSON, _said(refusal.sentence)
        if head.method not in (b"GET", b"HEAD"):
            return 405, JSON, _said("only GET is served here")
        match head.path:
            case b"/healthz":
                return 200, JSON, b'{"status":"alive"}'
            case b"/readyz":
                return self._readiness()
            case b"/metrics":
                return 200, METRICS_TYPE, self._metrics.exposition()
        return 404, JSON, _said("there is /healthz, /readyz, /metrics and /admin/v1/")

    def _readiness(self) -> tuple[int, bytes, bytes]:
        models = {
            name: [
                {
                    "engine": target.name,
                    "state": target.health.state.value,
                    "reason": target.health.reason,
                    "outstanding": target.outstanding,
                }
                for target in targets
            ]
            for name, targets in self._pool.targets.items()
        }
        answering = [
            name
            for name, targets in self._pool.targets.items()
            if any(t.health.up for t in targets)
        ]
        audit = self._audit_state()
        ready = len(answering) == len(models) and audit == "writable" and not self.stopping
        body = {
            "status": "stopping" if self.stopping else "ready" if ready else "not ready",
            "answering": answering,
            "audit": audit,
            "keys": self._keys_state(),
            **({} if self._provider is None else {"provider": self._provider_state()}),
            "models": models,
        }
        return (200 if ready else 503), JSON, msgspec.json.encode(body)

    def _keys_state(self) -> str:
        """Keys that cannot be followed stay as they were: requests go on, and operators see it."""
        since = self._keys_away_since()
        if since is None:
            return "current"
        return f"as they were {time.monotonic() - since:.0f} s ago: the store is away"

    def _provider_state(self) -> str:
        """Tokens whose keys cannot be had are refused, but keys serve on: it is no end of ready."""
        assert self._provider is not None  # asked for only then
        left_s = self._provider.good_until - self._clock()
        if left_s <= 0:
            return "no keys: access tokens are refused"
        away = self._provider.away_since is not None
        return f"away: its last keys serve for {left_s:.0f} s more" if away else "current"

    def _audit_state(self) -> str:
        try:
            self._audit.ready()
        except AuditUnavailable as error:
            return str(error)
        return "writable"


def _body_of(exchange: Exchange) -> Callable[[int], Awaitable[bytes]]:
    async def body(most_bytes: int) -> bytes:
        try:
            return await exchange.body(most_bytes)
        except BodyTooLarge as error:
            sentence = f"the body is larger than {most_bytes} bytes"
            raise Refusal(Code.BODY_TOO_LARGE, 413, sentence) from error
        except Malformed as error:
            raise Refusal(Code.MALFORMED_REQUEST, error.status, error.sentence) from error
        except TimeoutError as error:
            raise Refusal(Code.BODY_TIMEOUT, 408, "the body did not arrive in time") from error

    return body


def _said(sentence: str) -> bytes:
    return msgspec.json.encode({"error": sentence})
