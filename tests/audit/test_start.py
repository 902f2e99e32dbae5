"""Where a log goes on: behind its head, its mark, a crash, another process or somebody's hands."""

import asyncio
import contextlib
import hmac
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.audit.test_log import KEY, intent, let_go, opened, outcome, until

from inhouse.audit.chain import Chain
from inhouse.audit.files import Files
from inhouse.audit.head import head_path, read_head, write_head
from inhouse.audit.lock import Lock
from inhouse.audit.read import records, rows
from inhouse.audit.record import Gap, Intent, Outcome, Read, Repaired, Started, encode
from inhouse.audit.recover import left_open
from inhouse.audit.segment import Link, Place, line_of, mac_of, segments
from inhouse.audit.verify import verify
from inhouse.errors import AuditUnavailable
from inhouse.mac import Mac

STOPPED = """
import os, signal, sys, time
from pathlib import Path
from inhouse.audit.chain import Chain
from inhouse.audit.files import Files
from inhouse.audit.record import Read, encode

class Stops(Files):
    stopped = False

    def write(self, file, data):
        if sys.argv[2] == "after":
            super().write(file, data)
        if not self.stopped and b'"kind":"read"' in data:
            self.stopped = True
            print("stopped", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        if sys.argv[2] == "before":
            super().write(file, data)

key = bytes(range(32))
chain = Chain(Path(sys.argv[1]), key, segment_bytes=1 << 20, clock=time.time, files=Stops())
chain.open(close_open=False)
chain.commit([encode(Read(1.0, "os:me", "tail"))])
chain.close()
"""


async def written(directory: Path, count: int, *, mark: Path | None = None) -> None:
    """Append so many intents, each of another request."""
    log = await opened(directory, mark=mark)
    first = len(list(records(directory)))
    for number in range(first, first + count):
        await log.append(intent(number))
    log.close()


def gaps(directory: Path) -> list[Gap]:
    return [record for record in records(directory) if isinstance(record, Gap)]


def ends(path: Path) -> list[int]:
    """The bytes behind every line of a segment."""
    content = path.read_bytes()
    return [at + 1 for at, byte in enumerate(content) if byte == 10]


def forge(mark: Path) -> None:
    mark.write_bytes(mark.read_bytes().replace(b'"n":3', b'"n":2'))


def stopped(directory: Path, when: str) -> "subprocess.Popen[str]":
    """A command that is stopped before or after it has written its record."""
    command = [sys.executable, "-c", STOPPED, str(directory), when]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


# The head


async def test_a_start_reads_from_the_head_on(tmp_path: Path) -> None:
    """What stands before it is verify's to read, whatever the size: a start leaves it alone."""
    await written(tmp_path, 5)
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"anna", b"otto", 1))
    await written(tmp_path, 1)
    assert gaps(tmp_path) == []
    assert not verify(tmp_path, KEY).good


async def test_a_head_of_the_first_releases_is_believed(tmp_path: Path) -> None:
    await written(tmp_path, 2)
    head = read_head(head_path(tmp_path), KEY)
    assert head is not None
    message = f"head {head.n} {head.mac} {head.time!r}".encode()
    seal = hmac.digest(KEY, message, "sha256").hex()
    document = f'{{"n":{head.n},"mac":"{head.mac}","time":{head.time!r},"seal":"{seal}"}}'
    head_path(tmp_path).write_text(document)
    await written(tmp_path, 1)
    assert gaps(tmp_path) == []
    assert len(list(records(tmp_path))) == 3


async def test_the_first_second_of_a_log_is_no_finding(tmp_path: Path) -> None:
    """The head is written before the first record, and again a second later."""
    log = await opened(tmp_path)
    first = head_path(tmp_path).read_bytes()
    await log.append(intent(1))
    log.close()
    head_path(tmp_path).write_bytes(first)
    assert verify(tmp_path, KEY).findings == []
    await written(tmp_path, 1)
    assert gaps(tmp_path) == []


# The mark


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "audit.mark"


@pytest.mark.parametrize("what", ["rolled back", "emptied"])
async def test_what_was_rolled_back_with_its_head_is_found(
    tmp_path: Path, mark: Path, what: str
) -> None:
    directory = tmp_path / "audit"
    await written(directory, 3, mark=mark)
    shutil.copytree(directory, tmp_path / "old")
    await written(directory, 3, mark=mark)
    assert verify(directory, KEY, mark).findings == []
    shutil.rmtree(directory)
    if what == "rolled back":
        shutil.copytree(tmp_path / "old", directory)
    else:
        directory.mkdir()
    left = 3 if what == "rolled back" else 0
    assert [each.sentence for each in verify(directory, KEY, mark).findings][-1] == (
        f"the log ends with record {left}, but its mark names 6: "
        "the end was cut off, or the log was rolled back"
    )
    await written(directory, 1, mark=mark)
    assert f"records {left + 1} to 6 are gone" in [gap.reason for gap in gaps(directory)]
    assert all(gap.altered for gap in gaps(directory))
    assert not verify(directory, KEY, mark).good


async def test_a_mark_that_is_not_ours_is_found(tmp_path: Path, mark: Path) -> None:
    directory = tmp_path / "audit"
    await written(directory, 3, mark=mark)
    forge(mark)
    assert not verify(directory, KEY, mark).good
    await written(directory, 1, mark=mark)
    assert ["its seal" in gap.reason for gap in gaps(directory)] == [True]


async def test_a_log_without_a_mark_gets_one(tmp_path: Path, mark: Path) -> None:
    directory = tmp_path / "audit"
    await written(directory, 3)
    report = verify(directory, KEY, mark)
    assert report.good
    assert [str(each) for each in report.notes] == [
        "audit.mark: is not there; the next start writes it"
    ]
    await written(directory, 1, mark=mark)
    assert gaps(directory) == []
    report = verify(directory, KEY, mark)
    assert (report.good, report.notes) == (True, [])


async def test_a_copy_is_verified_without_a_mark_and_says_so(tmp_path: Path) -> None:
    await written(tmp_path, 1)
    report = verify(tmp_path, KEY)
    assert report.good
    assert ["not looked at" in str(each) for each in report.notes] == [True]


# What stands behind a gap


async def given_up(directory: Path) -> Path:
    """A log whose first segment was given up, and that segment."""
    await written(directory, 2)
    path = segments(directory)[0]
    with path.open("ab") as file:
        file.write(b'{"n":3,"mac":"00","r":{"kind":"stopped","time":1.0,"process":"gateway"}}\n')
    await written(directory, 1)
    return path


async def test_what_is_planted_behind_a_gap_is_not_shown_and_is_found(tmp_path: Path) -> None:
    path = await given_up(tmp_path)
    planted = encode(intent(66))
    before = len(verify(tmp_path, KEY).findings)
    with path.open("ab") as file:
        file.write(line_of(4, bytes(32), planted))
    assert "req_66" not in {row.request_id for row in rows(records(tmp_path))}
    found = [str(each) for each in verify(tmp_path, KEY).findings]
    assert len(found) == before + 1
    assert "behind the place where it was given up, where there were 73 at most" in found[0]


async def test_what_stands_behind_a_gap_is_a_note(tmp_path: Path) -> None:
    await given_up(tmp_path)
    notes = [str(each) for each in verify(tmp_path, KEY).notes]
    assert "000001.jsonl: 73 bytes behind the place where it was given up do not count" in notes


# Power


@pytest.mark.parametrize("hole", [1, 300, 5000])
async def test_a_page_that_was_not_written_when_the_power_went_is_a_torn_end(
    tmp_path: Path, hole: int
) -> None:
    """Of a batch behind the head: its first page is missing, its last lines are whole."""
    await written(tmp_path, 3)
    head = head_path(tmp_path).read_bytes()
    log = await opened(tmp_path)
    for number in range(20):
        await log.append(intent(100 + number))
    log.close()
    head_path(tmp_path).write_bytes(head)
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    at = ends(path)[3] + 50
    content[at : at + hole] = bytes(hole)
    path.write_bytes(content)
    log = await opened(tmp_path)
    log.close()
    assert gaps(tmp_path) == []
    repaired = [record for record in records(tmp_path) if isinstance(record, Repaired)]
    assert [(each.offset, each.bytes_cut) for each in repaired] == [
        (ends(path)[3], len(content) - ends(path)[3])
    ]
    assert (tmp_path / repaired[0].kept_as).read_bytes() == content[ends(path)[3] :]
    assert verify(tmp_path, KEY).findings == []


async def test_a_hole_before_what_the_head_names_is_no_torn_end(tmp_path: Path) -> None:
    await written(tmp_path, 9)
    path = segments(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[ends(path)[3] + 50 :] = bytes(200) + bytes(content[ends(path)[3] + 250 :])
    path.write_bytes(content[: ends(path)[8] - 3])
    await written(tmp_path, 1)
    assert any(gap.altered for gap in gaps(tmp_path))
    assert not verify(tmp_path, KEY).good


async def test_a_hole_before_what_the_mark_names_is_no_torn_end(tmp_path: Path, mark: Path) -> None:
    """The head was put back to where the hole is behind it; the mark was not."""
    directory = tmp_path / "audit"
    await written(directory, 2, mark=mark)
    head = head_path(directory).read_bytes()
    await written(directory, 5, mark=mark)
    head_path(directory).write_bytes(head)
    path = segments(directory)[0]
    content = bytearray(path.read_bytes())
    at = ends(path)[3]
    content[at : at + 100] = bytes(100)
    del content[ends(path)[5] :]
    path.write_bytes(content)
    await written(directory, 1, mark=mark)
    assert not any(isinstance(record, Repaired) for record in records(directory))
    assert "records 5 to 7 are gone" in [gap.reason for gap in gaps(directory)]
    assert path.read_bytes() == content
    assert not verify(directory, KEY, mark).good


async def test_whole_lines_without_a_hole_are_no_torn_end(tmp_path: Path) -> None:
    path = await given_up(tmp_path)
    assert [gap.altered for gap in gaps(tmp_path)] == [True]
    assert path.exists()


# Segments


async def test_a_planted_segment_hides_nothing(tmp_path: Path) -> None:
    await written(tmp_path, 2)
    (tmp_path / "999999.jsonl").write_bytes(line_of(1, bytes(32), encode(intent(66))))
    await written(tmp_path, 1)
    assert [path.name for path in segments(tmp_path)] == ["000001.jsonl", "999999.jsonl"]
    shown = [row.request_id for row in rows(records(tmp_path))]
    assert "req_66" not in shown
    assert len(list(records(tmp_path))) == 3
    assert [str(each) for each in verify(tmp_path, KEY).findings][:1] == [
        "999999.jsonl: is no part of the log"
    ]


async def test_numbers_of_more_than_six_digits_go_on(tmp_path: Path) -> None:
    raw = encode(intent(1))
    mac = mac_of(Mac(KEY), bytes(32), 1, raw)
    line = line_of(1, mac, raw)
    (tmp_path / "999999.jsonl").write_bytes(line)
    place = Place(999_999, len(line), Link(1, mac))
    write_head(Files(), head_path(tmp_path), KEY, place, 1.0)
    log = await opened(tmp_path, segment_bytes=100)
    for number in (2, 3):
        await log.append(intent(number))
    log.close()
    names = [path.name for path in segments(tmp_path)]
    assert names == ["999999.jsonl", "1000000.jsonl", "1000001.jsonl"]
    found = [record for record in records(tmp_path) if isinstance(record, Intent)]
    assert [record.request_id for record in found] == ["req_1", "req_2", "req_3"]


# Requests that were left open


async def test_open_requests_are_looked_for_as_far_back_as_one_can_last(tmp_path: Path) -> None:
    log = await opened(tmp_path, segment_bytes=100)
    for number, at in ((1, 1000.0), (2, 60_000.0), (3, 60_100.0)):
        await log.append(intent_at(number, at))
    await log.append(Read(900_000.0, "os:me", "tail"))  # days after the gateway was killed
    log.close()
    assert left_open(segments(tmp_path), 600.0) == ["req_2", "req_3"]
    assert left_open(segments(tmp_path), 86_400.0) == ["req_1", "req_2", "req_3"]


async def test_what_was_open_before_the_last_start_was_closed_by_it(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(intent(1))
    await log.append(Started(1.0, "gateway", "1"))
    await log.append(intent(2))
    await log.append(intent(3))
    await log.append(outcome(3))
    log.close()
    assert left_open(segments(tmp_path), 600.0) == ["req_2"]


def intent_at(number: int, at: float) -> Intent:
    return msgspec.structs.replace(intent(number), time=at)


# A process that was stopped with the lock in its hand


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_stopped_command_does_not_stop_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr("inhouse.audit.chain.LOCK_S", 0.2)
    log = await opened(tmp_path, close_open=True)
    await log.append(intent(1))
    await let_go(tmp_path)
    with stopped(tmp_path, when) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stopped\n"
            await log.append(intent(2))
            await log.append(outcome(2))
            await let_go(tmp_path)
            process.send_signal(signal.SIGCONT)
            assert process.wait(20) == 0
        finally:
            process.kill()
    await log.append(intent(3))
    log.close()
    found = list(records(tmp_path))
    assert len([record for record in found if isinstance(record, Read)]) == 1
    ids = [record.request_id for record in found if isinstance(record, Intent | Outcome)]
    assert ids == ["req_1", "req_2", "req_2", "req_3"]
    assert [gap.reason for gap in gaps(tmp_path)] == ["a stopped process held the lock"]
    assert verify(tmp_path, KEY).findings == []


class Notices(Files):
    """Real files, which do something before a sync or a write."""

    def __init__(self) -> None:
        self.before_sync: Callable[[], object] = lambda: None
        self.before_write: Callable[[], object] = lambda: None

    def sync(self, file: int) -> None:
        self.before_sync()
        super().sync(file)

    def write(self, file: int, data: bytes) -> None:
        self.before_write()
        super().write(file, data)


def chain_in(directory: Path, files: Files | None = None, **more: Any) -> Chain:
    settings = {"segment_bytes": 1 << 20, "clock": lambda: 1.0, **more}
    return Chain(directory, KEY, files=files or Files(), **settings)


READ = encode(Read(1.0, "os:me", "tail"))


def test_a_takeover_is_fenced_though_the_first_try_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inhouse.audit.chain.LOCK_S", 0.05)
    directory, secrets = tmp_path / "audit", tmp_path / "secrets"
    secrets.mkdir()
    chain = chain_in(directory, mark=secrets / "audit.mark")
    chain.open(close_open=True)
    chain.commit([READ])
    chain.idle()
    with contextlib.closing(Lock(directory)) as lock:
        lock.take()
        secrets.rename(tmp_path / "away")
        secrets.write_text("no directory")
        with pytest.raises(AuditUnavailable):
            chain.commit([READ])
        secrets.unlink()
        (tmp_path / "away").rename(secrets)
        chain.commit([READ])
    chain.close()
    assert [gap.reason for gap in gaps(directory)] == ["a stopped process held the lock"]
    assert verify(directory, KEY).findings == []


def test_whoever_lost_the_lock_writes_no_head(tmp_path: Path) -> None:
    files = Notices()
    chain = chain_in(tmp_path, files)
    chain.open(close_open=False)
    chain.commit([READ])
    before = head_path(tmp_path).read_bytes()
    files.before_sync = (tmp_path / "lock").unlink
    chain._write_head()
    assert head_path(tmp_path).read_bytes() == before
    assert list(tmp_path.glob(".head*")) == []


def test_what_is_in_a_segments_way_is_kept(tmp_path: Path) -> None:
    chain = chain_in(tmp_path, segment_bytes=10)
    chain.open(close_open=False)
    chain.commit([READ])
    (tmp_path / "000002.jsonl").write_bytes(b"somebody's")
    chain.commit([READ])
    chain.close()
    assert [path.read_bytes() for path in tmp_path.glob("aside-000002-*.bin")] == [b"somebody's"]
    assert verify(tmp_path, KEY).findings == []


def test_a_segment_that_is_another_ones_by_now_is_not_taken_away(tmp_path: Path) -> None:
    files = Notices()
    chain = chain_in(tmp_path, files, segment_bytes=10)
    chain.open(close_open=False)
    chain.commit([READ])
    path = tmp_path / "000002.jsonl"

    def replaced() -> None:
        path.unlink()
        path.write_bytes(b"another's")
        raise OSError(28, "No space left on device")

    files.before_write = replaced
    with pytest.raises(AuditUnavailable):
        chain.commit([READ])
    assert path.read_bytes() == b"another's"


# What others wrote, and somebody took away


@pytest.mark.parametrize("sealed", ["head", "mark"])
def test_what_a_command_wrote_and_somebody_cut_is_told_by_the_running_gateway(
    tmp_path: Path, mark: Path, sealed: str
) -> None:
    directory = tmp_path / "audit"
    gateway = chain_in(directory, mark=mark)
    gateway.open(close_open=True)
    gateway.commit([READ])
    gateway.idle()
    before = segments(directory)[0].read_bytes()
    head = head_path(directory).read_bytes()
    command = chain_in(directory, mark=mark)
    command.open(close_open=False)
    command.commit([READ, READ])
    command.close()
    segments(directory)[0].write_bytes(before)
    if sealed == "mark":
        head_path(directory).write_bytes(head)
    gateway.commit([READ])
    gateway.idle()
    gateway.commit([READ])
    gateway.close()
    assert [gap.reason for gap in gaps(directory)] == ["records 2 to 3 are gone"]
    found = [str(each) for each in verify(directory, KEY, mark).findings]
    assert found == [
        "000001.jsonl line 2: 000001.jsonl was altered behind byte "
        f"{len(before)}: records 2 to 3 are gone"
    ]


def test_what_was_altered_is_told_once_though_the_disk_was_full(tmp_path: Path) -> None:
    files = Notices()
    chain = chain_in(tmp_path, files)
    chain.open(close_open=True)
    chain.commit([READ])
    chain.idle()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b'{"n":2,"mac":"00","r":{"kind":"stopped"}}\n')

    def full() -> None:
        raise OSError(28, "No space left on device")

    files.before_write = full
    for _ in range(3):
        with pytest.raises(AuditUnavailable):
            chain.commit([READ])
    files.before_write = lambda: None
    chain.commit([READ])
    chain.close()
    assert [gap.altered for gap in gaps(tmp_path)] == [True]


@pytest.mark.parametrize("there", [True, False])
def test_a_mark_that_is_gone_is_told_at_the_start(
    tmp_path: Path, mark: Path, caplog: pytest.LogCaptureFixture, there: bool
) -> None:
    directory = tmp_path / "audit"
    asyncio.run(written(directory, 1, mark=mark))
    if not there:
        mark.unlink()
    asyncio.run(written(directory, 1, mark=mark))
    assert ("a log that was rolled back is not told now" in caplog.text) is not there
    assert mark.exists()


async def test_what_is_read_before_the_lock_and_taken_back_is_not_missed(tmp_path: Path) -> None:
    """A batch that fails can be seen by others until it is cut: that is no tampering."""
    await written(tmp_path, 2)
    before = segments(tmp_path)[0].read_bytes()
    head = head_path(tmp_path).read_bytes()
    await written(tmp_path, 1)
    head_path(tmp_path).write_bytes(head)
    chain = Chain(tmp_path, KEY, segment_bytes=1 << 20, clock=lambda: 1.0, files=Files())
    (tmp_path / "lock.wanted").unlink(missing_ok=True)
    with contextlib.closing(Lock(tmp_path)) as lock:
        lock.take()
        opening = asyncio.create_task(asyncio.to_thread(chain.open, close_open=False))
        await until((tmp_path / "lock.wanted").exists)  # it has read, and waits
        segments(tmp_path)[0].write_bytes(before)
    await opening
    chain.commit([encode(Read(1.0, "os:me", "tail"))])
    chain.close()
    assert gaps(tmp_path) == []
    assert verify(tmp_path, KEY).findings == []
