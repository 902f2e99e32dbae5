"""What operators see of a running process: metrics, and the log on standard error.

Metrics are named once, here. No label takes a value that a client chose freely: models are the
configuration's, and whatever else was asked for counts as "unknown".
"""

import json
import logging
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# A second series for each counter, that says when it was first used
disable_created_metrics()  # type: ignore[no-untyped-call]

FIRST_BYTE_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
DURATION_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Distribution:
    """A histogram: how many values fell up to each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative counts by bound, and the sum, as Prometheus wants them."""
        totals = accumulate(self._counts)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return [
            (bound, float(total)) for bound, total in zip(bounds, totals, strict=True)
        ], self._sum


class ModelTraffic:
    """What one model's whole answers took and used."""

    __slots__ = ("completion_tokens", "duration_s", "first_byte_s", "prompt_tokens")

    def __init__(self) -> None:
        self.duration_s = Distribution(DURATION_BUCKETS_S)
        self.first_byte_s = Distribution(FIRST_BYTE_BUCKETS_S)
        self.prompt_tokens = 0
        self.completion_tokens = 0


class Traffic(Collector):
    """The counts of the request path: plain numbers, which become metrics when somebody asks.

    Counting on prometheus_client's own objects costs as much as parsing a request does.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, str, int], int] = defaultdict(int)
        self.models: defaultdict[str, ModelTraffic] = defaultdict(ModelTraffic)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "inhouse_requests",
            "Requests by dialect, model, outcome and status.",
            labels=("dialect", "model", "outcome", "status"),
        )
        for (dialect, model, outcome, status), count in list(self.requests.items()):
            requests.add_metric((dialect, model, outcome, str(status)), count)
        yield requests
        duration = HistogramMetricFamily(
            "inhouse_request_duration_seconds",
            "From the request's head to the answer's last byte.",
            labels=("model",),
        )
        first_byte = HistogramMetricFamily(
            "inhouse_first_byte_seconds",
            "From the request's head to the answer's first byte.",
            labels=("model",),
        )
        tokens = CounterMetricFamily(
            "inhouse_tokens",
            "Tokens as the engines counted them; of answers that did not end, by their events.",
            labels=("model", "direction"),
        )
        for name, traffic in list(self.models.items()):
            duration.add_metric((name,), *traffic.duration_s.buckets())
            first_byte.add_metric((name,), *traffic.first_byte_s.buckets())
            tokens.add_metric((name, "prompt"), traffic.prompt_tokens)
            tokens.add_metric((name, "completion"), traffic.completion_tokens)
        yield from (duration, first_byte, tokens)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.traffic = Traffic()
        registry.register(self.traffic)
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
        self.spared = Counter(
            "inhouse_spared_tokens",
            "Tokens that engines did not have to make because the client left: what the bound "
            "on its answer still allowed.",
            ("model",),
            registry=registry,
        )
        self.verdicts = Counter(
            "inhouse_dlp_verdicts", "Sensitive data found.", ("rule", "place"), registry=registry
        )
        self.audit_failures = Counter(
            "inhouse_audit_failures",
            "Requests refused because the log could not be written.",
            registry=registry,
        )
        self.break_glass = Gauge(
            "inhouse_break_glass_grants", "Break-glass grants that stand now.", registry=registry
        )
        self.provider_good = Gauge(
            "inhouse_oidc_keys_good_until_seconds",
            "Until when (seconds since 1970) access tokens are taken by the provider's keys, if it "
            "is not reached again; 0 without a provider.",
            registry=registry,
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
        formatter = logging.Formatter(
            "%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ"
        )
        formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logger = logging.getLogger("inhouse")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


Clock = Callable[[], float]
"""Seconds since the epoch. `time.time` in a process, a value of its own in a test."""
