"""The log under load, on failing disks, and after it was killed."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inhouse.audit.files import Files
from inhouse.audit.head import write_head
from inhouse.audit.log import AuditLog
from inhouse.audit.read import records, rows
from inhouse.audit.record import Gap, Intent, Outcome, Read, Repaired, Started
from inhouse.audit.segment import Link, segments, walk
from inhouse.audit.verify import verify
from inhouse.errors import AuditUnavailable

KEY = bytes(range(32))


def opened(directory: Path, *, files: Files | None = None, **options: object) -> AuditLog:
    settings = {"segment_bytes": 1 << 20, "clock": time.time, **options}
    return AuditLog.open(directory, KEY, files=files, **settings)  # type: ignore[arg-type]


def link_head(path: Path) -> Link:
    """The head as it is while the last record is being written: at the one before."""
    first = next(walk(path, KEY, Link()))
    assert first.line is not None
    return Link(first.line.n, bytes.fromhex(first.line.mac))


def intent(number: int) -> Intent:
    return Intent(
        request_id=f"req_{number}",
        time=1.0,
        address="127.0.0.1",
        principal_id="key:a",
        principal_name="anna",
        dialect="openai",
        operation="chat",
        route="/v1/chat/completions",
        model="m",
        authorized_by="key-any-model",
        bytes_in=10,
        fingerprint="f",
        fingerprint_last="l",
    )


def outcome(number: int) -> Outcome:
    return Outcome(f"req_{number}", 2.0, "answered", 200)


async def test_what_is_acknowledged_is_on_the_disk(tmp_path: Path) -> None:
    log = opened(tmp_path)
    await asyncio.gather(*(log.append(intent(number)) for number in range(100)))
    on_disk = list(records(tmp_path))
    assert [record.request_id for record in on_disk] == [f"req_{n}" for n in range(100)]  # type: ignore[union-attr]
    log.close()
    assert verify(tmp_path, KEY).findings == []


async def test_segments_follow_each_other(tmp_path: Path) -> None:
    log = opened(tmp_path, segment_bytes=2000)
    for number in range(50):
        await log.append(outcome(number))
    log.close()
    assert len(segments(tmp_path)) > 3
    report = verify(tmp_path, KEY)
    assert report.records == 50
    assert all("closes" in finding.sentence for finding in report.findings)


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    await log.append(intent(1))
    log.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "audit").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700


async def test_a_new_start_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for run in range(3):
        log = opened(tmp_path)
        await log.append(Started(1.0, "gateway", str(run)))
        log.close()
    assert verify(tmp_path, KEY).findings == []
    assert len(list(records(tmp_path))) == 3


async def test_open_requests_are_closed_as_interrupted(tmp_path: Path) -> None:
    log = opened(tmp_path)
    await asyncio.gather(*(log.append(intent(number)) for number in range(3)))
    await log.append(outcome(1))
    log.close()
    log = opened(tmp_path, close_open=True)
    log.close()
    ended = {row.request_id: row.outcome for row in rows(records(tmp_path))}
    assert ended == {"req_0": "interrupted", "req_1": "answered", "req_2": "interrupted"}
    assert verify(tmp_path, KEY).open_requests == 0


async def test_a_torn_end_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    log = opened(tmp_path)
    await log.append(intent(1))
    await log.append(outcome(1))
    log.close()
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    head = link_head(path)
    for end in range(last + 1, len(whole)):
        path.write_bytes(whole[:end])
        write_head(Files(), tmp_path, KEY, head, 1.0)
        log = opened(tmp_path)
        await log.append(Read(3.0, "os:me", "test"))
        log.close()
        found = list(records(tmp_path))
        assert [type(record) for record in found] == [Intent, Repaired, Read]
        assert verify(tmp_path, KEY).findings == []
        repaired = found[1]
        assert isinstance(repaired, Repaired)
        assert (tmp_path / repaired.kept_as).read_bytes() == whole[last:end]


class FailsAt(Files):
    """Real files, whose n-th operation fails."""

    def __init__(self, n: int, operations: tuple[str, ...]) -> None:
        self.left = n
        self.operations = operations
        self.failed = False

    def _count(self, operation: str) -> None:
        if operation in self.operations:
            self.left -= 1
            if self.left == 0:
                self.failed = True
                raise OSError(28, "No space left on device")

    def open(self, path: Path) -> int:
        self._count("open")
        return super().open(path)

    def write(self, file: int, data: bytes) -> None:
        if "half-write" in self.operations:
            self.left -= 1
            if self.left == 0:
                self.failed = True
                os.write(file, data[: len(data) // 2])
                raise OSError(28, "No space left on device")
        self._count("write")
        super().write(file, data)

    def sync(self, file: int) -> None:
        self._count("sync")
        super().sync(file)

    def truncate(self, file: int, size: int) -> None:
        self._count("truncate")
        super().truncate(file, size)

    def replace(self, path: Path, data: bytes) -> None:
        self._count("replace")
        super().replace(path, data)


@pytest.mark.parametrize(
    "operations",
    [
        ("open",),
        ("write",),
        ("half-write",),
        ("sync",),
        ("replace",),
        ("half-write", "truncate"),
        ("sync", "truncate"),
    ],
)
async def test_whatever_fails_nothing_acknowledged_is_lost(
    tmp_path: Path, operations: tuple[str, ...]
) -> None:
    """Fail the n-th operation for n = 1, 2, ... until a run passes without a failure."""
    for n in range(1, 60):
        directory = tmp_path / str(n)
        files = FailsAt(n, operations)
        acknowledged, refused = [], 0
        try:
            log = opened(directory, files=files, segment_bytes=1500)
        except AuditUnavailable:
            continue
        for number in range(8):
            try:
                await log.append(intent(number))
            except AuditUnavailable:
                refused += 1
            else:
                acknowledged.append(f"req_{number}")
        log.close()
        log = opened(directory)
        await log.append(Read(3.0, "os:me", "test"))
        log.close()
        found = [r.request_id for r in records(directory) if isinstance(r, Intent)]
        assert set(acknowledged) <= set(found)
        assert refused <= 1
        sentences = [finding.sentence for finding in verify(directory, KEY).findings]
        assert sentences == []
        if not files.failed:
            return
    pytest.fail("the loop did not reach a run without a failure")


async def test_a_failure_is_told_at_once_and_forgotten_when_the_disk_is_back(
    tmp_path: Path,
) -> None:
    log = opened(tmp_path, files=FailsAt(3, ("write",)))
    await log.append(intent(1))
    with pytest.raises(AuditUnavailable, match="No space left"):
        await log.append(intent(2))
    with pytest.raises(AuditUnavailable):
        log.ready()
    await log.append(intent(3))
    log.ready()
    log.close()


async def test_another_writer_that_died_in_mid_write_does_not_hang_this_one(
    tmp_path: Path,
) -> None:
    """What it left is no record; every waiting request hears of it at once."""
    log = opened(tmp_path)
    await log.append(intent(1))
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'{"n":2,"ma')
    with pytest.raises(AuditUnavailable, match="ends within a record"):
        await asyncio.wait_for(log.append(intent(2)), 5)
    with pytest.raises(AuditUnavailable):
        log.ready()
    log.close()
    log = opened(tmp_path)
    await log.append(intent(3))
    log.close()
    assert verify(tmp_path, KEY).findings == []


async def test_a_failed_sync_begins_a_new_segment_that_says_so(tmp_path: Path) -> None:
    log = opened(tmp_path, files=FailsAt(3, ("sync",)))
    await log.append(intent(1))
    refused = 0
    for _ in range(3):
        try:
            await log.append(outcome(1))
        except AuditUnavailable:
            refused += 1
    assert refused == 1
    await log.append(intent(2))
    log.close()
    assert any(isinstance(record, Gap) for record in records(tmp_path))
    assert len(segments(tmp_path)) == 2


WRITER = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_log import KEY, intent, opened

async def main():
    log = opened(Path(sys.argv[1]), segment_bytes=20_000)
    base = int(sys.argv[2])
    for number in range(base, base + 100_000):
        await asyncio.gather(*(log.append(intent(number * 10 + k)) for k in range(4)))
        for k in range(4):
            print(f"req_{number * 10 + k}", flush=True)

asyncio.run(main())
"""


def writer(directory: Path, base: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), str(base), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_a_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(7)
    acknowledged: set[str] = set()
    for run in range(12):
        process = writer(tmp_path, run * 1_000_000)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 120)):
            acknowledged.add(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        acknowledged.update(line.strip() for line in process.stdout if line.endswith("\n"))
        process.wait()
        process.stdout.close()
    log = opened(tmp_path, close_open=True)
    log.close()
    found = {record.request_id for record in records(tmp_path) if isinstance(record, Intent)}
    assert acknowledged <= found
    assert verify(tmp_path, KEY).findings == []


async def test_two_processes_share_one_chain(tmp_path: Path) -> None:
    first, second = writer(tmp_path, 0), writer(tmp_path, 5_000_000)
    for process in (first, second):
        assert process.stdout is not None
        for _ in range(60):
            process.stdout.readline()
    for process in (first, second):
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    log = opened(tmp_path)
    log.close()
    assert verify(tmp_path, KEY).findings == []
    lines = b"".join(path.read_bytes() for path in segments(tmp_path)).splitlines()
    numbers = [json.loads(line)["n"] for line in lines]
    assert numbers == list(range(1, len(numbers) + 1))
