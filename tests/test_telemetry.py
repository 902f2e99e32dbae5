"""The metrics and the operator's log, as they are read."""

import logging
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inhouse.telemetry import Metrics, configure_logging


def read(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by name and label values, in the order of the labels' names."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_counts_and_distributions() -> None:
    metrics = Metrics()
    metrics.traffic.requests["openai", "m", "answered", 200] += 3
    traffic = metrics.traffic.models["m"]
    for seconds in (0.04, 0.05, 7.0, 10_000.0):
        traffic.duration_s.observe(seconds)
    traffic.prompt_tokens += 12
    samples = read(metrics)
    assert samples["inhouse_requests_total", ("openai", "m", "answered", "200")] == 3
    assert samples["inhouse_tokens_total", ("prompt", "m")] == 12
    assert samples["inhouse_tokens_total", ("completion", "m")] == 0
    name = "inhouse_request_duration_seconds"
    assert samples[f"{name}_bucket", ("0.05", "m")] == 2  # a bound is within its bucket
    assert samples[f"{name}_bucket", ("10.0", "m")] == 3
    assert samples[f"{name}_bucket", ("+Inf", "m")] == 4
    assert samples[f"{name}_count", ("m",)] == 4
    assert samples[f"{name}_sum", ("m",)] == 0.04 + 0.05 + 7.0 + 10_000.0


def test_nothing_counted_is_nothing_said() -> None:
    assert not any(name.startswith("inhouse_tokens") for name, _ in read(Metrics()))


def test_there_is_no_second_series_for_each_counter() -> None:
    metrics = Metrics()
    metrics.malformed.inc()
    metrics.traffic.models["m"].duration_s.observe(1)
    assert b"inhouse_malformed_requests_total 1.0" in metrics.exposition()
    assert b"_created" not in metrics.exposition()


def test_times_are_whole_and_utc(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("inhouse")
    before = logger.handlers[:], logger.level, logger.propagate
    monkeypatch.setattr("time.localtime", None)  # nobody's own time is asked
    try:
        configure_logging("info", "text")
        logger.info("a sentence")
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    said = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO    a sentence\n", said)
