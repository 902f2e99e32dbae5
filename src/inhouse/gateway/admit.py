"""Admit: a place at the model's engines, in order of arrival, for as long as the queue allows."""

import asyncio
from collections import deque
from collections.abc import Callable

from inhouse.config.schema import LimitsSection
from inhouse.errors import Code, Refusal

RETRY_AFTER_S = 5


class Queue:
    """The places of one model: as many as its healthy engines serve at once, and a bounded queue.

    `capacity` is asked each time, because engines come and go.
    """

    def __init__(self, model: str, limits: LimitsSection, capacity: Callable[[], int]) -> None:
        self._model = model
        self._length = limits.queue_length
        self._timeout_s = limits.queue_timeout_s
        self._capacity = capacity
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def __aenter__(self) -> None:
        """Take a place, waiting for one if need be; leaving the context passes it on."""
        if not self._waiting and self.running < self._capacity():
            self.running += 1
        else:
            await self._enter()

    async def __aexit__(self, *error: object) -> None:
        self.running -= 1
        if self._waiting:
            self.wake()

    async def _enter(self) -> None:
        if not self._capacity():
            self.running += 1  # no engine is up: `choose` says why; there is nothing to wait for
            return
        if len(self._waiting) >= self._length:
            raise self._refusal(Code.QUEUE_FULL, f"{len(self._waiting)} requests are waiting")
        await self._wait()

    def wake(self) -> None:
        """Let in whom there is room for: a place was left, or an engine came back."""
        while self._waiting and self.running < self._capacity():
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.running += 1
                waiter.set_result(None)

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiter
        except BaseException as error:
            self._give_up(waiter)
            if isinstance(error, TimeoutError):
                raise self._refusal(
                    Code.QUEUE_TIMEOUT, f"no engine was free within {self._timeout_s:g} s"
                ) from error
            raise

    def _give_up(self, waiter: "asyncio.Future[None]") -> None:
        if waiter.done() and not waiter.cancelled():
            self.running -= 1  # a place was given in the same moment: pass it on
            self.wake()
        elif waiter in self._waiting:
            self._waiting.remove(waiter)

    def _refusal(self, code: Code, what: str) -> Refusal:
        return Refusal(
            code,
            503,
            f"'{self._model}' is busy: {what}; try again in {RETRY_AFTER_S} s",
            retry_after_s=RETRY_AFTER_S,
        )
