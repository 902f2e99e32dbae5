"""One request and its answer, as the stages see it: read the body, write the answer, once."""

import asyncio
from typing import TYPE_CHECKING

from inhouse.gateway.http1 import Head, Malformed

if TYPE_CHECKING:
    from inhouse.gateway.connection import Connection

REASONS = {
    200: b"OK", 201: b"Created", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict",
    413: b"Content Too Large", 414: b"URI Too Long", 415: b"Unsupported Media Type",
    417: b"Expectation Failed", 421: b"Misdirected Request",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 507: b"Insufficient Storage",
}  # fmt: skip


class ClientGone(Exception):
    """The client left, or stopped reading for too long: there is nobody to answer."""


class BodyTooLarge(Exception):
    """The body is larger than the limit that `Exchange.body` was given."""


class Exchange:
    """One request and its answer, as the stages see it."""

    request_id = ""
    started = False  # the status line went out
    ended = False
    gone = False  # the client closed
    late = False  # a deadline passed; the task was woken or cancelled for it
    settling = False  # all of the answer is there, and its end is being recorded
    stopped = False  # the gateway stops; the task was cancelled for it
    malformed: Malformed | None = None
    bytes_out = 0
    _keep = False
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, connection: "Connection", head: Head, began: float) -> None:
        self.connection = connection
        self.head = head
        self.began = began  # loop time, seconds

    @property
    def peer(self) -> str:
        return self.connection.peer

    @property
    def body_bytes(self) -> int:
        return self.connection.body.came

    def wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def body(self, most_bytes: int) -> bytes:
        """The whole body, of at most `most_bytes`. Raises BodyTooLarge, Malformed, TimeoutError."""
        connection = self.connection
        if self.head.length > most_bytes:
            raise BodyTooLarge
        if connection.awaits_body:
            if self.head.expects_continue and not connection.body_begun:
                connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.want_body(most_bytes)
            if connection.awaits_body:
                await self._arrival(most_bytes)
        self._check_arrival(most_bytes)
        return connection.body.taken()

    async def _arrival(self, most_bytes: int) -> None:
        connection = self.connection
        loop = asyncio.get_running_loop()
        while connection.awaits_body and connection.body.came <= most_bytes:
            if self.late or self.gone:
                return
            self._waiter = loop.create_future()
            await self._waiter

    def _check_arrival(self, most_bytes: int) -> None:
        if self.gone:
            raise ClientGone
        if self.malformed is not None:
            raise self.malformed
        if self.late:
            raise TimeoutError
        if self.connection.body.came > most_bytes:
            raise BodyTooLarge

    def start(self, status: int, fields: bytes) -> None:
        """Begin a streamed answer. `fields` are whole header lines."""
        framing = b"transfer-encoding: chunked\r\n" if self.head.chunkable else b""
        self._keep = self.head.keep_alive and self.connection.can_keep
        if not self._keep:
            framing += b"connection: close\r\n"
        self.started = True
        self.connection.write(
            b"HTTP/1.1 %d %s\r\n%s%s%s\r\n"
            % (status, REASONS.get(status, b"-"), fields, self.connection.shared.fields, framing)
        )

    def write(self, data: bytes) -> None:
        """Send a piece of a streamed answer. Await `drained()` after it where `paused`."""
        if self.gone:
            return  # its task ends in a moment
        size = len(data)
        self.bytes_out += size
        self.connection.transport.write(
            b"%x\r\n%b\r\n" % (size, data) if self.head.chunkable else data
        )

    async def drained(self) -> None:
        await self.connection.drained()

    def end(self, data: bytes = b"") -> None:
        """Send the last piece of a streamed answer, and its end, in one write."""
        self.bytes_out += len(data)
        if self.head.chunkable:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self._finish(data, keep=self._keep)

    def respond(self, status: int, fields: bytes, body: bytes) -> None:
        """Send a whole answer."""
        self.started = True
        self.bytes_out += len(body)
        keep = self.head.keep_alive and self.connection.can_keep
        head = b"HTTP/1.1 %d %s\r\n%s%s%scontent-length: %d\r\n\r\n" % (
            status,
            REASONS.get(status, b"-"),
            fields,
            self.connection.shared.fields,
            b"" if keep else b"connection: close\r\n",
            len(body),
        )
        self._finish(head if self.head.method == b"HEAD" else head + body, keep=keep)

    def abort(self) -> None:
        """Cut the connection: where even an error can no longer be said."""
        self.ended = True
        self.connection.transport.abort()

    def _finish(self, data: bytes, *, keep: bool) -> None:
        self.ended = True
        if data:
            self.connection.write(data)
        self.connection.ended(keep=keep)
