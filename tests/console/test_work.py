"""What blocks runs beside the loop, bounded; and a request that waits for it keeps nobody up."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.console.harness import admin

from inhouse.console.call import Call
from inhouse.console.route import Route, Table
from inhouse.console.work import Work
from inhouse.errors import Code, Refusal


async def test_so_many_at_once_and_so_many_waiting() -> None:
    work, gate = Work(places=2, waiting=3), threading.Event()
    running: list[int] = []

    def call() -> int:
        running.append(1)
        gate.wait(20)
        return threading.get_ident()

    tasks = [asyncio.create_task(work.run(call, 20)) for _ in range(5)]
    while len(running) < 2:
        await asyncio.sleep(0.01)
    with pytest.raises(Refusal) as refused:
        await work.run(call, 20)
    assert (refused.value.code, refused.value.status) == (Code.QUEUE_FULL, 503)
    assert len(running) == 2
    gate.set()
    threads = await asyncio.gather(*tasks)
    assert threading.get_ident() not in threads


async def test_what_is_late_keeps_its_place_until_it_is_done() -> None:
    work, gate = Work(places=1, waiting=1), threading.Event()
    with pytest.raises(Refusal) as late:
        await work.run(lambda: gate.wait(20), 0.05)
    assert late.value.code is Code.DEADLINE_EXCEEDED
    with pytest.raises(Refusal) as full:
        await work.run(lambda: None, 0.05)
    assert full.value.code is Code.QUEUE_FULL
    gate.set()
    assert await work.run(lambda: 7, 20) == 7


async def test_a_caller_that_left_gives_its_place_back() -> None:
    work, gate = Work(places=1, waiting=1), threading.Event()
    task = asyncio.create_task(work.run(lambda: gate.wait(20), 20))
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    gate.set()
    assert await work.run(lambda: 7, 20) == 7


async def test_a_stop_waits_for_what_is_being_done_and_no_longer() -> None:
    work, gate = Work(places=1, waiting=1), threading.Event()
    assert await work.idle(0)
    task = asyncio.create_task(work.run(lambda: gate.wait(20), 20))
    await asyncio.sleep(0.05)
    assert not await work.idle(0.05)
    gate.set()
    assert await work.idle(20)
    assert await task


async def test_what_a_call_raises_comes_back() -> None:
    work = Work(places=1, waiting=1)

    def fails() -> None:
        raise TimeoutError("of its own")

    for _ in range(3):
        with pytest.raises(TimeoutError, match="of its own"):
            await work.run(fails, 20)


class Told(msgspec.Struct):
    text: str


def _table(gate: threading.Event) -> Table:
    def waits(call: Call) -> Told:
        gate.wait(20)
        return Told("done")

    def breaks(call: Call) -> Told:
        raise RuntimeError(f"secret of {call.actor.name}")

    def large(call: Call) -> Told:
        return Told("a" * 9_000_000)

    def row(path: str, handler: Callable[[Call], Told], deadline_s: float = 15.0) -> Route:
        return Route(
            method="GET", path=f"/admin/v1/{path}", permission="keys:read",
            handler=handler, summary="", answer=Told, deadline_s=deadline_s,
        )  # fmt: skip

    return Table([row("waits", waits, 0.2), row("breaks", breaks), row("large", large)])


async def test_a_handler_that_waits_breaks_or_says_too_much(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    async with admin(tmp_path, table=_table(gate)) as started:
        waiting = asyncio.create_task(started.get("waits"))
        alive = await started.client.get("/healthz")
        assert alive.status_code == 200
        late = await waiting
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline_exceeded")
        gate.set()
        broken = await started.get("breaks")
        assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal")
        assert "secret" not in broken.text
        assert broken.json()["error"]["request_id"] in caplog.text
        large = await started.get("large")
        assert (large.status_code, large.json()["error"]["code"]) == (400, "limit_exceeded")


def test_a_table_with_two_rows_for_one_or_an_unknown_permission_is_refused() -> None:
    row = _table(threading.Event()).routes[0]
    with pytest.raises(ValueError, match="stands twice"):
        Table([row, row])
    with pytest.raises(ValueError, match="no permission keys:reed"):
        Table([replace(row, permission="keys:reed")])
