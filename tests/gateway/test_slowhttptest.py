"""Two thousand connections of slowhttptest, in each of its modes, and good clients beside them."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.conftest import Running, started
from tests.gateway.harness import BODIES

from inhouse.process import raise_open_files
from inhouse.upstream.fake_engine import FakeEngine, Faults

PROGRAM = shutil.which("slowhttptest")
CONNECTIONS = 2000
LASTS_S = 3
CHAT = "/v1/chat/completions"
MODES = {
    # what it does, and whether it gets to hold its connections
    "slow headers": (["-H", "-i", "1", "-x", "24"], True),
    "slow bodies": (["-B", "-i", "1", "-s", "8192", "-x", "10"], True),
    "slow bodies without a key": (["-B", "-i", "1", "-s", "8192", "-x", "10"], False),
    "slow reading": (["-X", "-k", "10", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"], True),
    "ranges": (["-R", "-a", "10", "-b", "3000"], False),
}

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="slowhttptest is a package of Debian")


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Running]:
    """A gateway in a process of its own, over an engine in this one."""
    async with FakeEngine(Faults(tokens=5)) as engine:
        toml = f'[models.m]\nengines = ["openai://127.0.0.1:{engine.port}/m"]\n'
        toml += "[limits]\nrequests_per_minute = 0\n"
        up = started(directory / "data", toml)
        running = await asyncio.to_thread(up.__enter__)
        try:
            yield running
        finally:
            await asyncio.to_thread(up.__exit__, None, None, None)


def command(running: Running, mode: str) -> list[str]:
    path = CHAT if "bodies" in mode else "/v1/models"
    # It has no option for a credential; the value of Accept is sent as it is given
    accept = "*/*" if "without" in mode else f"*/*\r\nAuthorization: Bearer {running.key}"
    size = ["-c", str(CONNECTIONS), "-r", "2000", "-l", str(LASTS_S), "-p", "3"]
    options = [*MODES[mode][0], *size, "-m", accept, "-u", running.url + path]
    return [str(PROGRAM), *options, "-f", "application/json"]


async def attacked(running: Running, mode: str) -> str:
    """What it says at its end; it needs a file per connection."""
    process = await asyncio.create_subprocess_exec(
        *command(running, mode),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "TERM": "dumb"},
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 40)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said[-1000:]
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", said.decode())


async def connections(admin: httpx.AsyncClient) -> int:
    metrics = (await admin.get("/metrics")).text
    found = re.search(r"^inhouse_client_connections (\S+)", metrics, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


@pytest.mark.parametrize("mode", list(MODES))
async def test_good_clients_beside_slow_ones(tmp_path: Path, mode: str) -> None:
    raise_open_files()
    async with serving(tmp_path) as running:
        headers = {"authorization": f"Bearer {running.key}"}
        async with (
            httpx.AsyncClient(base_url=running.url, headers=headers, timeout=5) as client,
            httpx.AsyncClient(base_url=running.admin_url, timeout=5) as admin,
        ):
            attack = asyncio.create_task(attacked(running, mode))
            answered = most = 0
            while not attack.done():
                answer = await client.post(CHAT, json=BODIES[CHAT])
                assert answer.status_code == 200, answer.text
                answered += 1
                most = max(most, await connections(admin))
                await asyncio.sleep(0.02)
            said = await attack
        assert answered > 20
        assert set(re.findall(r"service available:\s*(\w+)", said)) == {"YES"}, said[-1000:]
        if MODES[mode][1]:
            assert most > CONNECTIONS // 4, said[-1000:]  # all, where the machine is not busy
        else:
            assert "No open connections left" in said
