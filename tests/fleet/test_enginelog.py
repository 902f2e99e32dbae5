"""The engine's log: bounded, dated, and silent about requests."""

import asyncio
from pathlib import Path

import pytest

from inhouse.fleet.enginelog import MAX_LINE, EngineLog


async def taken(log: EngineLog, *pieces: bytes) -> None:
    stream = asyncio.StreamReader()
    for piece in pieces:
        stream.feed_data(piece)
    stream.feed_eof()
    await log.take(stream)


def contents(directory: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in directory.iterdir()}


def make(path: Path, max_bytes: int = 10_000) -> EngineLog:
    return EngineLog(path, clock=lambda: 0.0, max_bytes=max_bytes)


async def test_while_loading_every_line_is_written_and_remembered(tmp_path: Path) -> None:
    log = make(tmp_path / "sub" / "e.log")
    log.started("process 7 started")
    await taken(log, b"one\ntw", b"o\n\nlast without end")
    log.close()
    assert (tmp_path / "sub" / "e.log").read_text().splitlines() == [
        "1970-01-01T00:00:00Z inhouse: process 7 started",
        "1970-01-01T00:00:00Z one",
        "1970-01-01T00:00:00Z two",
        "1970-01-01T00:00:00Z last without end",
    ]
    assert list(log.lines) == ["one", "two", "last without end"]


CRASHES = [
    b"/src/ggml/ggml.c:123: GGML_ASSERT(a->ne[0] == b->ne[0]) failed",
    b"/src/ggml/src/ggml-cuda.cu:99: CUDA error",
    b"terminate called after throwing an instance of 'std::bad_alloc'",
]


@pytest.mark.parametrize("line", CRASHES)
async def test_while_serving_a_crash_is_written(tmp_path: Path, line: bytes) -> None:
    log = make(tmp_path / "e.log")
    log.serving("serving")
    await taken(log, line + b"\n")
    log.close()
    assert line in (tmp_path / "e.log").read_bytes()


@pytest.mark.parametrize(
    "line",
    [
        b"prompt: hello",
        b'root ::= my "secret',
        b"  what():  the text of a client",
        b"0.1 E srv send_error: GGML_ASSERT(quoted)",
        b"terminate called after throwing an instance of 'std::bad_alloc' hello",
    ],
)
async def test_while_serving_anything_else_is_counted_only(tmp_path: Path, line: bytes) -> None:
    log = make(tmp_path / "e.log")
    log.started("started")
    log.serving("serving")
    await taken(log, line + b"\n", line)
    log.ended("gone")
    log.close()
    text = (tmp_path / "e.log").read_bytes()
    assert line not in text
    assert b"2 lines withheld" in text
    assert not log.lines


async def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    log = make(tmp_path / "e.log")
    await taken(log, b"x" * 10 * MAX_LINE + b"\ny\n")
    log.close()
    lines = (tmp_path / "e.log").read_text().splitlines()
    assert max(len(line) for line in lines) < MAX_LINE + 40
    assert lines[-1].endswith(" y")


async def test_the_file_is_rotated_and_three_are_kept(tmp_path: Path) -> None:
    log = make(tmp_path / "e.log", max_bytes=100)
    for number in range(40):
        await taken(log, b"line %d of some length\n" % number)
    log.close()
    kept = contents(tmp_path)
    assert set(kept) - {"e.log"} == {"e.log.1", "e.log.2", "e.log.3"}
    assert max(len(text) for text in kept.values()) < 200
    assert "line 39" in "".join(kept.values())


async def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    log = EngineLog(Path("/dev/full"))
    await taken(log, b"one\ntwo\n")
    assert list(log.lines) == ["one", "two"]
    log.close()
