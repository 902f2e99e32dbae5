"""Runs what blocks (SQL, files, the log's disk) beside the event loop, in threads of its own.

Bounded in every direction: so many at once, so many waiting, and each for so long. A thread
cannot be ended from outside: one that is late keeps its place until it is done, and its answer is
thrown away. The threads are daemons, so that a disk which hangs does not keep the process.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from inhouse.errors import Code, Refusal

T = TypeVar("T")


class Work:
    """Places for calls that block."""

    def __init__(self, places: int, waiting: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._most_waiting = waiting
        self._waiting = 0
        self._running = 0

    async def run(self, call: Callable[[], T], within_s: float) -> T:
        """What the call returns or raises. Raises Refusal where there is no place, or no time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        await self._take_place(end)
        self._running += 1
        future: asyncio.Future[T] = loop.create_future()
        try:
            threading.Thread(
                target=self._work, args=(loop, future, call), name="admin-work", daemon=True
            ).start()
        except RuntimeError:  # the system has no thread for us
            self._give_back()
            raise
        try:
            async with asyncio.timeout_at(end):
                return await future
        except TimeoutError:
            if not future.cancelled():
                raise  # the call's own
            raise Refusal(
                Code.DEADLINE_EXCEEDED,
                504,
                f"this took longer than {within_s:g} s and may still be done; "
                "look at what is there before sending it again",
            ) from None

    async def idle(self, within_s: float) -> bool:
        """Wait for what runs, but no longer; whether all is done."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while self._running and loop.time() < end:  # noqa: ASYNC110 - once a life, bounded
            await asyncio.sleep(0.02)
        return not self._running

    def _give_back(self) -> None:
        self._running -= 1
        self._places.release()

    async def _take_place(self, end: float) -> None:
        if self._places.locked() and self._waiting >= self._most_waiting:
            raise _full()
        self._waiting += 1
        try:
            async with asyncio.timeout_at(end):
                await self._places.acquire()
        except TimeoutError:
            raise _full() from None
        finally:
            self._waiting -= 1

    def _work(
        self, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", call: Callable[[], T]
    ) -> None:
        tell: Callable[[], None]
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            told = error

            def tell() -> None:
                future.set_exception(told)
        else:

            def tell() -> None:
                future.set_result(result)

        def done() -> None:
            self._give_back()
            if not future.done():
                tell()

        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(done)


def _full() -> Refusal:
    return Refusal(
        Code.QUEUE_FULL, 503, "too many requests of operators are at work", retry_after_s=1
    )
