"""One client connection: bytes in, one exchange at a time, bytes out.

    HEAD ──whole head──► BODY ──whole body──► ANSWER ──answer out──► HEAD ...
      │                    │                     │
      └── malformed ───────┴──► LINGER ◄─────────┘ (answer refused, cut, or the last one) ──► closed

A body is held unread, up to `HELD_BYTES`, until somebody who may send one asks for it. While an
answer is made the client is still listened to, so that its going away is noticed.

No timer per request: the listener sweeps all connections, and each knows what it waits for.
A client that closes, or says that it will send no more, is gone: its request's task ends at once.
"""

import asyncio
import enum

from inhouse.gateway.exchange import ClientGone, Exchange
from inhouse.gateway.http1 import Head, HeadReader, Malformed
from inhouse.gateway.incoming import Body
from inhouse.gateway.listening import Listening
from inhouse.gateway.origin import plain

HELD_BYTES = 65_536  # read ahead of a body that nobody has asked for yet, and of a next request
SETTLE_S = 10.0  # for an answer that came in time to be recorded, and sent
LINGER_S = 2.0  # for a client to read our last words before the connection goes
WRITE_HIGH_BYTES = 32_768  # beyond this much unread by the client, the engine is read no further
WRITE_LOW_BYTES = 8_192
_NO_BODY = Body(0)
BODY_GRACE_S = 5.0  # before a body's rate is looked at


class State(enum.Enum):
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    LINGER = "linger"


class Connection(asyncio.Protocol):
    """The protocol of one client connection."""

    __slots__ = (
        "_ahead",
        "_heads",
        "_overrun",
        "_progress_at",
        "_since",
        "_task",
        "_turn",
        "_unsent",
        "_writable",
        "body",
        "deadline",
        "exchange",
        "paused",
        "peer",
        "shared",
        "state",
        "transport",
    )

    def __init__(self, shared: Listening) -> None:
        self.shared = shared
        self.state = State.HEAD
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.peer = ""
        self.exchange: Exchange | None = None
        self.deadline = 0.0
        self._heads = HeadReader(secure=shared.secure)
        self._task: asyncio.Task[None] | None = None  # from the first request on
        self._turn: asyncio.Future[None] | None = None  # it waits for the next one
        self._ahead = b""  # came before its time: of a body not asked for, or of a next request
        self._overrun = False  # more of a next request came than is held: it is not answered
        self.body: Body = _NO_BODY  # of the request that is answered
        self._since = 0.0  # when the request began
        self.paused = False  # the client has more to read than is held for it
        self._writable: asyncio.Future[None] | None = None
        self._unsent = 0  # bytes that the client had not taken at the last sweep
        self._progress_at = 0.0  # when it last took some

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP server's transport is one
        if len(self.shared.connections) >= self.shared.max_connections or self.shared.stopping:
            transport.close()
            return
        peer = transport.get_extra_info("peername")
        self.peer = plain(peer[0]) if peer else ""
        self.shared.connections.add(self)
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self.deadline = self.shared.loop.time() + self.shared.head_timeout_s

    def data_received(self, data: bytes) -> None:
        try:
            if self.state is State.HEAD:
                if self._ahead:
                    self._wait_its_turn(data)
                else:
                    self._take_head(data)
            elif self.state is State.BODY:
                self._take_body(data)
            elif self.state is State.ANSWER:
                self._take_ahead(data)
        except Malformed as malformed:
            self._refuse(malformed)

    def eof_received(self) -> bool:
        return False  # a client that has said its last is gone: the transport closes

    def connection_lost(self, error: Exception | None) -> None:
        self.shared.connections.discard(self)
        self._wake_writer()
        if self.exchange is not None:
            self.exchange.gone = True
            self.exchange.wake()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self.paused = True
        self._writable = self.shared.loop.create_future()

    def resume_writing(self) -> None:
        self._wake_writer()
        if self.state is State.HEAD and self._ahead:
            self._go_on()

    # Reading

    def _take_head(self, data: bytes) -> None:
        begun = self._heads.begun
        found = self._heads.feed(data)
        if found is None:
            if not begun:
                self.deadline = self.shared.loop.time() + self.shared.head_timeout_s
            return
        head, rest = found
        self._begin(head)
        if rest:
            self.data_received(rest)

    def _begin(self, head: Head) -> None:
        shared = self.shared
        now = self._since = shared.loop.time()
        self.body = Body(head.length) if head.length else _NO_BODY
        if head.length:
            self.state = State.BODY
            self.deadline = now + shared.body_timeout_s
        else:
            self.state = State.ANSWER
            self.deadline = now + shared.request_timeout_s
        self.exchange = Exchange(self, head, now)
        if self._task is None:
            self._task = shared.loop.create_task(self._run())
        elif self._turn is not None:
            turn, self._turn = self._turn, None
            turn.set_result(None)

    async def _run(self) -> None:
        """Answer one request after another, for as long as the connection lives."""
        try:
            while (exchange := self.exchange) is not None:
                await self.shared.answer(exchange)
                if self.exchange is exchange:
                    return  # it was not ended: there is no way to go on
                task = self._task
                while task is not None and task.cancelling():
                    task.uncancel()  # that was for the last request, which told its client so
                if self.exchange is None:
                    self._turn = self.shared.loop.create_future()
                    await self._turn
        except (ClientGone, asyncio.CancelledError):
            pass
        finally:
            self._task = None
            self.transport.abort()

    def _take_body(self, data: bytes) -> None:
        if not self.body.wanted:
            self._ahead = self._ahead + data if self._ahead else data
            if len(self._ahead) > HELD_BYTES:
                self.transport.pause_reading()
            return
        excess = self.body.feed(data)
        if excess is not None:
            self._body_came(excess)
        if self.exchange is not None:
            self.exchange.wake()

    def _body_came(self, excess: bytes) -> None:
        self.state = State.ANSWER
        self.deadline = self._since + self.shared.request_timeout_s
        if excess:
            self._take_ahead(excess)

    def _take_ahead(self, data: bytes) -> None:
        """Hold the beginning of a next request. Reading goes on, or nobody would see the client
        go; what is too much is let fall, and the connection ends with this answer."""
        self._ahead = self._ahead + data if self._ahead else data
        if len(self._ahead) > HELD_BYTES:
            self._overrun = True
            self._ahead = b""

    def want_body(self, most_bytes: int) -> None:
        """Somebody who may send a body of at most `most_bytes` sends one."""
        self.body.most_bytes = most_bytes
        ahead, self._ahead = self._ahead, b""
        if not ahead:
            return
        if len(ahead) > HELD_BYTES:
            self.transport.resume_reading()
        try:
            self._take_body(ahead)
        except Malformed as malformed:
            self._refuse(malformed)

    @property
    def awaits_body(self) -> bool:
        return self.state is State.BODY

    @property
    def body_begun(self) -> bool:
        return bool(self.body.came or self._ahead)

    @property
    def can_keep(self) -> bool:
        """Whether a next request can be read behind this one's answer."""
        if self.state is not State.ANSWER and not self._body_passed_over:
            return False
        return not self._overrun and not self.shared.stopping

    @property
    def _body_passed_over(self) -> bool:
        """The body came whole, and nobody asked for it."""
        return self.state is State.BODY and self.body.within(self._ahead)

    # Writing

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def drained(self) -> None:
        if self._writable is not None:
            await asyncio.shield(self._writable)
        if self.transport.is_closing():
            raise ClientGone

    @property
    def seen_through(self) -> bool:
        """Whether the transport says what the client has not taken yet: over TLS it does not."""
        return self.transport.can_write_eof()

    @property
    def write_timeout_s(self) -> float:
        return self.shared.write_timeout_s

    @property
    def busy(self) -> bool:
        """A request is answered, or its answer is not all out."""
        return self.exchange is not None or self.transport.get_write_buffer_size() > 0

    def _wake_writer(self) -> None:
        self.paused = False
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ended(self, *, keep: bool) -> None:
        """The exchange is over: wait for the next one, or let the client read and go."""
        whole = self.can_keep
        self.exchange = None
        if self.transport.is_closing():
            return
        if not keep or not whole:
            self._linger()
            return
        if self.state is State.BODY:  # it came whole, and nobody wanted it
            self._ahead = self._ahead[self.body.left :]
            self.transport.resume_reading()
        self.state = State.HEAD
        self.deadline = self.shared.loop.time() + self.shared.idle_timeout_s
        if self._ahead:
            self.shared.loop.call_soon(self._go_on)

    def _wait_its_turn(self, data: bytes) -> None:
        """What comes behind bytes that are not read yet waits behind them."""
        self._ahead += data
        if len(self._ahead) > HELD_BYTES:
            self.transport.pause_reading()  # for as long as the client may take to read

    def _go_on(self) -> None:
        """Read on with what came ahead; not before the client took most of the last answer."""
        if self.state is State.HEAD and not self.paused and not self.transport.is_closing():
            data, self._ahead = self._ahead, b""
            self.transport.resume_reading()
            self.data_received(data)

    def _refuse(self, malformed: Malformed) -> None:
        exchange, task = self.exchange, self._task
        if exchange is not None and task is not None:
            exchange.malformed = malformed  # the body broke: the request's own task says so
            exchange.wake()
            self.state = State.LINGER
            return
        self.write(self.shared.malformed(self, malformed))
        self._linger()

    def _linger(self) -> None:
        self.state = State.LINGER
        self._ahead = b""
        self.deadline = 0.0  # set once all is out
        if not self.transport.can_write_eof():
            self.transport.close()  # TLS: says its own goodbye, once all is out
            return
        self.transport.write_eof()
        self.transport.resume_reading()

    # Deadlines, told by the listener's sweep

    def sweep(self, now: float) -> None:
        """End what takes too long."""
        unsent = self.transport.get_write_buffer_size()
        if unsent:
            if not self._unsent or unsent < self._unsent:
                self._progress_at = now
            elif now - self._progress_at > self.shared.write_timeout_s:
                self.transport.abort()
                return
        self._unsent = unsent
        if self.state is State.LINGER and self.exchange is None and not self.deadline:
            if not unsent:
                self.deadline = now + (LINGER_S if self.seen_through else self.write_timeout_s)
        elif now > self.deadline or self._body_crawls(now):
            self._expire()

    def _body_crawls(self, now: float) -> bool:
        if self.state is not State.BODY or not self.body.wanted:
            return False
        due_s = now - self._since - BODY_GRACE_S
        return due_s > 0 and self.body.came < due_s * self.shared.body_bytes_per_s

    def cut_off(self) -> None:
        """The gateway stops and can wait no longer: the request's task says so, and ends."""
        if self.exchange is not None and self._task is not None and not self.exchange.settling:
            self.exchange.stopped = True
            self._task.cancel()

    def _expire(self) -> None:
        if self.exchange is not None and self.exchange.settling:
            self.exchange.settling = False  # once: a disk may hang
            self.deadline = self.shared.loop.time() + SETTLE_S
        elif self.exchange is not None and self._task is not None:
            self.deadline = self.shared.loop.time() + self.shared.request_timeout_s
            late, self.exchange.late = self.exchange.late, True
            self.exchange.wake()
            if self.state is State.ANSWER or late:
                self._task.cancel()
        elif self.state is State.HEAD and self._heads.begun:
            self._refuse(Malformed(408, "the request's headers did not arrive in time"))
        else:
            self.transport.abort() if self.state is State.LINGER else self.transport.close()
