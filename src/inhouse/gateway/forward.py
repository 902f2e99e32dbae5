"""Forward: the request to an engine, and its answer back as it comes.

Another engine is tried only while nothing of an answer has gone out. What an engine sends is
believed as far as its dialect proves it: an answer that does not end as answers end is broken.
"""

import logging
from collections.abc import Callable, Sequence
from types import TracebackType

from inhouse.config.schema import Model
from inhouse.errors import Code, EngineError, Refusal
from inhouse.gateway.choose import RETRY_AFTER_S, choose
from inhouse.gateway.exchange import Exchange
from inhouse.gateway.relay import Relay
from inhouse.gateway.screen import AnswerGate
from inhouse.telemetry import Clock
from inhouse.upstream.connection import EngineBroke, EngineConnection, EngineUnreachable
from inhouse.upstream.dialects.complaint import TooLong, refusal_of
from inhouse.upstream.dialects.shapes import Ask, Reader
from inhouse.upstream.dialects.table import render
from inhouse.upstream.pool import Target

log = logging.getLogger("inhouse.gateway")

MAX_COMPLAINT_BYTES = 16_384


class Answer:
    """One engine's answer, being read. A context: on leaving it the engine is let go."""

    __slots__ = ("_connection", "_first", "reader", "target", "whole")

    def __init__(self, target: Target, connection: EngineConnection, reader: Reader) -> None:
        self.target = target
        self.reader = reader
        self._connection = connection
        self._first = b""
        self.whole = reader.content_type == b"application/json"  # it goes out in one piece

    async def begin(self, most_bytes: int) -> None:
        """Read until there is something to send: the first events, or the whole answer."""
        if self.whole:
            await self._read_whole(most_bytes)
        else:
            await self._read_first()

    async def relay(self, exchange: Exchange, gate: AnswerGate, head: bytes) -> None:
        """Pass a stream on until only its ending is left. Raises as `Relay.run` does."""
        relay = Relay(self.target, self._connection, self.reader, exchange, gate, head)
        await relay.run(self._first)

    async def _read_first(self) -> None:
        reader, connection = self.reader, self._connection
        while not (self._first or reader.complete):
            data = await connection.read()
            self._first = reader.feed(data) if data else reader.finish()
            if reader.fault is not None:
                raise EngineBroke(f"{self.target.name} {reader.fault}")
            if not data and not reader.complete:
                raise EngineBroke(f"{self.target.name} ended its answer without finishing it")

    async def _read_whole(self, most_bytes: int) -> None:
        reader, connection, size = self.reader, self._connection, 0
        while True:
            data = connection.taken()
            if data:
                self.target.pieces += 1
                size += len(data)
                if size > most_bytes:
                    raise EngineBroke(
                        f"{self.target.name} answered with more than {most_bytes} bytes"
                    )
                reader.feed(data)
            elif connection.complete:
                break
            else:
                await connection.arrival()
        reader.finish()
        if reader.fault is not None or not reader.complete:
            raise EngineBroke(
                f"{self.target.name} {reader.fault or 'ended its answer without finishing it'}"
            )

    def __enter__(self) -> "Answer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Keep the connection where its answer was read to the end, else cut it: the engine
        sees that nobody waits and frees the slot."""
        self.target.outstanding -= 1
        self.target.give_back(self._connection)


async def forward(
    ask: Ask,
    model: Model,
    targets: Sequence[Target],
    *,
    request_id: str,
    max_answer_bytes: int,
    clock: Clock,
    failed_over: Callable[[Target], None],
) -> Answer:
    """An answer that has begun, from the first engine that gave one. Raises Refusal.

    The bound on the answer is the model's, or the client's where that is lower. Where the client
    set none, and the prompt leaves less room than the model's bound, that room is the bound.
    """
    tried: list[Target] = []
    last: EngineError | None = None
    not_spoken: Refusal | None = None
    while True:
        try:
            target = choose(targets, tried, model.name)
        except Refusal as refusal:
            raise (_refusal(model, last) if last else not_spoken or refusal) from last
        tried.append(target)
        if last is not None:
            failed_over(target)
        try:
            return await _fitting(
                ask, target, _bound(ask, model), request_id, max_answer_bytes, clock
            )
        except Refusal as refusal:
            if refusal.code is not Code.NOT_SPOKEN:
                raise
            not_spoken = refusal  # by this kind of engine: another may
        except EngineError as error:
            last = error
            log.warning("%s: %s", request_id, error)
            if isinstance(error, EngineUnreachable):
                target.failed(str(error))


async def _fitting(
    ask: Ask, target: Target, bound: int, request_id: str, max_answer_bytes: int, clock: Clock
) -> Answer:
    try:
        return await _attempt(ask, target, bound, request_id, max_answer_bytes, clock)
    except TooLong as refusal:
        if ask.max_tokens is not None or refusal.room < 1:
            raise
        room = min(bound, refusal.room)
    return await _attempt(ask, target, room, request_id, max_answer_bytes, clock)


async def _attempt(
    ask: Ask,
    target: Target,
    bound: int,
    request_id: str,
    max_answer_bytes: int,
    clock: Clock,
) -> Answer:
    rendered = render(ask, target.kind, target.model, bound, clock)
    target.outstanding += 1
    connection: EngineConnection | None = None
    try:
        connection = await target.send(rendered, request_id)
        if connection.status != 200:
            raise await _complaint(ask, target, connection)
        answer = Answer(target, connection, rendered.reader)
        await answer.begin(max_answer_bytes)
    except BaseException:
        target.outstanding -= 1
        if connection is not None:
            target.give_back(connection)
        raise
    target.answered()
    return answer


def _bound(ask: Ask, model: Model) -> int:
    """The most tokens of an answer: the model's bound, or the client's where that is lower."""
    most = model.max_output_tokens
    return most if ask.max_tokens is None else min(ask.max_tokens, most)


def _refusal(model: Model, last: EngineError) -> Refusal:
    return Refusal(
        Code.ENGINE_FAILED,
        502,
        f"no engine for '{model.name}' gave a proper answer; nothing of one was sent",
        retry_after_s=RETRY_AFTER_S,
    )


async def _complaint(ask: Ask, target: Target, connection: EngineConnection) -> Exception:
    """What an engine's error status means: a refusal of this request, or a fault of the engine."""
    status, body = connection.status, b""
    while len(body) < MAX_COMPLAINT_BYTES:
        piece = await connection.read()
        if not piece:
            break
        body += piece
    refusal = refusal_of(status, body, ask.answers_as)
    return refusal or EngineError(f"{target.name} answered with status {status}")
