"""The queue before a model's engines."""

import asyncio

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.errors import Code, Refusal
from inhouse.gateway.admit import Queue


async def hold(queue: Queue, name: str, order: list[str], until: asyncio.Event) -> None:
    async with queue:
        order.append(name)
        await until.wait()


async def test_places_are_given_in_the_order_of_arrival() -> None:
    queue = Queue("m", LimitsSection(), lambda: 1)
    order: list[str] = []
    events = {name: asyncio.Event() for name in "abc"}
    tasks = []
    for name, event in events.items():
        tasks.append(asyncio.create_task(hold(queue, name, order, event)))
        await asyncio.sleep(0)
    assert (order, queue.waiting) == (["a"], 2)
    for name in "abc":
        events[name].set()
        await tasks["abc".index(name)]
    assert order == ["a", "b", "c"]
    assert (queue.running, queue.waiting) == (0, 0)


async def test_a_full_queue_refuses_at_once() -> None:
    queue = Queue("m", LimitsSection(queue_length=0), lambda: 1)
    async with queue:
        with pytest.raises(Refusal) as refused:
            await queue.__aenter__()
    assert (refused.value.code, refused.value.status) == (Code.QUEUE_FULL, 503)
    assert refused.value.retry_after_s


async def test_waiting_ends_with_the_time_for_it() -> None:
    queue = Queue("m", LimitsSection(queue_timeout_s=0.05), lambda: 1)
    async with queue:
        with pytest.raises(Refusal) as refused:
            await queue.__aenter__()
        assert refused.value.code is Code.QUEUE_TIMEOUT
    assert (queue.running, queue.waiting) == (0, 0)


async def test_who_leaves_the_queue_takes_no_place() -> None:
    queue = Queue("m", LimitsSection(), lambda: 1)
    order: list[str] = []
    never = asyncio.Event()
    async with queue:
        gone = asyncio.create_task(hold(queue, "gone", order, never))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
    assert (queue.running, queue.waiting, order) == (0, 0, [])


async def test_a_place_given_to_who_leaves_in_that_moment_is_passed_on() -> None:
    queue = Queue("m", LimitsSection(), lambda: 1)
    order: list[str] = []
    done = asyncio.Event()
    await queue.__aenter__()
    first = asyncio.create_task(hold(queue, "first", order, done))
    second = asyncio.create_task(hold(queue, "second", order, done))
    await asyncio.sleep(0)
    await queue.__aexit__()
    first.cancel()
    done.set()
    await asyncio.gather(first, second, return_exceptions=True)
    assert order[-1] == "second"
    assert (queue.running, queue.waiting) == (0, 0)


async def test_an_engine_that_comes_back_lets_the_waiting_in() -> None:
    places = 1
    queue = Queue("m", LimitsSection(), lambda: places)
    order: list[str] = []
    done = asyncio.Event()
    tasks = [asyncio.create_task(hold(queue, name, order, done)) for name in "ab"]
    await asyncio.sleep(0)
    assert order == ["a"]
    places = 2
    queue.wake()
    await asyncio.sleep(0)
    assert order == ["a", "b"]
    done.set()
    await asyncio.gather(*tasks)
