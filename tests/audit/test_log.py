"""The log under load, on failing disks, and after it was killed."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inhouse.audit import log as log_module
from inhouse.audit.files import Files
from inhouse.audit.head import head_path, read_head, write_head
from inhouse.audit.lock import Lock
from inhouse.audit.log import AuditLog
from inhouse.audit.read import records, rows
from inhouse.audit.record import Gap, Intent, Outcome, Read, Repaired, Resumed, Started, Stopped
from inhouse.audit.segment import Link, Place, line_of, mac_of, segments, walk
from inhouse.audit.verify import verify
from inhouse.errors import AuditUnavailable, UsageError
from inhouse.mac import Mac

KEY = bytes(range(32))


async def opened(directory: Path, *, files: Files | None = None, **options: object) -> AuditLog:
    settings = {"segment_bytes": 1 << 20, "clock": time.time, **options}
    return await AuditLog.open(directory, KEY, files=files, **settings)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed disk is tried again at once."""
    monkeypatch.setattr(log_module, "RETRY_S", 0.005)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.005)


def is_ready(log: AuditLog) -> bool:
    try:
        log.ready()
    except AuditUnavailable:
        return False
    return True


def first_place(path: Path) -> Place:
    """The head as it is while the last record is being written: at the one before."""
    first = next(walk(path, KEY, Link()))
    assert first.line is not None
    return Place(1, first.end, Link(first.line.n, bytes.fromhex(first.line.mac)))


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
    log = await opened(tmp_path)
    await asyncio.gather(*(log.append(intent(number)) for number in range(100)))
    on_disk = list(records(tmp_path))
    assert [record.request_id for record in on_disk] == [f"req_{n}" for n in range(100)]  # type: ignore[union-attr]
    log.close()
    assert verify(tmp_path, KEY).findings == []


async def test_segments_follow_each_other(tmp_path: Path) -> None:
    log = await opened(tmp_path, segment_bytes=2000)
    for number in range(50):
        await log.append(outcome(number))
    log.close()
    assert len(segments(tmp_path)) > 3
    report = verify(tmp_path, KEY)
    assert report.records == 50
    assert all("closes" in finding.sentence for finding in report.findings)


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    log = await opened(tmp_path / "audit")
    await log.append(intent(1))
    log.close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "audit").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700


async def test_a_new_start_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    for run in range(3):
        log = await opened(tmp_path)
        await log.append(Started(1.0, "gateway", str(run)))
        log.close()
    assert verify(tmp_path, KEY).findings == []
    assert len(list(records(tmp_path))) == 3


async def test_open_requests_are_closed_as_interrupted(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await asyncio.gather(*(log.append(intent(number)) for number in range(3)))
    await log.append(outcome(1))
    log.close()
    log = await opened(tmp_path, close_open=True)
    log.close()
    ended = {row.request_id: row.outcome for row in rows(records(tmp_path))}
    assert ended == {"req_0": "interrupted", "req_1": "answered", "req_2": "interrupted"}
    assert verify(tmp_path, KEY).open_requests == 0


async def test_a_torn_end_is_cut_off_at_every_byte(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(intent(1))
    await log.append(outcome(1))
    log.close()
    path = segments(tmp_path)[0]
    whole = path.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    head = first_place(path)
    for end in range(last + 1, len(whole)):
        path.write_bytes(whole[:end])
        write_head(Files(), head_path(tmp_path), KEY, head, 1.0)
        log = await opened(tmp_path)
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

    def create(self, path: Path) -> int:
        self._count("open")
        return super().create(path)

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

    def replace(self, path: Path, data: bytes, still: Callable[[], bool] = lambda: True) -> bool:
        self._count("replace")
        return super().replace(path, data, still)


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
            log = await opened(directory, files=files, segment_bytes=1500)
        except AuditUnavailable:
            continue
        for number in range(8):
            try:
                await log.append(intent(number))
            except AuditUnavailable:
                refused += 1
                await until(lambda: is_ready(log))  # noqa: B023  # awaited before the next one
            else:
                acknowledged.append(f"req_{number}")
        log.close()
        log = await opened(directory)
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


async def test_a_failure_is_told_at_once_and_the_log_says_how_long_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "RETRY_S", 0.2)
    log = await opened(tmp_path, files=FailsAt(3, ("write",)))
    await log.append(intent(1))
    with pytest.raises(AuditUnavailable, match="No space left"):
        await log.append(intent(2))
    with pytest.raises(AuditUnavailable, match="No space left"):
        log.ready()
    with pytest.raises(AuditUnavailable, match="No space left"):
        log.append(intent(3))
    await until(lambda: is_ready(log))
    await log.append(intent(4))
    log.close()
    resumed = [record for record in records(tmp_path) if isinstance(record, Resumed)]
    assert [(each.refused, "No space left" in each.reason) for each in resumed] == [(2, True)]
    assert verify(tmp_path, KEY).findings == []


async def test_a_log_on_a_disk_that_stays_full_is_never_ready(tmp_path: Path) -> None:
    class Full(Files):
        full = False

        def write(self, file: int, data: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().write(file, data)

    files = Full()
    log = await opened(tmp_path, files=files)
    files.full = True
    with pytest.raises(AuditUnavailable):
        await log.append(intent(1))
    for _ in range(50):
        assert not is_ready(log)
        await asyncio.sleep(0.002)
    files.full = False
    await until(lambda: is_ready(log))
    log.close()


async def test_what_is_kept_is_written_when_the_disk_is_back(tmp_path: Path) -> None:
    files = FailsAt(3, ("write",))
    log = await opened(tmp_path, files=files)
    await log.append(intent(1))
    log.keep(outcome(1))
    await until(lambda: files.failed)
    await until(lambda: is_ready(log))
    await log.append(intent(2))
    log.close()
    kinds = [type(record) for record in records(tmp_path)]
    assert kinds == [Intent, Resumed, Outcome, Intent]


async def test_a_record_whose_client_left_is_kept_in_its_place(tmp_path: Path) -> None:
    """An intent that nobody waits for any more, and its outcome: both or the intent alone."""
    files = FailsAt(1, ("write",))
    log = await opened(tmp_path, files=files)
    begun = log.append(intent(1))
    begun.cancel()
    log.keep(outcome(1))
    await until(lambda: files.failed)
    await until(lambda: is_ready(log))
    log.close()
    found = [record for record in records(tmp_path) if not isinstance(record, Resumed)]
    assert [type(record) for record in found] == [Intent, Outcome]
    assert verify(tmp_path, KEY).findings == []


async def test_a_disk_that_hangs_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "STUCK_S", 0.05)
    back = threading.Event()

    class Hangs(Files):
        def sync(self, file: int) -> None:
            back.wait(10)
            super().sync(file)

    log = await opened(tmp_path, files=Hangs())
    written = log.append(intent(1))
    assert is_ready(log)
    await until(lambda: not is_ready(log))
    with pytest.raises(AuditUnavailable, match="has not answered"):
        log.ready()
    back.set()
    await written
    await until(lambda: is_ready(log))
    log.close()


async def test_a_request_that_ready_refused_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "RETRY_S", 0.2)
    log = await opened(tmp_path, files=FailsAt(3, ("write",)))
    await log.append(intent(1))
    with pytest.raises(AuditUnavailable):
        await log.append(intent(2))
    for _ in range(3):
        with pytest.raises(AuditUnavailable, match="No space left"):
            log.accept()
        with pytest.raises(AuditUnavailable, match="No space left"):
            log.ready()  # a probe, not a request
    await until(lambda: is_ready(log))
    log.close()
    resumed = [record for record in records(tmp_path) if isinstance(record, Resumed)]
    assert [each.refused for each in resumed] == [4]


async def test_what_was_refused_while_the_disk_did_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "STUCK_S", 0.05)
    files = HangsOn()
    log = await opened(tmp_path, files=files)
    files.hangs = True
    written = log.append(intent(1))
    await until(lambda: not is_ready(log))
    with pytest.raises(AuditUnavailable, match="has not answered"):
        log.accept()
    files.back.set()
    await written
    await until(lambda: len(list(records(tmp_path))) == 2)
    log.close()
    resumed = list(records(tmp_path))[1]
    assert isinstance(resumed, Resumed)
    assert (resumed.refused, "has not answered" in resumed.reason) == (1, True)


class HangsOn(Files):
    """Real files; where it `hangs`, a sync waits until the disk is `back`."""

    def __init__(self) -> None:
        self.hangs = False
        self.back = threading.Event()

    def sync(self, file: int) -> None:
        if self.hangs:
            self.back.wait(20)
        super().sync(file)


async def test_a_disk_that_hangs_does_not_keep_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_module, "CLOSE_S", 0.1)
    files = HangsOn()
    log = await opened(tmp_path, files=files)
    files.hangs = True
    with pytest.raises(AuditUnavailable, match="has not answered"):
        await log.write(Stopped(1.0, "gateway"))
    log.close()
    assert "has not answered for 0.1 s; left behind" in caplog.text
    files.back.set()
    await until(lambda: len(list(records(tmp_path))) == 1)


async def test_a_disk_that_hangs_does_not_keep_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "OPEN_S", 0.1)
    files = HangsOn()
    files.hangs = True
    with pytest.raises(AuditUnavailable, match="its disk has not answered"):
        await opened(tmp_path, files=files)
    files.back.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a directory to another user")
async def test_a_gateway_does_not_start_on_the_log_of_another_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(UsageError, match="belongs to uid:12345; run this as uid:12345"):
        await opened(tmp_path)
    assert segments(tmp_path) == []


async def test_what_another_writer_left_half_written_is_mended_at_once(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(intent(1))
    await let_go(tmp_path)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'{"n":2,"ma')
    await asyncio.wait_for(log.append(intent(2)), 5)
    log.close()
    assert [type(record) for record in records(tmp_path)] == [Intent, Repaired, Intent]
    assert verify(tmp_path, KEY).findings == []


async def test_what_somebody_else_wrote_behind_our_back_is_told(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(intent(1))
    await let_go(tmp_path)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'{"n":2,"mac":"00","r":{"kind":"stopped"}}\n')
    await log.append(intent(2))
    log.close()
    assert [type(each) for each in records(tmp_path)][-2:] == [Gap, Intent]
    assert not verify(tmp_path, KEY).good


@pytest.mark.parametrize("what", ["unlinked", "cut"])
async def test_what_somebody_took_away_while_we_ran_is_told(tmp_path: Path, what: str) -> None:
    log = await opened(tmp_path)
    await log.append(intent(1))
    await log.append(intent(2))
    await let_go(tmp_path)
    path = segments(tmp_path)[0]
    if what == "unlinked":
        path.unlink()
    else:
        os.truncate(path, path.read_bytes().index(b"\n") + 1)
    await log.append(intent(3))
    log.close()
    found = list(records(tmp_path))
    assert isinstance(found[-2], Gap)
    assert found[-2].altered
    assert "are gone" in found[-2].reason
    assert isinstance(found[-1], Intent)
    assert not verify(tmp_path, KEY).good


async def test_a_directory_that_is_gone_is_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    log = await opened(directory)
    await log.append(intent(1))
    await let_go(directory)
    directory.rename(tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere")
    with pytest.raises(AuditUnavailable, match="No such file"):
        await log.append(intent(2))
    log.close()


async def let_go(directory: Path) -> None:
    """Wait until the log's writer, now idle, has let go of the lock."""
    with contextlib.closing(Lock(directory, wait_s=10)) as lock:
        await asyncio.to_thread(lock.take)


async def test_a_busy_writer_lets_others_have_their_turn(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    stop = False

    async def busy() -> None:
        number = 0
        while not stop:
            number += 1
            await log.append(outcome(number))

    task = asyncio.create_task(busy())
    try:
        for _ in range(3):
            await let_go(tmp_path)
    finally:
        stop = True
        await task
        log.close()


async def test_a_lock_that_is_never_let_go_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inhouse.audit.chain.LOCK_S", 0.05)
    log = await opened(tmp_path)
    with contextlib.closing(Lock(tmp_path)) as lock:
        lock.take()
        with pytest.raises(AuditUnavailable, match="another process has held"):
            await log.append(intent(1))
        assert not is_ready(log)
    await until(lambda: is_ready(log))
    log.close()


async def test_the_head_follows_though_nothing_more_comes(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    for number in range(3):
        await log.append(intent(number))

    def headed() -> bool:
        head = read_head(head_path(tmp_path), KEY)
        return head is not None and head.n == 3

    await until(headed)
    log.close()


async def test_a_head_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("inhouse.audit.chain.HEAD_EVERY_S", 0.0)

    class Headless(Files):
        def replace(
            self, path: Path, data: bytes, still: Callable[[], bool] = lambda: True
        ) -> bool:
            raise OSError(5, "Input/output error")

    log = await opened(tmp_path, files=Headless())
    for number in range(5):
        await log.append(intent(number))
    log.close()
    assert caplog.text.count("head.json cannot be written") == 1


async def test_a_gap_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """The sync fails, and so do the next segment's first tries: the place is not forgotten."""

    class Fails(Files):
        left = 0

        def sync(self, file: int) -> None:
            if self.left:
                self.left -= 1
                raise OSError(5, "Input/output error")
            super().sync(file)

    files = Fails()
    log = await opened(tmp_path, files=files)
    await log.append(intent(1))
    files.left = 4
    with pytest.raises(AuditUnavailable):
        await log.append(intent(2))
    await until(lambda: is_ready(log))
    log.close()
    found = list(records(tmp_path))
    assert [type(record) for record in found] == [Intent, Gap, Resumed]
    assert [path.name for path in segments(tmp_path)] == ["000001.jsonl", "000002.jsonl"]
    assert verify(tmp_path, KEY).findings == []


async def test_open_requests_are_found_however_many_segments_back(tmp_path: Path) -> None:
    log = await opened(tmp_path, segment_bytes=500)
    await log.append(Started(1.0, "gateway", "1"))
    await log.append(intent(1))
    for number in range(2, 30):
        await log.append(intent(number))
        await log.append(outcome(number))
    log.close()
    assert len(segments(tmp_path)) > 10
    log = await opened(tmp_path, close_open=True)
    log.close()
    assert verify(tmp_path, KEY).open_requests == 0
    assert verify(tmp_path, KEY).findings == []


async def test_records_of_no_known_kind_do_not_keep_a_gateway_from_starting(
    tmp_path: Path,
) -> None:
    """A newer version wrote them; verify tells, a start goes on."""
    raw = b'{"kind":"from-the-future","time":1.0}'
    mac = mac_of(Mac(KEY), bytes(32), 1, raw)
    line = line_of(1, mac, raw)
    tmp_path.joinpath("000001.jsonl").write_bytes(line)
    write_head(Files(), head_path(tmp_path), KEY, Place(1, len(line), Link(1, mac)), 1.0)
    log = await opened(tmp_path, close_open=True)
    await log.append(intent(1))
    log.close()
    assert [str(finding) for finding in verify(tmp_path, KEY).findings] == [
        "000001.jsonl line 1: holds a record of no known kind"
    ]


async def test_a_failed_sync_begins_a_new_segment_that_says_so(tmp_path: Path) -> None:
    log = await opened(tmp_path, files=FailsAt(3, ("sync",)))
    await log.append(intent(1))
    with pytest.raises(AuditUnavailable):
        await log.append(outcome(1))
    await until(lambda: is_ready(log))
    await log.append(outcome(1))
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
    log = await opened(Path(sys.argv[1]), segment_bytes=20_000)
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
    log = await opened(tmp_path, close_open=True)
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
    log = await opened(tmp_path)
    log.close()
    assert verify(tmp_path, KEY).findings == []
    lines = b"".join(path.read_bytes() for path in segments(tmp_path)).splitlines()
    numbers = [json.loads(line)["n"] for line in lines]
    assert numbers == list(range(1, len(numbers) + 1))
