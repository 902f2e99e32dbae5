"""Every way to change a log is found; an untouched one is not accused."""

import asyncio
import hmac
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.audit.test_log import KEY, intent, opened

from inhouse.audit.log import AuditLog
from inhouse.audit.record import Denial, Outcome
from inhouse.audit.segment import segments
from inhouse.audit.verify import verify

REQUESTS = 12


async def written(directory: Path, key: bytes = KEY, first: int = 0) -> None:
    log = await AuditLog.open(directory, key, segment_bytes=2500, clock=time.time)
    for number in range(first, first + REQUESTS):
        await log.append(intent(number))
        await log.append(Outcome(f"req_{number}", 2.0, "answered", 200, engine="e", bytes_out=5))
    await log.append(Denial("req_x", 1.0, "127.0.0.1", "/v1/models", "denied", 401))
    log.close()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original") / "audit"
    asyncio.run(written(directory))
    return directory


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "audit"))


def lines(directory: Path) -> list[list[bytes]]:
    return [path.read_bytes().splitlines(keepends=True) for path in segments(directory)]


def put(directory: Path, content: list[list[bytes]]) -> None:
    for path, each in zip(segments(directory), content, strict=True):
        path.write_bytes(b"".join(each))


def test_an_untouched_log_verifies(original: Path) -> None:
    report = verify(original, KEY)
    assert report.findings == []
    assert (report.records, report.open_requests) == (2 * REQUESTS + 1, 0)
    assert report.segments > 2


@pytest.mark.parametrize("grows", [True, False])
def test_a_line_that_is_being_written_is_no_finding(
    copy: Path, monkeypatch: pytest.MonkeyPatch, grows: bool
) -> None:
    path = segments(copy)[-1]
    number = len(lines(copy)[-1]) + 1
    with path.open("ab") as file:
        file.write(b'{"n":99,"ma')

    def write_on(_: float) -> None:
        if grows:
            path.write_bytes(path.read_bytes() + b'c":"00","r":{}}\n')

    monkeypatch.setattr("inhouse.audit.verify.time.sleep", write_on)
    found = [str(each) for each in verify(copy, KEY).findings]
    torn = f"{path.name} line {number}: is torn; the next start cuts it off"
    assert found == ([] if grows else [torn])


def test_a_log_that_is_empty_though_it_has_a_key_is_found(tmp_path: Path) -> None:
    assert [str(each) for each in verify(tmp_path, KEY).findings] == [
        "head.json: the log is empty, though there is a key for it"
    ]


def test_it_agrees_with_the_definition(original: Path) -> None:
    """The chain, computed anew in the few lines that docs/audit.md gives."""
    before, number = bytes(32), 0
    for segment in lines(original):
        for line in segment:
            raw = line[line.index(b'"r":') + 4 : -2]
            number += 1
            before = hmac.digest(KEY, before + number.to_bytes(8, "big") + raw, "sha256")
            assert json.loads(line)["mac"] == before.hex()


def edited(field: bytes, value: bytes) -> Callable[[list[list[bytes]]], None]:
    def change(content: list[list[bytes]]) -> None:
        at = next(number for number, line in enumerate(content[1]) if field in line)
        content[1][at] = content[1][at].replace(field, value)

    change.__name__ = f"{field.decode()} to {value.decode()}"
    return change


def deleted(content: list[list[bytes]]) -> None:
    del content[1][1]


def first_deleted(content: list[list[bytes]]) -> None:
    del content[0][0]


def last_deleted(content: list[list[bytes]]) -> None:
    del content[-1][-1]


def last_two_deleted(content: list[list[bytes]]) -> None:
    content[-1] = content[-1][:-2]


def duplicated(content: list[list[bytes]]) -> None:
    content[1].insert(1, content[1][1])


def inserted(content: list[list[bytes]]) -> None:
    content[1].insert(1, b'{"n":6,"mac":"' + b"0" * 64 + b'","r":{"kind":"stopped"}}\n')


def swapped(content: list[list[bytes]]) -> None:
    content[1][0], content[1][1] = content[1][1], content[1][0]


def moved_across_segments(content: list[list[bytes]]) -> None:
    content[1].append(content[2].pop(0))
    content[1][-1], content[1][-2] = content[1][-2], content[1][-1]


def reformatted(content: list[list[bytes]]) -> None:
    content[1][1] = content[1][1].replace(b'"n":', b'"n": ')


def emptied(content: list[list[bytes]]) -> None:
    content[1] = []


def garbage(content: list[list[bytes]]) -> None:
    content[1].insert(1, b"not json\n")


MUTATIONS = [
    edited(b'"status":200', b'"status":500'),
    edited(b'"request_id":"req_', b'"request_id":"reg_'),
    edited(b'"mac":"', b'"mac":"0'),
    edited(b'"n":', b'"n":1'),
    edited(b'"e"', b'"f"'),
    deleted,
    first_deleted,
    last_deleted,
    last_two_deleted,
    duplicated,
    inserted,
    swapped,
    moved_across_segments,
    reformatted,
    emptied,
    garbage,
]


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda change: change.__name__)
def test_every_mutation_is_found(copy: Path, mutate: Callable[[list[list[bytes]]], None]) -> None:
    content = lines(copy)
    mutate(content)
    put(copy, content)
    assert not verify(copy, KEY).good


def test_a_missing_segment_is_found(copy: Path) -> None:
    segments(copy)[1].unlink()
    assert any("missing" in str(finding) for finding in verify(copy, KEY).findings)


def test_the_last_segment_taken_away_is_found(copy: Path) -> None:
    segments(copy)[-1].unlink()
    assert any("cut off" in str(finding) for finding in verify(copy, KEY).findings)


def test_a_head_that_is_gone_or_forged_is_found(copy: Path) -> None:
    head = copy / "head.json"
    document = json.loads(head.read_text())
    head.write_text(json.dumps(document | {"n": document["n"] - 1}))
    assert not verify(copy, KEY).good
    head.write_text("{")
    assert not verify(copy, KEY).good
    head.unlink()
    assert not verify(copy, KEY).good


def test_another_key_fits_nothing(original: Path) -> None:
    assert [str(each) for each in verify(original, bytes(32)).findings] == [
        "000001.jsonl: no record was written with this key"
    ]


async def test_two_logs_spliced_are_found(copy: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    await written(other, first=100)
    shutil.copy(segments(other)[1], segments(copy)[1])
    assert not verify(copy, KEY).good


@pytest.mark.parametrize("mutate", [*MUTATIONS, "cut", "headless"], ids=str)
async def test_a_log_that_goes_on_behind_a_mutation_still_tells(
    copy: Path, mutate: "Callable[[list[list[bytes]]], None] | str"
) -> None:
    content = lines(copy)
    if mutate == "cut":
        content[-1][-1] = content[-1][-1][:50]
    elif mutate == "headless":
        (copy / "head.json").unlink()
    elif callable(mutate):
        mutate(content)
    put(copy, content)
    log = await opened(copy)
    await log.append(intent(99))
    log.close()
    assert not verify(copy, KEY).good


async def test_a_request_closed_twice_or_never_opened_is_found(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(intent(1))
    for _ in range(2):
        await log.append(Outcome("req_1", 2.0, "answered", 200))
    log.close()
    assert [str(f) for f in verify(tmp_path, KEY).findings] == [
        "000001.jsonl line 3: closes req_1, which is not open"
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_no_byte_can_be_flipped(copy: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(segments(copy)))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    bit = data.draw(st.integers(0, 7))
    flipped = content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]
    path.write_bytes(flipped)
    try:
        assert not verify(copy, KEY).good
    finally:
        path.write_bytes(content)
