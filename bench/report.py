"""Writes what was measured: JSON with every round, a table, a picture."""

import json
import os
import platform
from datetime import UTC, datetime
from html import escape
from math import log10
from pathlib import Path

Medians = dict[str, dict[str, float]]

COLUMNS = (
    ("request_us", "CPU per request, µs", "{:.0f}"),
    ("long_us", "CPU per request of 400 KB, µs", "{:.0f}"),
    ("event_us", "CPU per event, µs", "{:.1f}"),
    ("first_p50_ms", "added to first token, p50, ms", "{:+.2f}"),
    ("first_p99_ms", "p99, ms", "{:+.2f}"),
    ("idle_mib", "memory idle, MiB", "{:.0f}"),
    ("stream_kib", "per open stream, KiB", "{:.0f}"),
    ("streams", "streams", "{:.0f}"),
    ("streams_took_s", "they took, s", "{:.2f}"),
)


def machine() -> dict[str, str]:
    """What it ran on, without names of anybody's."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu,
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }


def write(
    directory: Path,
    medians: Medians,
    rounds: dict[str, list[dict[str, float]]],
    controls: dict[str, str],
    count: int,
    broken: dict[str, object],
) -> None:
    """latest.json, README.md and overhead.svg in `directory`."""
    directory.mkdir(exist_ok=True)
    document = {
        "machine": machine(),
        "rounds": count,
        "medians": medians,
        "each_round": rounds,
        "faults": broken,
    }
    (directory / "latest.json").write_text(json.dumps(document, indent=1) + "\n")
    (directory / "README.md").write_text(table(medians, controls, count, broken))
    (directory / "overhead.svg").write_text(picture(medians))


def table(medians: Medians, controls: dict[str, str], count: int, broken: dict[str, object]) -> str:
    facts = machine()
    violations = broken["violations"]
    assert isinstance(violations, list)
    heads = " | ".join(title for _, title, _ in COLUMNS)
    lines = [
        "# Results",
        "",
        f"Measured on {facts['date']}: {facts['cores']} cores of {facts['cpu']}, "
        f"{facts['memory']}, Linux {facts['kernel']}, Python {facts['python']}; medians of "
        f"{count} alternating rounds, every proxy in one process (LiteLLM with one worker), every "
        "answer checked. The machine was shared; expect ± 20 %.",
        "",
        "![CPU per request and per event](overhead.svg)",
        "",
        f"| proxy | controls | {heads} |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    for name, values in medians.items():
        cells = " | ".join(form.format(values[key]) for key, _, form in COLUMNS)
        lines.append(f"| {name} | {controls[name]} | {cells} |")
    lines += [
        "",
        "CPU is user and system time of the proxy's whole process tree, from the kernel; the proxy "
        "has one core, engine and load the other. Requests: 32 connections, prompts and answers of "
        "about 0.5 KB, not streamed. Events: paced streams of 30 tokens per second each, five "
        "seconds long, as many as the table says; LiteLLM cannot carry a thousand and gets fewer "
        "and shorter ones. First token: 32 in flight, less the same without a proxy. Answers of "
        "all but LiteLLM, which writes them anew, are held against the engine's byte for byte.",
        "",
        f"Faults injected into engines' answers behind Inhouse: {broken['trials']}; broken answers "
        f"that looked complete, or whole ones that were cut: {len(violations)}.",
        "",
        "Run it: `make bench` (about a quarter of an hour), or `make bench ARGS=--quick`.",
    ]
    return "\n".join(lines) + "\n"


WIDTH, ROW, LEFT, TOP = 860, 26, 210, 64


def picture(medians: Medians) -> str:
    """Two bar charts on logarithmic axes, side by side."""
    height = TOP + ROW * len(medians) + 24
    half = (WIDTH - LEFT) // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="24" font-size="16" font-weight="bold">What a proxy costs</text>',
    ]
    for place, (key, title) in enumerate(
        (
            ("request_us", "CPU per request, µs (log)"),
            ("event_us", "CPU per streamed event, µs (log)"),
        )
    ):
        left = LEFT + place * half
        values = [row[key] for row in medians.values()]
        low, high = log10(max(0.5, min(values) / 2)), log10(max(values) * 1.2)
        parts.append(f'<text x="{left}" y="{TOP - 14}" fill="#444">{title}</text>')
        for number, (name, row) in enumerate(medians.items()):
            y = TOP + number * ROW
            length = max(2.0, (log10(max(0.5, row[key])) - low) / (high - low) * (half - 80))
            colour = "#1f6f5c" if name.startswith("inhouse") else "#9aa5b1"
            if not place:
                parts.append(
                    f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
                )
            parts.append(
                f'<rect x="{left}" y="{y}" width="{length:.0f}" height="18" fill="{colour}"/>'
                f'<text x="{left + length + 6:.0f}" y="{y + 14}" fill="#222">{row[key]:,.1f}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"
