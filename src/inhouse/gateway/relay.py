"""Relay: an answer that has begun, on to the client as it comes.

    engine's bytes ──► reader: whole events ──► gate: what may pass ──► client
                              │
                              └── the answer's end, or a fault ──► the waiting task

All of it runs in the callback that brings the engine's bytes: no task is woken for a token. The
request's task sleeps until the answer has ended, broke, or the client stops taking it.
"""

import asyncio

from inhouse.errors import EngineError
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.screen import AnswerGate
from inhouse.upstream.connection import EngineBroke, EngineConnection
from inhouse.upstream.dialects.shapes import Reader
from inhouse.upstream.pool import Target


class Relay:
    """One streamed answer on its way. Follows the engine's connection."""

    __slots__ = (
        "_connection",
        "_error",
        "_exchange",
        "_gate",
        "_head",
        "_over",
        "_reader",
        "_screened",
        "_target",
        "_waiter",
    )

    def __init__(
        self,
        target: Target,
        connection: EngineConnection,
        reader: Reader,
        exchange: Exchange,
        gate: AnswerGate,
        head: bytes,
    ) -> None:
        self._target = target
        self._connection = connection
        self._reader = reader
        self._exchange = exchange
        self._gate = gate
        self._screened = gate.looks
        self._head = head
        self._over = False  # the answer has ended, or is broken
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def run(self, first: bytes) -> None:
        """Pass the answer on until only its ending is left. Raises EngineError where the engine
        broke off, Refusal where the gate lets no more through, ClientGone."""
        self._pass_on(first)
        self._over = self._over or self._reader.complete
        connection, exchange = self._connection, self._exchange
        client = exchange.connection
        if not self._over:
            connection.follow(self)
        try:
            while not self._over:
                if client.paused:
                    connection.pause()
                    await exchange.drained()
                    connection.resume()
                else:
                    self._waiter = asyncio.get_running_loop().create_future()
                    await self._waiter
        finally:
            connection.follow(None)
        if self._error is not None:
            raise self._error
        if client.paused:
            await exchange.drained()

    # What the connection says

    def take(self, data: bytes) -> None:
        reader = self._reader
        self._target.pieces += 1
        try:
            out = reader.feed(data)
        except Exception as error:  # noqa: BLE001 - lost in a callback: the task raises it
            self._end(error)
            return
        exchange = self._exchange
        if out:
            if self._screened or not exchange.started:
                self._pass_on(out)
            elif self._error is None:
                exchange.write(out)
        if reader.complete or reader.fault is not None:
            fault = reader.fault
            self._end(EngineBroke(f"{self._target.name} {fault}") if fault is not None else None)
        elif exchange.connection.paused:
            self._wake()

    def ended(self) -> None:
        reader = self._reader
        try:
            self._pass_on(reader.finish())
        except Exception as error:  # noqa: BLE001 - lost in a callback: the task raises it
            self._end(error)
            return
        if reader.fault is not None:
            self._end(EngineBroke(f"{self._target.name} {reader.fault}"))
        elif reader.complete:
            self._end(None)
        else:
            self._end(EngineBroke(f"{self._target.name} ended its answer without finishing it"))

    def broke(self, error: EngineError) -> None:
        self._end(error)

    def _pass_on(self, out: bytes) -> None:
        if not out or self._error is not None:
            return
        piece = out
        if self._screened:
            try:
                piece = self._gate.pass_on(out)
            except Exception as error:  # noqa: BLE001 - a refusal, or a fault: the task raises it
                self._end(error)
                return
        if piece:
            exchange = self._exchange
            if not exchange.started:
                # The head goes out with the first piece, so that an answer of which nothing may
                # pass is still a plain refusal
                exchange.start(200, self._head)
            exchange.write(piece)

    def _end(self, error: Exception | None) -> None:
        if not self._over:
            self._over = True
            self._error = error
            self._connection.follow(None)
            self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
