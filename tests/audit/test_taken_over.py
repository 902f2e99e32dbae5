"""A process that is stopped while it reads the log's end, and goes on once its lock was taken over:
nothing that was acknowledged is lost, and nothing is altered."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inhouse.audit import chain as chain_module
from inhouse.audit.chain import Chain
from inhouse.audit.files import Files
from inhouse.audit.read import records
from inhouse.audit.record import Denial, encode
from inhouse.audit.verify import verify

KEY = b"k" * 32


def denial(name: str) -> bytes:
    return encode(Denial(name, 1.0, "x", "/v1", "denied", 401, "c"))


class HalfWritten(Files):
    """Says when half of a batch is in the file."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None

    def write(self, file: int, data: bytes) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is None:
            super().write(file, data)
            return
        super().write(file, data[:20])
        meanwhile()
        super().write(file, data[20:])


class Stopped:
    """A process that was stopped when it had the lock and looked where the log ends."""

    def __init__(self, chain: Chain, acknowledged: list[str]) -> None:
        self._chain = chain
        self._look: Any = chain._end
        self._acknowledged = acknowledged
        self.looks, self.goes_on = threading.Event(), threading.Event()
        chain._end = self._stopped  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self._commit)
        self.thread.start()
        assert self.looks.wait(10)

    def _stopped(self) -> Any:
        self._chain._end = self._look  # type: ignore[method-assign]
        self.looks.set()
        self.goes_on.wait(10)
        return self._look()

    def _commit(self) -> None:
        self._chain.commit([denial("b1")])
        self._acknowledged.append("b1")


@pytest.mark.parametrize("within_a_batch", [False, True])
def test_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within_a_batch: bool
) -> None:
    monkeypatch.setattr(chain_module, "LOCK_S", 1.0)
    directory, acknowledged, files = tmp_path / "audit", list[str](), HalfWritten()

    def chain(files: Files) -> Chain:
        mark = tmp_path / "mark"
        return Chain(directory, KEY, segment_bytes=1 << 20, clock=time.time, mark=mark, files=files)

    gateway, command = chain(files), chain(Files())
    gateway.open(close_open=True)
    command.open(close_open=False)

    def commit(name: str) -> None:
        gateway.commit([denial(name)])
        acknowledged.append(name)

    commit("a1")
    gateway._let_go()
    stopped = Stopped(command, acknowledged)
    commit("a2")  # takes the lock over
    commit("a3")

    def go_on() -> None:
        stopped.goes_on.set()
        time.sleep(0.1)

    if within_a_batch:
        files.meanwhile = go_on
    else:
        go_on()
    commit("a4")
    commit("a5")
    gateway._let_go()
    stopped.thread.join(10)
    assert not stopped.thread.is_alive()
    gateway.close()
    command.close()

    found = [each.request_id for each in records(directory) if isinstance(each, Denial)]
    assert sorted(found) == sorted(acknowledged) == ["a1", "a2", "a3", "a4", "a5", "b1"]
    assert verify(directory, KEY).findings == []
