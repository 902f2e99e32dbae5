"""One connection to one engine, read as it comes.

Engines are half trusted: what they send is bounded (headers, 1xx answers, bytes held for a slow
client) and an answer that breaks off raises, it never just ends.
"""

import asyncio
from typing import Protocol

import httptools

from inhouse.errors import EngineError

MAX_HEAD_BYTES = 65_536  # of whatever is not body, in a row: headers, sizes of chunks, trailers
MAX_HELD_BYTES = 262_144  # of an answer, waiting for a client that reads slowly
JOINED_BYTES = 16_384  # a larger body is sent from where it lies, not copied behind its head


class EngineUnreachable(EngineError):
    """No connection, or it closed before a byte of the answer: nothing was done, ask another."""


class EngineBroke(EngineError):
    """The engine began an answer, or took too long to, and did not end it."""


class Follower(Protocol):
    """Who takes an answer as it comes, in the connection's own callbacks: no task is woken."""

    def take(self, data: bytes) -> None:
        """More of the answer's body."""
        ...

    def ended(self) -> None:
        """It ended properly."""
        ...

    def broke(self, error: EngineError) -> None:
        """It broke off."""
        ...


class EngineConnection(asyncio.Protocol):
    """One connection to one engine. Used by one request at a time, then kept for the next.

    No timer per wait: its client sweeps the connections that are at work, a few times a second.
    """

    __slots__ = (
        "_address",
        "_begun",
        "_error",
        "_first_s",
        "_follower",
        "_framed",
        "_head_bytes",
        "_held",
        "_held_bytes",
        "_keep",
        "_loop",
        "_moved",
        "_parser",
        "_paused",
        "_since",
        "_stall_s",
        "_waiter",
        "complete",
        "content_type",
        "last_used",
        "status",
        "transport",
    )

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.last_used = 0.0
        self._first_s = self._stall_s = self._since = 0.0
        self._parser = httptools.HttpResponseParser(self)  # reads one answer after another
        self._reset()

    def _reset(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._head_bytes = 0  # since the last of the body
        self._begun = False  # some of the body came
        self._moved = False  # some of it came since the last sweep
        self._framed = False  # the answer says where it ends
        self._keep = False  # the engine keeps the connection behind it
        self._paused = False
        self._follower: Follower | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: EngineError | None = None
        self.status = 0
        self.content_type = b""
        self.complete = False

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP client's transport is one

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self._keep = False
            self._break(f"{self._address} sent bytes that nobody asked for")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(f"{self._address} switched to a protocol that nobody asked for")
        except httptools.HttpParserError as error:
            self._break(f"{self._address} answered with something that is not HTTP: {error}")
        if not self._held:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._break(f"{self._address} sent more than {MAX_HEAD_BYTES} bytes of headers")
        follower = self._follower
        if follower is None:
            self._wake()
        elif self.complete or self._error is not None:
            self._deliver(follower)
        elif len(self._held) == 1:
            follower.take(self._held.pop())
        elif self._held:
            self._deliver(follower)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if not self.complete and self._error is None:
            self._end_at_close()
        if self._follower is not None:
            self._deliver(self._follower)
        self._wake()

    def _end_at_close(self) -> None:
        """An answer without a length ends with its connection; any other is cut off by it."""
        if self.status and not self._framed:
            self.complete = True
        elif self.status or self._head_bytes:
            self._error = EngineBroke(f"{self._address} closed the connection within its answer")
        else:
            self._error = EngineUnreachable(f"{self._address} closed the connection unanswered")

    # What the parser says

    def on_message_begin(self) -> None:
        if self.complete:
            self._keep = False  # a second answer, that nobody asked for
        self._framed = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"content-type":
            self.content_type = value
        elif name in (b"content-length", b"transfer-encoding"):
            self._framed = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self.complete:
            self.status = status
            self._keep = self._parser.should_keep_alive()  # forgotten by it once the end is read

    def on_body(self, body: bytes) -> None:
        if self.complete:
            return
        self._begun = self._moved = True
        self._head_bytes = 0
        self._held.append(body)
        if self._follower is None:
            self._held_bytes += len(body)
            if self._held_bytes > MAX_HELD_BYTES:
                self.pause()

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True

    # What the request path asks for

    def send(self, head: bytes, body: bytes, first_s: float, stall_s: float) -> None:
        """Send a whole request. Its answer may take `first_s` to begin, and pause for `stall_s`."""
        if self.transport is None:
            raise EngineUnreachable(f"{self._address} closed the connection unanswered")
        self.complete = False
        self._first_s, self._stall_s = first_s, stall_s
        self._since = self._loop.time()
        if len(body) < JOINED_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))

    async def read(self) -> bytes:
        """What came since the last call; b"" once the answer has ended properly."""
        while not self._held:
            if self.complete:
                return b""
            await self.arrival()
        return self.taken()

    def taken(self) -> bytes:
        """What came since the last call, without waiting."""
        held = self._held
        data = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self._held_bytes = 0
        if self._paused:
            self.resume()
        return data

    async def arrival(self) -> None:
        """Until something came: the status, more of the body, its end. Raises EngineError."""
        if self._error is not None:
            raise self._error
        if self.transport is None:
            raise EngineBroke(f"{self._address} closed the connection within its answer")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._held:
            raise self._error

    def follow(self, follower: Follower | None) -> None:
        """From now on the answer goes to `follower` as it comes; or, with None, is read again."""
        self._follower = follower
        if follower is not None:
            self._deliver(follower)

    def pause(self) -> None:
        """Read no further for now: nobody takes what comes."""
        if not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self.transport is not None:
                self.transport.resume_reading()

    def reusable(self) -> bool:
        return (
            self.complete
            and not self._held
            and self._error is None
            and self.transport is not None
            and not self.transport.is_closing()
            and self._keep
        )

    def usable(self) -> bool:
        """Whether a kept connection takes another request."""
        open_ = self.transport is not None and not self.transport.is_closing()
        return open_ and self._error is None

    def renew(self) -> None:
        self._reset()
        self.complete = True  # until the next request, bytes are not expected

    def close(self) -> None:
        """Cut it: the engine sees that nobody waits any more, and frees the slot."""
        if self.transport is not None:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """End a wait that takes too long. Who waits for a slow client is no engine's fault."""
        if self.complete:
            return
        if self._moved or self._paused:
            self._moved = False
            self._since = now
        elif self._begun and now - self._since > self._stall_s:
            self._break(f"{self._address} stopped within its answer for {self._stall_s:g} s")
        elif not self._begun and now - self._since > self._first_s:
            self._break(f"{self._address} did not begin to answer for {self._first_s:g} s")

    def _deliver(self, follower: Follower) -> None:
        held = self._held
        if held:
            data = held[0] if len(held) == 1 else b"".join(held)
            held.clear()
            follower.take(data)
        if not self.complete and self._error is None:
            return
        if self._follower is not follower:
            return  # it has seen enough
        if self._error is not None:
            follower.broke(self._error)
        else:
            follower.ended()

    def _break(self, sentence: str) -> None:
        if self._error is None:
            self._error = EngineBroke(sentence)
        self._wake()
        self.close()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
