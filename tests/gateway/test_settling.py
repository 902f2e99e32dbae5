"""An answer that came whole and in time is sent, however long its record takes; and files."""

import asyncio
import logging
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gateway.harness import gateway

from inhouse.audit.files import Files
from inhouse.gateway.http1 import HeadReader
from inhouse.process import OTHER_FILES, connections_within
from inhouse.upstream.fake_engine import FakeEngine, Faults

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_deadline_within_the_last_record_cuts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    real, slow_s = Files.sync, 0.0

    def sync(files: Files, file: int) -> None:
        time.sleep(slow_s)
        real(files, file)

    monkeypatch.setattr(Files, "sync", sync)
    limit = "[gateway]\nrequest_timeout_s = 1\n"
    engine = FakeEngine(Faults(tokens=2, first_token_s=0.6))
    async with engine, gateway(tmp_path, engine, toml=limit) as talk:
        asking = asyncio.create_task(talk.post(CHAT, stream=stream))
        await asyncio.sleep(0.4)  # the intent is durable
        slow_s = 1.5
        answer = await asking
        slow_s = 0.0

        assert answer.status_code == 200
        assert answer.text.rstrip().endswith("[DONE]" if stream else "}")
        row = await talk.audited_last()
        assert (row.outcome, row.status) == ("answered", 200)
        assert (await talk.post(CHAT)).status_code == 200


def test_an_empty_line_is_no_head_that_began() -> None:
    reader = HeadReader()
    for piece in (b"\r", b"\n"):
        assert reader.feed(piece) is None
        assert not reader.begun
    assert reader.feed(b"G") is None
    assert reader.begun


@pytest.fixture
def files() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield 1024
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_there_are_never_more_connections_than_files(
    files: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "inhouse"):
        assert connections_within(100) == 100
        assert not caplog.records
        assert connections_within(4096) == (files - OTHER_FILES) // 2
    assert "LimitNOFILE" in caplog.text
