"""What operators see of a running process: metrics, and the log on standard error.

Metrics are named once, here. No label takes a value that a client chose freely: models are the
configuration's, and whatever else was asked for counts as "unknown".
"""

import json
import logging
import sys
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FIRST_BYTE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "inhouse_requests",
            "Requests by dialect, model, outcome and status.",
            ("dialect", "model", "outcome", "status"),
            registry=registry,
        )
        self.duration = Histogram(
            "inhouse_request_duration_seconds",
            "From the request's head to the answer's last byte.",
            ("model",),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.first_byte = Histogram(
            "inhouse_first_byte_seconds",
            "From the request's head to the answer's first byte.",
            ("model",),
            buckets=FIRST_BYTE_BUCKETS_S,
            registry=registry,
        )
        self.tokens = Counter(
            "inhouse_tokens",
            "Tokens as the engines counted them.",
            ("model", "direction"),
            registry=registry,
        )
        self.running = Gauge(
            "inhouse_requests_running", "Requests at an engine now.", ("model",), registry=registry
        )
        self.waiting = Gauge(
            "inhouse_requests_waiting", "Requests in the queue now.", ("model",), registry=registry
        )
        self.connections = Gauge(
            "inhouse_client_connections", "Open client connections.", registry=registry
        )
        self.malformed = Counter(
            "inhouse_malformed_requests", "Bytes that were no HTTP request.", registry=registry
        )
        self.engine_up = Gauge(
            "inhouse_engine_up",
            "1 where the engine's model answers.",
            ("engine",),
            registry=registry,
        )
        self.failovers = Counter(
            "inhouse_failovers",
            "Requests that another engine took over before the first byte.",
            ("engine",),
            registry=registry,
        )
        self.abandoned = Counter(
            "inhouse_abandoned_requests",
            "Requests whose client left; the engine was released at once.",
            ("model",),
            registry=registry,
        )
        self.verdicts = Counter(
            "inhouse_dlp_verdicts", "Sensitive data found.", ("rule", "place"), registry=registry
        )
        self.audit_failures = Counter(
            "inhouse_audit_failures", "Records that could not be written.", registry=registry
        )
        self.build = Gauge("inhouse_build_info", "The version.", ("version",), registry=registry)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(level: str, style: str) -> None:
    """Send the operator's log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    formatter: logging.Formatter = JsonLines()
    if style == "text":
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(formatter)
    logger = logging.getLogger("inhouse")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


Clock = Callable[[], float]
"""Seconds since the epoch. `time.time` in a process, a value of its own in a test."""
