"""The admin listener's first pages: is the process alive, does a model answer, the metrics.

/healthz   200 while the process serves at all
/readyz    200 while every model has an engine that answers real requests, and the log takes
           records; 503 with the reasons otherwise, and while the gateway stops
/metrics   Prometheus' text format
"""

import logging
import time
from collections.abc import Callable

import msgspec

from inhouse.audit.log import AuditLog
from inhouse.errors import AuditUnavailable
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.listener import HttpDate
from inhouse.gateway.record import new_request_id
from inhouse.gateway.refuse import JSON, fields
from inhouse.telemetry import Clock, Metrics
from inhouse.upstream.pool import Pool

log = logging.getLogger("inhouse.gateway")
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Operations:
    """Answers operators and Prometheus."""

    def __init__(
        self, pool: Pool, audit: AuditLog, metrics: Metrics, clock: Clock, date: HttpDate
    ) -> None:
        self._pool = pool
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._date = date
        self._keys_away_since: Callable[[], float | None] = lambda: None
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

    async def serve(self, exchange: Exchange) -> None:
        """One request of an operator."""
        now = self._clock()
        exchange.request_id = new_request_id(now)
        status, content_type, body = self._answer(exchange.head.method, exchange.head.path)
        head = fields(content_type, exchange.request_id, self._date.at(now))
        if status == 405:
            head += b"allow: GET, HEAD\r\n"
        exchange.respond(status, head, body)

    def _answer(self, method: bytes, path: bytes) -> tuple[int, bytes, bytes]:
        if method not in (b"GET", b"HEAD"):
            return 405, JSON, _said("only GET is served here")
        match path:
            case b"/healthz":
                return 200, JSON, b'{"status":"alive"}'
            case b"/readyz":
                return self._readiness()
            case b"/metrics":
                return 200, METRICS_TYPE, self._metrics.exposition()
        return 404, JSON, _said("there is /healthz, /readyz and /metrics")

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
            "models": models,
        }
        return (200 if ready else 503), JSON, msgspec.json.encode(body)

    def _keys_state(self) -> str:
        """Keys that cannot be followed stay as they were: requests go on, and operators see it."""
        since = self._keys_away_since()
        if since is None:
            return "current"
        return f"as they were {time.monotonic() - since:.0f} s ago: the store is away"

    def _audit_state(self) -> str:
        try:
            self._audit.ready()
        except AuditUnavailable as error:
            return str(error)
        return "writable"


def _said(sentence: str) -> bytes:
    return msgspec.json.encode({"error": sentence})
