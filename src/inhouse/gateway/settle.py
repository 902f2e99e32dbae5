"""Settle: what was used and how it ended, into the audit log and the metrics."""

from collections.abc import Mapping

from inhouse.config.schema import Model
from inhouse.domain import Dialect, Operation, OutcomeKind, Usage
from inhouse.gateway.record import Entry
from inhouse.telemetry import Metrics
from inhouse.upstream.pool import Target

UNKNOWN = "unknown"
_NO_TOKENS = frozenset(
    {
        Operation.EMBEDDING,
        Operation.OLLAMA_EMBED,
        Operation.OLLAMA_EMBEDDING,
        Operation.COUNT_TOKENS,
    }
)
"""What makes no tokens, so that leaving it spares none."""


class Meter:
    """The metrics of the request path."""

    def __init__(self, metrics: Metrics, models: frozenset[str]) -> None:
        self._metrics = metrics
        self._traffic = metrics.traffic
        self._models = models

    def count(self, entry: Entry, dialect: Dialect, outcome: OutcomeKind, status: int) -> None:
        """One request ended."""
        model = self._model(entry)
        self._traffic.requests[dialect, model, outcome, status] += 1
        if entry.tokens_made and model != UNKNOWN:
            self._traffic.models[model].completion_tokens += entry.tokens_made

    def abandoned(self, entry: Entry, models: Mapping[str, Model]) -> None:
        """A client left. What its answer could still have taken, the engine did not make; unless
        it had ended before, and only the client was not through with it."""
        name = self._model(entry)
        self._metrics.abandoned.labels(name).inc()
        ask, reader = entry.ask, entry.reader
        if ask is None or name == UNKNOWN or ask.operation in _NO_TOKENS:
            return
        if reader is not None and reader.complete:
            return
        made = entry.tokens_made or 0
        most = models[name].max_output_tokens
        bound = most if ask.max_tokens is None else min(ask.max_tokens, most)
        self._metrics.spared.labels(name).inc(max(0, bound * ask.choices - made))

    def answered(self, entry: Entry, usage: Usage) -> None:
        """One whole answer was given."""
        model = self._model(entry)
        if entry.ask is not None:
            self._traffic.requests[entry.ask.dialect, model, OutcomeKind.ANSWERED, 200] += 1
        traffic = self._traffic.models[model]
        traffic.duration_s.observe(entry.took_ms / 1000)
        traffic.first_byte_s.observe((entry.first_byte_ms or 0.0) / 1000)
        traffic.prompt_tokens += usage.prompt_tokens or 0
        traffic.completion_tokens += usage.completion_tokens or 0

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
