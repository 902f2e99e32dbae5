"""The audit log through the admin API: pages that hold every request once, and its proof."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.console.harness import Admin, admin

from inhouse.audit.log import append_once
from inhouse.audit.pages import Cursor, cursor_of, page
from inhouse.audit.read import CHANGED, OUTCOMES, Query, records, rows
from inhouse.audit.record import Denial, Intent, Outcome, Read, Record
from inhouse.config.schema import Config
from inhouse.console.requests import RequestOutcome
from inhouse.console.routes import TABLE
from inhouse.console.verifier import Job, run
from inhouse.errors import Code, Refusal


def intent(name: str, at: float, model: str = "m") -> Intent:
    return Intent(
        request_id=name, time=at, address="10.0.0.1", principal_id="key:a", principal_name="anna",
        dialect="openai", operation="chat", route="/v1/chat/completions", model=model,
        authorized_by="ceiling", bytes_in=3, fingerprint="f" + name, fingerprint_last="",
    )  # fmt: skip


def outcome(name: str, at: float) -> Outcome:
    return Outcome(request_id=name, time=at, outcome="answered", status=200, completion_tokens=5)


def denial(name: str, at: float) -> Denial:
    return Denial(name, at, "10.0.0.2", "/v1/chat/completions", "denied", 401)


def written(config: Config, seed: int, requests: int = 120) -> None:
    """A log in which requests overlap, a few never end, and segments change in between."""
    chance = random.Random(seed)
    pending: list[str] = []
    found: list[Record] = []
    for at in range(requests):
        name = f"req_{seed}_{at}"
        if chance.random() < 0.2:
            found.append(denial(name, 1000.0 + at))
            continue
        found.append(intent(name, 1000.0 + at, chance.choice(["m", "n"])))
        pending.append(name)
        while pending and chance.random() < 0.6:
            found.append(outcome(pending.pop(chance.randrange(len(pending))), 1000.5 + at))
    append_once(config, *found)


async def pages(started: Admin, **query: str) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    while True:
        answer = await started.get("audit/requests", "auditor", params=query)
        assert answer.status_code == 200, answer.text
        seen += answer.json()["data"]
        if answer.json()["next"] is None:
            return seen
        query["after"] = answer.json()["next"]


@pytest.mark.parametrize("limit", ["1", "7", "500"])
async def test_pages_hold_what_the_search_finds(tmp_path: Path, limit: str) -> None:
    async with admin(tmp_path, toml="[audit]\nsegment_bytes = 65536\n") as started:
        for seed in range(3):
            await asyncio.to_thread(written, started.config, seed)
        assert len(list(started.config.audit_directory.glob("*.jsonl"))) > 1
        everything = {row.request_id: row for row in rows(iter(started.records()))}
        found = await pages(started, limit=limit)
        assert len(found) == len({each["request_id"] for each in found})
        assert {each["request_id"] for each in found} == set(everything)
        for each in found:
            row = everything[each["request_id"]]
            assert each["outcome"] == row.outcome
            assert each["completion_tokens"] == row.completion_tokens
        of_n = await pages(started, limit=limit, model="n", outcome="answered", who="ANN")
        assert {each["request_id"] for each in of_n} == {
            row.request_id
            for row in everything.values()
            if (row.model, row.outcome) == ("n", "answered")
        }
        one = await pages(started, limit=limit, fingerprint="freq_1_3")
        assert {each["request_id"] for each in one} <= {"req_1_3"}
        since = await pages(started, since="1970-01-01T00:17:40Z", until="1970-01-01T00:17:45Z")
        assert {each["request_id"] for each in since} == {
            row.request_id for row in everything.values() if 1060 <= row.time <= 1065
        }


async def test_a_page_looks_at_a_bounded_part_of_the_log(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        await asyncio.to_thread(written, started.config, 1)
        directory = started.config.audit_directory
        everything = {row.request_id: row.outcome for row in rows(records(directory))}
        seen: dict[str, str] = {}
        after: Cursor | None = None
        empty = calls = 0
        while True:
            found = page(directory, Query(model="n"), 10, after, most_looked=5)
            seen |= {row.request_id: row.outcome for row in found.rows}
            empty += not found.rows
            calls += 1
            if found.following is None:
                break
            assert cursor_of(str(found.following)) == found.following
            after = found.following
        wanted = {r.request_id: r.outcome for r in rows(records(directory)) if r.model == "n"}
        assert seen == wanted
        assert empty
        assert calls > len(everything) / 5


async def test_whoever_reads_the_log_is_in_it(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        await started.get("audit/requests", "auditor", params={"who": "anna", "limit": "3"})
        await started.post("audit/verify", "auditor")
        reads = [record for record in started.records() if isinstance(record, Read)]
        assert [record.what for record in reads] == ["search who=anna limit=3", "verify"]
        assert {record.actor for record in reads} == {started.users["auditor"]}


@pytest.mark.parametrize(
    "after", ["", "1", "1.1-1.0", "0.0-0.0x", "1.-1.1", "99999999999.1-99999999999.1", "a.b-c.d"]
)
async def test_a_cursor_that_is_none(tmp_path: Path, after: str) -> None:
    async with admin(tmp_path) as started:
        answer = await started.get("audit/requests", params={"after": after})
        assert answer.status_code == 400
        assert "'after' in the query" in answer.json()["error"]["message"]


@pytest.mark.parametrize("after", ["1.100-1.100", "1.7-1.333", "9.9-9.9", "1.999999-1.999999"])
async def test_a_cursor_that_was_made_up_does_no_harm(tmp_path: Path, after: str) -> None:
    async with admin(tmp_path) as started:
        await asyncio.to_thread(written, started.config, 1)
        answer = await started.get("audit/requests", params={"after": after})
        assert answer.status_code == 200


async def test_the_proof_tells_a_change(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        await asyncio.to_thread(written, started.config, 1)
        good = (await started.post("audit/verify", "auditor")).json()
        assert (good["good"], good["findings"], good["findings_total"]) == (True, [], 0)
        assert good["records"] == len(started.records())
        segment = next(started.config.audit_directory.glob("*.jsonl"))
        data = segment.read_bytes()
        segment.write_bytes(data.replace(b'"completion_tokens":5', b'"completion_tokens":6', 1))
        bad = (await started.post("audit/verify", "auditor")).json()
        assert bad["good"] is False
        assert bad["findings_total"] >= 1
        assert bad["findings"][0]["segment"] == segment.name


async def test_the_proof_says_why_there_is_none(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        key = started.config.secrets_directory / "audit.key"
        key.rename(key.with_suffix(".away"))
        answer = await started.post("audit/verify", "auditor")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        key.with_suffix(".away").rename(key)


async def test_the_answers_have_the_types_that_are_promised(tmp_path: Path) -> None:
    """Of every route that reads, and strictly."""
    async with admin(tmp_path) as started:
        await asyncio.to_thread(written, started.config, 1)
        for route in TABLE.routes:
            if route.method == "GET" and not route.parameters:
                answer = await started.get(route.path.removeprefix("/admin/v1/"))
                assert answer.status_code == 200
                msgspec.json.decode(answer.content, type=route.answer)


def test_the_outcomes_are_those_of_the_log() -> None:
    assert set(RequestOutcome) == set(OUTCOMES) - {CHANGED}


def test_a_proof_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """A pipe in the key's place: reading it takes for ever."""
    os.mkfifo(tmp_path / "key")
    with pytest.raises(Refusal) as refused:
        run(Job(str(tmp_path), str(tmp_path / "key"), str(tmp_path / "mark")), 1.0)
    assert refused.value.code is Code.DEADLINE_EXCEEDED


def test_the_process_of_a_proof_ends_with_its_gateway(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key")
    job = Job(str(tmp_path), str(tmp_path / "key"), str(tmp_path / "mark"))
    command = [sys.executable, "-P", "-m", "inhouse.console.verifier"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.stdin.close()
        process.wait(20)
