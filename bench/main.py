"""Measures every peer in turn, round after round, against one fake engine, and writes a report.

    bench/run [--quick] [--rounds N] [--only NAME[,NAME]]

Each proxy runs on a core of its own, engine and load on the other. Per round and peer: CPU per
request (32 connections, whole answers of about 0.5 KB), CPU per request with 400 KB of prompt,
CPU per event at many paced streams, first-token times beside those without any proxy, memory. The
median over the rounds is what is reported. Behind the rounds: faults by the thousand.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.peers import ALL, INHOUSE, Peer, Started
from bench.processes import cpu_s, free_port, rss_mib, running
from bench.report import write

RESULTS = Path(__file__).parent / "results"
WHOLE_TOKENS = 80  # about 0.5 KB of answer
RATE = 30
CONNECTIONS = 32
SHORT, LONG = 440, 400_000  # bytes of a prompt; with the rest of the body 0.5 KB and 400 KB
ENGINE_CORE = 0
FAULTS = 10_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much work one measurement is."""

    requests: int
    long_requests: int
    streams: int
    stream_tokens: int
    first_tokens: int  # requests whose time to the first token is taken


FULL = Size(requests=8000, long_requests=300, streams=1000, stream_tokens=150, first_tokens=2000)
SLOW = Size(requests=300, long_requests=30, streams=40, stream_tokens=60, first_tokens=200)
QUICK = Size(requests=1000, long_requests=60, streams=200, stream_tokens=60, first_tokens=300)


def load_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench.load", *map(str, arguments)]


def load(*arguments: object) -> dict[str, float]:
    """One load; RuntimeError where an answer was wrong."""
    done = subprocess.run(load_command(*arguments), check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    if result["wrong"] or result["unequal"] or result["answers"] != arguments[3]:
        raise RuntimeError(f"wrong answers: {result}")
    return result


def set_engine(port: int, **faults: float | str) -> None:
    """Tell the fake engine what to do."""
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", "/fake/faults", json.dumps(faults))
    assert connection.getresponse().status == 200
    connection.close()


def measure(peer: Peer, started: Started, engine: int, size: Size) -> dict[str, float]:
    """One round of one peer."""
    port, key, pid = started.port, started.key, started.pid
    exact = [] if peer.slow else [engine]  # LiteLLM writes answers anew

    set_engine(engine, tokens=WHOLE_TOKENS)
    whole = ("whole", WHOLE_TOKENS, SHORT, *exact)
    load(port, key, CONNECTIONS, max(64, size.requests // 20), *whole)  # warm
    idle_mib = rss_mib(pid)
    request_us = cpu_us(pid, port, key, CONNECTIONS, size.requests, *whole)
    long_us = cpu_us(pid, port, key, 4, size.long_requests, "whole", WHOLE_TOKENS, LONG, *exact)

    set_engine(engine, tokens=2, rate=1000, first_token_s=0.02)
    first = (CONNECTIONS, size.first_tokens, "stream", 2, SHORT)
    through = load(port, key, *first)
    direct = load(engine, "none", *first)

    set_engine(engine, tokens=size.stream_tokens, rate=RATE)
    before, floor_mib = cpu_s(pid), rss_mib(pid)
    streaming = (size.streams, size.streams, "stream", size.stream_tokens, SHORT, *exact)
    command = load_command(port, key, *streaming)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as streams:
        time.sleep(size.stream_tokens / RATE * (1.7 if exact else 0.7))
        busy_mib = rss_mib(pid)
        told = json.loads(streams.communicate()[0])
    if told["wrong"] or told["unequal"]:
        raise RuntimeError(f"{peer.name}: wrong streams: {told}")
    events = size.streams * size.stream_tokens
    return {
        "request_us": request_us,
        "long_us": long_us,
        "event_us": (cpu_s(pid) - before) / events * 1e6,
        "first_p50_ms": through["first_p50_ms"] - direct["first_p50_ms"],
        "first_p99_ms": through["first_p99_ms"] - direct["first_p99_ms"],
        "idle_mib": idle_mib,
        "stream_kib": max(0.0, busy_mib - floor_mib) * 1024 / size.streams,
        "streams": size.streams,
        "streams_took_s": told["took_s"],
        "streams_due_s": size.stream_tokens / RATE,
    }


def cpu_us(pid: int, *arguments: object) -> float:
    """CPU of a process tree per request of one load."""
    before = cpu_s(pid)
    load(*arguments)
    requests = arguments[3]
    assert isinstance(requests, int)
    return (cpu_s(pid) - before) / requests * 1e6


def faults() -> dict[str, object]:
    """Faults by the thousand through a gateway, and what must not be seen of them."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gateway.faults", str(FAULTS)],
        check=False,
        capture_output=True,
        text=True,
    )
    result: dict[str, object] = json.loads(done.stdout)
    return result


def rounds(peers: list[Peer], count: int, quick: bool) -> dict[str, list[dict[str, float]]]:
    """Every peer once per round, in turn, each freshly started."""
    found: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        port = free_port()
        command = [str(INHOUSE), "fake-engine", "--port", str(port), "--model", "bench"]
        with running(command, port, log=work / "engine.out", core=ENGINE_CORE):
            for number in range(count):
                for peer in peers:
                    size = SLOW if peer.slow else QUICK if quick else FULL
                    place = work / f"{number}-{peer.name.replace(' ', '-')}"
                    place.mkdir()
                    with peer.start(port, place) as started:
                        time.sleep(1.0)
                        result = measure(peer, started, port, size)
                    found[peer.name].append(result)
                    print(f"round {number + 1}/{count}  {peer.name:<28}", _line(result), flush=True)
    return found


def _line(result: dict[str, float]) -> str:
    return (
        f"{result['request_us']:8.0f} µs/request {result['event_us']:8.1f} µs/event  first token "
        f"+{result['first_p50_ms']:.2f}/+{result['first_p99_ms']:.2f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=0, help="rounds (5; 1 with --quick)")
    parser.add_argument("--only", default="", help="comma-separated names")
    options = parser.parse_args()
    only = [name.strip() for name in options.only.split(",") if name.strip()]
    peers = [peer for peer in ALL if not only or peer.name in only]
    count = options.rounds or (1 if options.quick else 5)
    os.sched_setaffinity(0, {ENGINE_CORE})  # the load; proxies are started on the other core
    found = rounds(peers, count, options.quick)
    medians = {
        name: {key: statistics.median(each[key] for each in results) for key in results[0]}
        for name, results in found.items()
    }
    if options.quick or only:
        print(json.dumps(medians, indent=2))
        return
    broken = faults()
    controls = {peer.name: asdict(peer)["controls"] for peer in ALL}
    write(RESULTS, medians, found, controls, count, broken)
    print(f"written to {RESULTS.name}/")


if __name__ == "__main__":
    main()
