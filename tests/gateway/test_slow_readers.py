"""Clients that read slowly, say goodbye or leave, crossed with engines that break off: whatever
comes together, an end reaches a client only where the engine finished and the record is durable.

Buffers on the way are small and answers large, so that the gateway is paused by its client: an
engine breaks off in the moment in which it can send no more.
"""

import asyncio
import json
import re
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.faults import PATHS, ROUTES
from tests.gateway.harness import ENDS, Talk, ends_with_error, gateway
from tests.gateway.raw_engine import RawEngine, begin, chunk
from tests.gateway.test_endless_engines import probed

from inhouse.audit.files import Files
from inhouse.audit.read import records, rows
from inhouse.upstream.fake_engine import FakeEngine, Faults

WORD = b"w" * 6000
WORDS = " ".join([WORD.decode()] * 110)
SMALL = 8192  # bytes of each buffer on the way
READERS = ("waits", "drips", "half-closes", "leaves")
FAULTS = ("none", "cut", "reset", "stall", "corrupt", "error")
TOML = """
[limits]
requests_per_minute = 0
concurrent_requests = 0
queue_length = 500
[upstream]
probe_interval_s = 60
stall_timeout_s = 0.3
fall = 100
[models]
"""


@dataclass(slots=True)
class Trial:
    """One request: how the engine fails, how the client reads, and what came of it."""

    number: int
    route: str
    fault: str
    reader: str
    wire: bytes  # the engine's whole answer
    seen: bytes  # what a client sees of it
    struck: asyncio.Event = field(default_factory=asyncio.Event)  # the fault happened
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)  # the gateway let go of it
    paused: bool = False  # when it happened the engine could send no more

    def __str__(self) -> str:
        return f"{self.route}, {self.fault}, {self.reader}"

    @property
    def path(self) -> str:
        return PATHS[self.route.partition(",")[0]]

    @property
    def body(self) -> dict[str, Any]:
        asked = json.loads(json.dumps(ROUTES[self.route][1]).replace('"hi"', f'"<{self.number}>"'))
        return {**asked, "model": ROUTES[self.route][0], "stream": True}


async def play(trial: Trial, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send until the gateway takes no more, or until near the end; then fail there."""
    writer.transport.set_write_buffer_limits(high=0)
    sent = 0
    writer.write(begin())
    while sent < len(trial.wire) * 9 // 10 and not trial.paused and not writer.is_closing():
        writer.write(chunk(trial.wire[sent : sent + SMALL]))
        sent += SMALL
        try:
            await asyncio.wait_for(writer.drain(), 0.15)
        except TimeoutError:
            trial.paused = True
    trial.struck.set()
    if trial.fault == "reset":
        connected = writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    elif trial.fault == "cut":
        writer.close()
    elif trial.fault == "stall":
        await reader.read(1)
    else:
        rest = trial.wire[sent:]
        if trial.fault == "corrupt":
            rest = b"\0" + rest[1:]
        elif trial.fault == "error":
            lines = trial.wire.startswith(b"{")
            error = b'{"error":{"message":"x","code":500}}\n'
            rest = b"\n" + error + rest if lines else b"\n\ndata: " + error + b"\n" + rest
        writer.write(chunk(rest) + b"0\r\n\r\n")
        await writer.drain()


class Client:
    """A client whose system takes little ahead of it."""

    def __init__(self, talk: Talk) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        self._socket.setblocking(False)
        self._talk = talk
        self.got = b""

    async def ask(self, trial: Trial, asked: dict[str, Any] | None = None) -> None:
        url = self._talk.client.base_url
        await self._loop.sock_connect(self._socket, (url.host, url.port))
        request = self._talk.request(trial.path, **(asked or trial.body))
        request = request.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n")
        await self._loop.sock_sendall(self._socket, request)

    async def read(self, most: int = 1 << 16) -> bool:
        """Whether there was something."""
        data = await self._loop.sock_recv(self._socket, most)
        self.got += data
        return bool(data)

    async def read_all(self) -> None:
        try:
            while await self.read():
                pass
        except ConnectionError:
            self.got += b"<reset>"

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    @property
    def body(self) -> bytes:
        """What came, without its framing."""
        _, _, rest = self.got.partition(b"\r\n\r\n")
        found = b""
        while match := re.match(rb"([0-9a-f]+)\r\n", rest):
            size = int(match[1], 16)
            found += rest[match.end() : match.end() + size]
            rest = rest[match.end() + size + 2 :]
        return found

    @property
    def whole_message(self) -> bool:
        return self.got.endswith(b"\r\n0\r\n\r\n")


async def reads(client: Client, trial: Trial) -> None:
    """Read as this reader does."""
    if trial.reader == "waits":
        await trial.struck.wait()
        await asyncio.sleep(0.05)
    elif trial.reader == "drips":
        for _ in range(20):
            if not await client.read(512):
                return
            await asyncio.sleep(0.01)
    else:
        for _ in range(trial.number % 7 + 1):
            await client.read(2048)
        if trial.number % 2:
            await trial.struck.wait()
        if trial.reader == "leaves":
            client.close()
            return
        client.half_close()
    await client.read_all()


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[tuple[Talk, dict[int, Trial]]]:
    """A gateway over an engine that plays what each request is a trial of."""
    trials: dict[int, Trial] = {}

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> None:
        number = re.search(rb"<(\d+)>", body)
        assert number is not None
        trial = trials[int(number[1])]
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        try:
            await play(trial, reader, writer)
        finally:
            trial.hung_up.set()

    async with RawEngine(script, probed) as engine:
        kinds = sorted({kind for kind, _ in ROUTES.values()})
        models = "".join(f'{kind} = "{kind}://127.0.0.1:{engine.port}/m"\n' for kind in kinds)
        async with gateway(directory, toml=TOML + models, send_buffer_bytes=SMALL) as talk:
            yield talk, trials


async def recorded(directory: Path) -> dict[str, tuple[bytes, bytes]]:
    """What an engine sends for each route, and what a client sees of it."""
    found = {}
    async with FakeEngine(Faults(answer=WORDS)) as engine:
        kinds = sorted({kind for kind, _ in ROUTES.values()})
        models = "".join(f'{kind} = "{kind}://127.0.0.1:{engine.port}/m"\n' for kind in kinds)
        async with gateway(directory, toml=TOML + models) as talk:
            for route in ROUTES:
                trial = Trial(0, route, "none", "drips", b"", b"")
                answer = await talk.client.post(trial.path, json=trial.body)
                assert ENDS[trial.path] in answer.content
                asked = engine.requests[-1]
                direct = await talk.client.post(engine.url + asked.path, content=asked.body)
                found[route] = direct.content, answer.content
    return found


def outcome_of(talk: Talk, client: Client) -> str | None:
    """What the log holds now of this client's request."""
    request_id = re.search(rb"x-request-id: (\S+)", client.got)
    assert request_id is not None, client.got[:300]
    for row in rows(records(talk.config.audit_directory)):
        if row.request_id == request_id[1].decode():
            return row.outcome
    return None


def judge(talk: Talk, trial: Trial, client: Client) -> None:
    body = client.body
    complete = ENDS[trial.path] in body
    outcome = outcome_of(talk, client)
    if complete:
        assert trial.fault == "none", f"{trial}: looks complete"
        assert outcome == "answered", f"{trial}: complete, but {outcome} in the log"
        assert client.whole_message
        assert body.count(WORD) == trial.seen.count(WORD), str(trial)
    elif trial.reader in ("waits", "drips"):
        assert trial.fault != "none", f"{trial}: was cut"
        assert outcome == "truncated", f"{trial}: {outcome}"
        assert client.whole_message, f"{trial}: {client.got[-200:]!r}"
        assert ends_with_error(trial.path, body), f"{trial}: {body[-200:]!r}"
    else:
        assert outcome in ("cancelled", "truncated"), f"{trial}: {outcome}"
        assert trial.reader != "half-closes" or not client.whole_message or outcome == "truncated"


async def test_slow_readers_of_broken_answers(tmp_path: Path) -> None:
    for name in ("sound", "broken"):
        (tmp_path / name).mkdir()
    known = await recorded(tmp_path / "sound")
    at_once = asyncio.Semaphore(24)
    async with stage(tmp_path / "broken") as (talk, trials):

        async def one(trial: Trial) -> None:
            async with at_once:
                client = Client(talk)
                try:
                    await client.ask(trial)
                    async with asyncio.timeout(30):
                        await reads(client, trial)
                        if trial.reader in ("leaves", "half-closes"):
                            await asyncio.wait_for(trial.hung_up.wait(), 5)
                            await asyncio.sleep(0.1)  # for the record of it
                    judge(talk, trial, client)
                finally:
                    client.close()

        for route in ROUTES:
            for fault in FAULTS:
                for reader in READERS:
                    number = len(trials)
                    trials[number] = Trial(number, route, fault, reader, *known[route])
        await asyncio.gather(*(one(trial) for trial in trials.values()))
        waiting = [trial for trial in trials.values() if trial.reader == "waits"]
        assert all(trial.paused for trial in waiting)
        assert talk.verify() == []


async def paused_ones(
    directory: Path, talk: Talk, trials: dict[int, Trial]
) -> list[tuple[Trial, Client]]:
    """A sound answer on every route, each held up by a client that reads nothing of it yet."""
    known = await recorded(directory)
    found = []
    for route in ROUTES:
        trial = trials[len(trials)] = Trial(len(trials), route, "none", "waits", *known[route])
        client = Client(talk)
        await client.ask(trial)
        found.append((trial, client))
    async with asyncio.timeout(20):
        for trial, _ in found:
            await trial.struck.wait()
    assert all(trial.paused for trial, _ in found)
    return found


async def test_a_log_that_fails_while_answers_are_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Files, __: int, ___: bytes) -> None:
        raise OSError(28, "No space left on device")

    for name in ("sound", "held"):
        (tmp_path / name).mkdir()
    async with stage(tmp_path / "held") as (talk, trials):
        held = await paused_ones(tmp_path / "sound", talk, trials)
        with monkeypatch.context() as disk:
            disk.setattr(Files, "write", full)
            await asyncio.gather(*(client.read_all() for _, client in held))
        for trial, client in held:
            last = client.body[-1000:]
            assert ENDS[trial.path] not in client.body, str(trial)
            assert b"audit_unavailable" in last, str(trial)
            assert client.whole_message
            client.close()
        async with asyncio.timeout(10):
            while (await talk.admin.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.05)
        assert talk.verify() == []


async def test_a_log_that_hangs_holds_the_ends_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back, sync = threading.Event(), Files.sync

    def hangs(files: Files, file: int) -> None:
        back.wait(20)
        sync(files, file)

    for name in ("sound", "held"):
        (tmp_path / name).mkdir()
    async with stage(tmp_path / "held") as (talk, trials):
        held = await paused_ones(tmp_path / "sound", talk, trials)
        monkeypatch.setattr(Files, "sync", hangs)
        reading = asyncio.gather(*(client.read_all() for _, client in held))
        try:
            await asyncio.sleep(1)
            for trial, client in held:
                assert client.body.count(WORD) >= 60, f"{trial} did not go on"
                assert ENDS[trial.path] not in client.body, str(trial)
        finally:
            back.set()
        await reading
        for trial, client in held:
            judge(talk, trial, client)
            assert ENDS[trial.path] in client.body
            client.close()
