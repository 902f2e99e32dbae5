"""What tests share: `inhouse up` as its user starts it, on free ports and a data directory of
its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from tests.store import harness


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


postgresql = harness.postgresql  # a fixture, for every test

START_S = 60
STOP_S = 30


@dataclass(frozen=True, slots=True)
class Running:
    """A started `inhouse up`."""

    url: str
    admin_url: str
    key: str
    data: Path
    process: "subprocess.Popen[str]"

    def stop(self) -> int:
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_S)


def environment(**more: str) -> dict[str, str]:
    """An environment without INHOUSE_ variables, on one thread per engine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INHOUSE_")}
    return kept | more


@contextmanager
def started(
    data: Path, toml: str = "", *, prefix: tuple[str, ...] = (), log: Path | None = None
) -> Iterator[Running]:
    """`inhouse up --json` with this configuration; ports are free ones."""
    config = data.with_suffix(".toml")
    ports = '[gateway]\nlisten = "127.0.0.1:0"\n' if "[gateway]" not in toml else ""
    config.write_text(f'{ports}{toml}\n[admin]\nlisten = "127.0.0.1:0"\n')
    command = [sys.executable, "-m", "inhouse", "up", "--json"]
    with log.open("w") if log else nullcontext() as stderr:
        process = subprocess.Popen(
            [*prefix, *command, "--config", str(config), "--data", str(data)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment(),
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"inhouse up ended with status {process.wait(START_S)}"
        told = json.loads(line)
        yield Running(told["url"], told["admin_url"], told["key"], data, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


EMBEDDED = """
[engines.chat]
kind = "embedded"
path = "{models}/smollm2-135m.gguf"
threads = 1
[engines.embed]
kind = "embedded"
path = "{models}/all-minilm-l6-v2.gguf"
threads = 1
[models]
chat = {{ engines = ["chat"] }}
embed = {{ engines = ["embed"] }}
"""


def embedded() -> str:
    """The two built-in models, on one thread each, under names of the test's own."""
    return EMBEDDED.format(models=Path(sys.prefix) / "share" / "inhouse" / "models")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway over the real engine with real weights, for the whole run."""
    with started(tmp_path_factory.mktemp("real") / "data", embedded()) as running:
        yield running
