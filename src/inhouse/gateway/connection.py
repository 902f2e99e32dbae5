"""One client connection: bytes in, one exchange at a time, bytes out.

    HEAD ──whole head──► BODY ──whole body──► ANSWER ──answer out──► HEAD ...
      │                    │                     │
      └── malformed ───────┴──► LINGER ──────────┘ (answer refused or cut) ──► closed

No timer per request: every connection has one `deadline`, and the listener sweeps them all.
A client that closes ends its request's task at once.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable

from inhouse.gateway.exchange import ClientGone, Exchange
from inhouse.gateway.http1 import ChunkedBody, Head, Malformed, check_partial, parse_head

HELD_BYTES = 65_536  # read ahead of a body that nobody has asked for yet, and of a next request
LINGER_S = 2.0  # for a client to read our last words before the connection goes
WRITE_HIGH_BYTES = 65_536  # beyond this much unread by the client, the engine is read no further
WRITE_LOW_BYTES = 16_384


class State(enum.Enum):
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    LINGER = "linger"


class Listening:
    """What all connections of one listener share: its limits, its clock, who answers."""

    def __init__(
        self,
        answer: Callable[[Exchange], Awaitable[None]],
        malformed: Callable[["Connection", Malformed], bytes],
        *,
        head_timeout_s: float = 10.0,
        body_timeout_s: float = 60.0,
        idle_timeout_s: float = 75.0,
        request_timeout_s: float = 600.0,
        write_timeout_s: float = 60.0,
        max_connections: int = 4096,
    ) -> None:
        self.answer = answer
        self.malformed = malformed
        self.head_timeout_s = head_timeout_s
        self.body_timeout_s = body_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.request_timeout_s = request_timeout_s
        self.write_timeout_s = write_timeout_s
        self.max_connections = max_connections
        self.connections: set[Connection] = set()
        self.stopping = False
        self.loop = asyncio.get_running_loop()


class Connection(asyncio.Protocol):
    """The protocol of one client connection."""

    __slots__ = (
        "_body",
        "_buffer",
        "_chunked",
        "_kept",
        "_left",
        "_shared",
        "_task",
        "_wanted",
        "_writable",
        "deadline",
        "exchange",
        "peer",
        "state",
        "transport",
        "write_deadline",
    )

    def __init__(self, shared: Listening) -> None:
        self._shared = shared
        self.state = State.HEAD
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self.peer = ""
        self.exchange: Exchange | None = None
        self.deadline = 0.0
        self.write_deadline = 0.0
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._chunked: ChunkedBody | None = None
        self._body: list[bytes] = []
        self._kept = 0  # bytes of the body that came so far
        self._left = 0  # bytes of a counted body still to come
        self._wanted = -1  # -1: nobody asked for the body yet; else the most that may come
        self._writable: asyncio.Future[None] | None = None

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP server's transport is one
        if len(self._shared.connections) >= self._shared.max_connections or self._shared.stopping:
            transport.close()
            return
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        self._shared.connections.add(self)
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self.deadline = self._shared.loop.time() + self._shared.head_timeout_s

    def data_received(self, data: bytes) -> None:
        try:
            if self.state is State.BODY:
                self._take_body(data)
            elif self.state is not State.LINGER:
                self._buffer = self._buffer + data if self._buffer else data
                if self.state is State.HEAD:
                    self._take_head()
                elif len(self._buffer) > HELD_BYTES:
                    self.transport.pause_reading()
        except Malformed as malformed:
            self._refuse(malformed)

    def eof_received(self) -> bool:
        return False  # a client that has said its last is gone: the transport closes

    def connection_lost(self, error: Exception | None) -> None:
        self._shared.connections.discard(self)
        self._resume_writer()
        exchange, task = self.exchange, self._task
        if exchange is not None and task is not None:
            exchange.gone = True
            exchange.wake()
            task.cancel()

    def pause_writing(self) -> None:
        self._writable = self._shared.loop.create_future()
        self.write_deadline = self._shared.loop.time() + self._shared.write_timeout_s

    def resume_writing(self) -> None:
        self._resume_writer()

    # Reading

    def _take_head(self) -> None:
        data = self._buffer
        if data[:2] == b"\r\n":
            data = data[2:]  # RFC 9112 2.2: one empty line before a request is passed over
        end = data.find(b"\r\n\r\n")
        if end < 0:
            check_partial(data)
            return
        if end > 32_768:
            check_partial(data[: end + 2])
        head = parse_head(data[: end + 2])
        self._buffer = b""
        self._begin(head)
        rest = data[end + 4 :]
        if rest:
            self.data_received(rest)

    def _begin(self, head: Head) -> None:
        now = self._shared.loop.time()
        self._body = []
        self._kept = 0
        self._wanted = -1
        self._left = head.length
        self._chunked = ChunkedBody() if head.length < 0 else None
        self.state = State.BODY if head.length else State.ANSWER
        self.deadline = now + (
            self._shared.body_timeout_s if head.length else self._shared.request_timeout_s
        )
        self.exchange = Exchange(self, head, now)
        self._task = self._shared.loop.create_task(self._run(self.exchange))

    async def _run(self, exchange: Exchange) -> None:
        try:
            await self._shared.answer(exchange)
        except (ClientGone, asyncio.CancelledError):
            self.transport.abort()
        finally:
            self._task = None
            if self.exchange is exchange and not exchange.ended:
                self.transport.abort()

    def _take_body(self, data: bytes) -> None:
        if self._chunked is not None:
            piece = self._chunked.feed(data)
            done, excess = self._chunked.done, self._chunked.excess if self._chunked.done else b""
        else:
            piece, excess = data[: self._left], data[self._left :]
            self._left -= len(piece)
            done = self._left == 0
        self._kept += len(piece)
        self._keep(piece)
        if done:
            self.state = State.ANSWER
            self.deadline = self._shared.loop.time() + self._shared.request_timeout_s
            self._buffer = excess
        if self.exchange is not None:
            self.exchange.wake()

    def _keep(self, piece: bytes) -> None:
        if self._wanted < 0:
            self._body.append(piece)
            if self._kept > HELD_BYTES:
                self.transport.pause_reading()
        elif self._kept <= self._wanted:
            self._body.append(piece)
        else:
            self._body.clear()

    def want_body(self, most_bytes: int) -> None:
        self._wanted = most_bytes
        if self._kept > most_bytes:
            self._body.clear()
        self.transport.resume_reading()

    def taken_body(self) -> bytes:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        return body

    @property
    def body_bytes(self) -> int:
        return self._kept

    @property
    def awaits_body(self) -> bool:
        return self.state is State.BODY

    @property
    def request_whole(self) -> bool:
        return self.state is State.ANSWER

    # Writing

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def drained(self) -> None:
        if self._writable is not None:
            await self._writable
        if self.transport.is_closing():
            raise ClientGone

    @property
    def paused(self) -> bool:
        return self._writable is not None

    def _resume_writer(self) -> None:
        waiter, self._writable = self._writable, None
        self.write_deadline = 0.0
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def ended(self, *, keep: bool) -> None:
        """The exchange is over: wait for the next one, or let the client read and go."""
        self.exchange = None
        if self.transport.is_closing():
            return
        if not keep or self.state is not State.ANSWER or self._shared.stopping:
            self._linger()
            return
        self.state = State.HEAD
        self.deadline = self._shared.loop.time() + (
            self._shared.head_timeout_s if self._buffer else self._shared.idle_timeout_s
        )
        self.transport.resume_reading()
        if self._buffer:
            self._shared.loop.call_soon(self._next)

    def _next(self) -> None:
        if self.state is State.HEAD and not self.transport.is_closing():
            data, self._buffer = self._buffer, b""
            self.data_received(data)

    def _refuse(self, malformed: Malformed) -> None:
        exchange, task = self.exchange, self._task
        if exchange is not None and task is not None:
            exchange.malformed = malformed  # the body broke: the request's own task says so
            exchange.wake()
            self.state = State.LINGER
            return
        self.write(self._shared.malformed(self, malformed))
        self._linger()

    def _linger(self) -> None:
        self.state = State.LINGER
        self._buffer = b""
        self.deadline = self._shared.loop.time() + LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()

    # Deadlines, told by the listener's sweep

    def expire(self, now: float) -> None:
        if self.write_deadline and now > self.write_deadline:
            self.transport.abort()
        elif now > self.deadline:
            self._expire_state()

    def _expire_state(self) -> None:
        if self.exchange is not None and self._task is not None:
            self.deadline = float("inf")
            self.exchange.late = True
            self.exchange.wake()
            if self.state is State.ANSWER:
                self._task.cancel()
        elif self.state is State.HEAD and self._buffer:
            self._refuse(Malformed(408, "the request's headers did not arrive in time"))
        else:
            self.transport.abort() if self.state is State.LINGER else self.transport.close()
