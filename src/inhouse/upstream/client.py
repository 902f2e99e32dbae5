"""A pooled HTTP/1.1 client for engines: one request on a connection at a time, read as it comes.

Engines are half trusted: what they send is bounded (headers, 1xx answers, bytes held for a slow
client) and an answer that breaks off raises, it never just ends.
"""

import asyncio
import ipaddress
import socket
import ssl
from typing import Protocol

import httptools

from inhouse.errors import EngineError

MAX_HEAD_BYTES = 65_536
MAX_HELD_BYTES = 262_144  # of an answer, waiting for a client that reads slowly
MAX_IDLE = 256  # kept connections per engine
IDLE_S = 4.0  # llama.cpp and uvicorn close theirs after 5
SWEEP_S = 0.1
RECEIVE_BYTES = 32_768  # the kernel doubles it: the most that one read can bring for a slow client
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
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._head_bytes = 0
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
        except httptools.HttpParserError as error:
            self._break(f"{self._address} answered with something that is not HTTP: {error}")
        if not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._break(f"{self._address} sent more than {MAX_HEAD_BYTES} bytes of headers")
        if self._follower is not None:
            self._deliver(self._follower)
        else:
            self._wake()

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

    async def head(self) -> int:
        """The status, once the headers came."""
        while not self.status:
            await self._wait()
        return self.status

    async def read(self) -> bytes:
        """What came since the last call; b"" once the answer has ended properly."""
        while not self._held:
            if self.complete:
                return b""
            await self._wait()
        data = self._taken()
        self.resume()
        return data

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

    def renew(self) -> None:
        self._reset()
        self.complete = True  # until the next request, bytes are not expected

    def close(self) -> None:
        """Cut it: the engine sees that nobody waits any more, and frees the slot."""
        if self.transport is not None:
            self.transport.abort()

    def sweep(self, now: float) -> None:
        """End a wait that takes too long. Who waits for a slow client is no engine's fault."""
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

    def _taken(self) -> bytes:
        held = self._held
        data = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        self._held_bytes = 0
        return data

    async def _wait(self) -> None:
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

    def _break(self, sentence: str) -> None:
        if self._error is None:
            self._error = EngineBroke(sentence)
        self._wake()
        self.close()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class EngineClient:
    """The connections to one address, newest used first."""

    def __init__(
        self, url: str, connect_timeout_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        scheme, _, authority = url.partition("://")
        host, _, port = authority.rpartition(":")
        self.authority = authority
        self._host = host.strip("[]")
        self._port = int(port)
        self._tls = (tls or ssl.create_default_context()) if scheme == "https" else None
        self._connect_timeout_s = connect_timeout_s
        self._idle: list[EngineConnection] = []
        self._working: set[EngineConnection] = set()
        self._sweeping = False
        self._loop = asyncio.get_running_loop()

    async def send(
        self, head: bytes, body: bytes, first_s: float, stall_s: float
    ) -> EngineConnection:
        """Send a whole request and wait for the status line. A kept connection that turns out to
        be closed is replaced once: nothing of the request was answered on it."""
        connection = self._kept()
        if connection is not None:
            try:
                return await self._exchange(connection, head, body, first_s, stall_s)
            except EngineUnreachable:
                pass
        return await self._exchange(await self._connect(), head, body, first_s, stall_s)

    def give_back(self, connection: EngineConnection) -> None:
        """Keep a connection whose answer was read to its end; cut any other."""
        self._working.discard(connection)
        if connection.reusable() and len(self._idle) < MAX_IDLE:
            connection.renew()
            connection.last_used = self._loop.time()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _exchange(
        self,
        connection: EngineConnection,
        head: bytes,
        body: bytes,
        first_s: float,
        stall_s: float,
    ) -> EngineConnection:
        self._working.add(connection)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(SWEEP_S, self._sweep)
        try:
            connection.send(head, body, first_s, stall_s)
            await connection.head()
        except BaseException:
            self._working.discard(connection)
            connection.close()
            raise
        return connection

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._working):
            connection.sweep(now)
        self._sweeping = bool(self._working)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _kept(self) -> EngineConnection | None:
        oldest = self._loop.time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and connection.last_used > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self) -> EngineConnection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                transport, connection = await self._loop.create_connection(
                    lambda: EngineConnection(self.authority), self._host, self._port, ssl=self._tls
                )
        except TimeoutError as error:
            raise EngineUnreachable(
                f"{self.authority} did not accept a connection in {self._connect_timeout_s:g} s"
            ) from error
        except OSError as error:
            raise EngineUnreachable(
                f"{self.authority} cannot be reached: {error.strerror or error}"
            ) from error
        self._check_inside(transport)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        return connection

    def _check_inside(self, transport: asyncio.Transport) -> None:
        """A name may resolve to anything; a prompt goes to an address inside the building only."""
        peer = transport.get_extra_info("peername")
        if peer is None:  # it was reset in the same moment
            raise EngineUnreachable(f"{self.authority} closed the connection unanswered")
        address = peer[0].partition("%")[0]
        if ipaddress.ip_address(address).is_global:
            transport.abort()
            raise EngineUnreachable(
                f"{self.authority} resolves to {address}, a public address; prompts stay inside"
            )
