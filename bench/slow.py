"""What slow clients cost the others: 2,000 that drip their heads, 500 that do not read.

    python -m bench.slow

Prints one JSON object: time and CPU per good request, alone and beside the slow ones; and the
memory of the gateway before and while readers are stalled.
"""

import asyncio
import json
import socket
import tempfile
import time
from pathlib import Path

import uvloop
from bench.main import CONNECTIONS, SHORT, WHOLE_TOKENS, load, set_engine
from bench.peers import INHOUSE, OURS
from bench.processes import cpu_s, free_port, rss_mib, running

from inhouse.process import raise_open_files

SLOW, STALLED = 2000, 500
REQUESTS = 4000
ROUNDS = 5


async def dripping(port: int, count: int, stop: asyncio.Event) -> None:
    """So many clients, each a byte of its head every few seconds, until told to stop."""

    async def one(number: int) -> None:
        while not stop.is_set():
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                for byte in b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-pad: aaaaaaa":
                    writer.write(bytes([byte]))
                    await asyncio.sleep(2 + number % 7 / 7)
            except OSError:
                await asyncio.sleep(0.5)

    tasks = [asyncio.create_task(one(number)) for number in range(count)]
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def good(port: int, key: str, pid: int) -> tuple[float, float]:
    """Microseconds of wall time and of CPU per good request."""
    before, began = cpu_s(pid), time.perf_counter()
    load(port, key, CONNECTIONS, REQUESTS, "whole", WHOLE_TOKENS, SHORT)
    took = time.perf_counter() - began
    return took / REQUESTS * 1e6, (cpu_s(pid) - before) / REQUESTS * 1e6


async def beside(port: int, key: str, pid: int) -> tuple[float, float]:
    """The same, beside slow clients."""
    stop = asyncio.Event()
    slow = asyncio.create_task(dripping(port, SLOW, stop))
    await asyncio.sleep(3)
    try:
        return await asyncio.to_thread(good, port, key, pid)
    finally:
        stop.set()
        await slow


def stall(port: int, key: str, count: int) -> list[socket.socket]:
    """Clients that ask for a long stream and read nothing of it."""
    body = json.dumps(
        {"model": "bench", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    ).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    held = []
    for _ in range(count):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", port))
        client.sendall(request)
        held.append(client)
    return held


def main() -> None:
    raise_open_files()
    with tempfile.TemporaryDirectory() as name:
        work, engine = Path(name), free_port()
        command = [str(INHOUSE), "fake-engine", "--port", str(engine), "--model", "bench"]
        with (
            running(command, engine, log=work / "engine.out"),
            OURS[0].start(engine, work) as started,
        ):
            set_engine(engine, tokens=WHOLE_TOKENS)
            port, key, pid = started.port, started.key, started.pid
            good(port, key, pid)
            alone, slowed = [], []
            for _ in range(ROUNDS):
                alone.append(good(port, key, pid))
                slowed.append(uvloop.run(beside(port, key, pid)))
            set_engine(engine, answer=" ".join(["w" * 1000] * 4096))  # 4 MB each
            before = rss_mib(pid)
            held = stall(port, key, STALLED)
            readings = []
            for _ in range(10):
                time.sleep(3)
                readings.append(round(rss_mib(pid), 1))
            for client in held:
                client.close()
    middle = ROUNDS // 2
    print(
        json.dumps(
            {
                "alone_us": sorted(alone)[middle],
                "beside_slow_us": sorted(slowed)[middle],
                "rss_before_mib": round(before, 1),
                "rss_stalled_mib": readings,
            }
        )
    )


if __name__ == "__main__":
    main()
