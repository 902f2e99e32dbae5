"""Settle: what was used and how it ended, into the audit log and the metrics."""

from prometheus_client import Counter, Histogram

from inhouse.domain import Dialect, OutcomeKind, Usage
from inhouse.gateway.record import Entry
from inhouse.telemetry import Metrics
from inhouse.upstream.pool import Target

UNKNOWN = "unknown"


class Meter:
    """The metrics of the request path. Keeps the labelled children: looking one up costs more
    than counting on it."""

    def __init__(self, metrics: Metrics, models: frozenset[str]) -> None:
        self._metrics = metrics
        self._models = models
        self._requests: dict[tuple[str, str, str, int], Counter] = {}
        self._by_model: dict[str, tuple[Histogram, Histogram, Counter, Counter]] = {}

    def count(self, entry: Entry, dialect: Dialect, outcome: OutcomeKind, status: int) -> None:
        """One request ended."""
        model = self._model(entry)
        name = (dialect.value, model, outcome.value, status)
        child = self._requests.get(name)
        if child is None:
            child = self._requests[name] = self._metrics.requests.labels(*name[:3], str(status))
        child.inc()
        if outcome is OutcomeKind.CANCELLED:
            self._metrics.abandoned.labels(model).inc()

    def answered(self, entry: Entry, usage: Usage) -> None:
        """One whole answer was given."""
        model = self._model(entry)
        if entry.ask is not None:
            self.count(entry, entry.ask.dialect, OutcomeKind.ANSWERED, 200)
        children = self._by_model.get(model)
        if children is None:
            metrics = self._metrics
            children = self._by_model[model] = (
                metrics.duration.labels(model),
                metrics.first_byte.labels(model),
                metrics.tokens.labels(model, "prompt"),
                metrics.tokens.labels(model, "completion"),
            )
        duration, first_byte, prompt, completion = children
        duration.observe(entry.duration_ms() / 1000)
        first_byte.observe((entry.first_byte_ms or 0.0) / 1000)
        prompt.inc(usage.prompt_tokens or 0)
        completion.inc(usage.completion_tokens or 0)

    def failed_over(self, target: Target) -> None:
        """This engine took over a request that another had failed."""
        self._metrics.failovers.labels(target.name).inc()

    def unrecorded(self) -> None:
        """A request was refused because the log could not take its record."""
        self._metrics.audit_failures.inc()

    def found(self, rule: str, place: str) -> None:
        """Sensitive data was found in a prompt or an answer."""
        self._metrics.verdicts.labels(rule, place).inc()

    def _model(self, entry: Entry) -> str:
        asked = entry.ask.model if entry.ask is not None else UNKNOWN
        return asked if asked in self._models else UNKNOWN
