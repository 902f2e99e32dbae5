"""The end of the log: the same rows as when all of it is read, and new ones as they end."""

import random
from pathlib import Path

import pytest
from tests.audit.test_log import intent, opened, outcome

from inhouse.audit.read import Row, line, records, rows
from inhouse.audit.record import Denial, Outcome, Read
from inhouse.audit.segment import segments
from inhouse.audit.tail import Follower, end_position, last_rows


def denial(number: int) -> Denial:
    return Denial(f"req_{number}", 3.0, "127.0.0.1", "/v1/models", "denied", 401, "not_allowed")


async def busy(directory: Path, *, segment_bytes: int = 2000, count: int = 120) -> None:
    """A log of requests that begin and end across each other."""
    chance = random.Random(count)
    log = await opened(directory, segment_bytes=segment_bytes)
    running: list[int] = []
    for number in range(count):
        match chance.randrange(4):
            case 0:
                await log.append(denial(number))
            case 1:
                await log.append(Read(1.0, "os:me", "tail"))
            case _:
                running.append(number)
                await log.append(intent(number))
        if running and chance.random() < 0.5:
            await log.append(outcome(running.pop(chance.randrange(len(running)))))
    log.close()


async def test_the_last_rows_are_those_of_the_whole_log(tmp_path: Path) -> None:
    await busy(tmp_path)
    assert len(segments(tmp_path)) > 5
    whole = {row.request_id: row for row in rows(records(tmp_path))}
    order = [row.request_id for row in last_rows(tmp_path, 1000, end_position(tmp_path))]
    assert sorted(order) == sorted(whole)
    for count in (0, 1, 2, 7, 30, len(whole)):
        found = last_rows(tmp_path, count, end_position(tmp_path))
        assert [row.request_id for row in found] == order[len(order) - count :]
        assert found == [whole[row.request_id] for row in found]


async def test_a_line_that_is_half_written_is_not_there_yet(tmp_path: Path) -> None:
    await busy(tmp_path, count=10)
    before = last_rows(tmp_path, 5, end_position(tmp_path))
    path = segments(tmp_path)[-1]
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"n":99,"ma')
    assert end_position(tmp_path).offset == whole
    assert last_rows(tmp_path, 5, end_position(tmp_path)) == before


@pytest.mark.parametrize("segment_bytes", [300, 1 << 20])
async def test_a_follower_sees_each_end_once(tmp_path: Path, segment_bytes: int) -> None:
    log = await opened(tmp_path, segment_bytes=segment_bytes)
    await log.append(intent(1))
    await log.append(intent(2))
    follower = Follower(tmp_path, end_position(tmp_path))
    assert list(follower.rows()) == []
    await log.append(outcome(1))  # it began before the follower looked
    await log.append(intent(3))
    first = list(follower.rows())
    assert [(row.request_id, row.principal) for row in first] == [("req_1", "anna")]
    await log.append(denial(4))
    await log.append(outcome(3))
    second = list(follower.rows())
    assert [(row.request_id, row.outcome) for row in second] == [
        ("req_4", "denied"),
        ("req_3", "answered"),
    ]
    assert list(follower.rows()) == []
    log.close()


async def test_a_follower_of_an_empty_log_sees_its_first_record(tmp_path: Path) -> None:
    follower = Follower(tmp_path, end_position(tmp_path))
    assert list(follower.rows()) == []
    log = await opened(tmp_path)
    await log.append(denial(1))
    assert [row.request_id for row in follower.rows()] == ["req_1"]
    log.close()


async def test_a_follower_goes_on_behind_what_was_taken_back(tmp_path: Path) -> None:
    log = await opened(tmp_path)
    await log.append(denial(1))
    log.close()
    path = segments(tmp_path)[0]
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"n":2,"mac":"00","r":{"kind":"stopped","time":1.0,"process":"x"}}\n' * 9)
    follower = Follower(tmp_path, end_position(tmp_path))
    with path.open("r+b") as file:
        file.truncate(size)
    assert list(follower.rows()) == []
    log = await opened(tmp_path)
    await log.append(denial(2))
    assert [row.request_id for row in follower.rows()] == ["req_2"]
    log.close()


async def test_a_follower_reads_only_what_is_new(tmp_path: Path) -> None:
    """What it has read may be gone, and it does not notice."""
    log = await opened(tmp_path)
    for number in range(50):
        await log.append(denial(number))
    follower = Follower(tmp_path, end_position(tmp_path))
    path = segments(tmp_path)[0]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(b"\0" * size)
    await log.append(denial(50))
    assert [row.request_id for row in follower.rows()] == ["req_50"]
    log.close()


def test_how_long_an_interrupted_request_took_is_not_known() -> None:
    ended = Outcome("req_1", 2.0, "interrupted", 0)
    row = next(rows(iter([intent(1), ended])))
    assert row.duration_ms is None
    assert line(row).endswith("      - interrupted -+-")


@pytest.mark.parametrize(
    ("outcome", "code", "took_ms"),
    [
        ("answered", None, 340.2),
        ("cancelled", None, 59_900.0),
        ("truncated", None, 600_000.0),
        ("running", None, None),
        ("denied", "rule", 0.2),
    ],
)
def test_a_usual_line_fits_100_columns(
    outcome: str, code: str | None, took_ms: float | None
) -> None:
    row = Row(
        "req_06h0qqqc7820ptmn21hc04cui8",
        1e9,
        "billing" if not code else "",
        model="llama-3.1-8b" if not code else "",
        outcome=outcome,
        code=code,
        prompt_tokens=None if code else 123,
        completion_tokens=None if code else 456,
        duration_ms=took_ms,
    )
    assert len(line(row)) <= 100


@pytest.mark.parametrize(
    "code", [None, "no_engine", "missing_credential", "context_length_exceeded"]
)
@pytest.mark.parametrize("took_ms", [None, 0.2, 999_000.0])
def test_columns_stand_below_each_other_however_long_the_code_is(
    code: str | None, took_ms: float | None
) -> None:
    told = line(
        Row("r" * 30, 1e9, "anna", model="chat", outcome="refused", code=code, duration_ms=took_ms)
    )
    starts = [told.index(word) for word in ("anna", "chat", "refused", code or "-+-")]
    assert starts == [52, 63, 83, 93]


def test_a_line_says_what_screening_found() -> None:
    row = Row("req_1", 1.0, principal="anna", outcome="answered", verdicts=("iban", "iban", "jwt"))
    assert line(row).endswith("  [iban, jwt]")
