"""The counts of the request path, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from inhouse.telemetry import Metrics


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
