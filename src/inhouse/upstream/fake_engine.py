"""A fake engine for drills and tests: answers in all dialects, and every way to answer badly.

It shares no code with the gateway's reading of HTTP, so that holding one against the other means
something. Bodies are made of ready bytes, and all paced streams share one clock, so that it is
not what limits a measurement.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Self

import httptools
import msgspec

from inhouse.errors import UsageError
from inhouse.upstream.fake_answers import ANSWERS, Answer, Asked, listings
from inhouse.upstream.fake_faults import Faults, faults_in, speech_of, with_faults

__all__ = ["FakeEngine", "Faults"]

PHASES = 8  # paced streams are spread over this many beats per token
CONTROL_PATH = "/fake/faults"
PROBE = b"probe"  # the request id of a gateway's probes


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


class Beat:
    """One clock for all paced streams: at each beat, an eighth of them say their next token."""

    def __init__(self) -> None:
        self._phases: list[set[_Stream]] = [set() for _ in range(PHASES)]
        self._next = 0
        self._task: asyncio.Task[None] | None = None
        self._rate = 0.0

    def add(self, stream: "_Stream", rate: float) -> None:
        self._rate = rate
        smallest = min(self._phases, key=len)
        smallest.add(stream)
        stream.phase = smallest
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time()
        while any(self._phases):
            at += 1 / (self._rate * PHASES)
            await asyncio.sleep(max(0.0, at - loop.time()))
            self._next = (self._next + 1) % PHASES
            for stream in list(self._phases[self._next]):
                stream.step()


class _Stream:
    """One answer on its way out, piece by piece."""

    def __init__(self, connection: "_Connection", answer: Answer, faults: Faults) -> None:
        self._connection = connection
        self._pieces = deque([*answer.pieces, answer.ending])
        self._left = faults.cut_at if faults.cut_at >= 0 else faults.stall_at
        self._limited = self._left >= 0
        self._faults = faults
        self.phase: set[_Stream] = set()

    def step(self) -> None:
        """Send the next piece."""
        piece = self._pieces.popleft()
        if self._limited and len(piece) > self._left:
            self._break(piece[: self._left])
            return
        self._left -= len(piece)
        last = not self._pieces
        self._connection.send_piece(piece, last=last)
        if last:
            self.end()

    def all(self) -> None:
        """Send everything at once."""
        data = b"".join(self._pieces)
        if self._limited and len(data) > self._left:
            self._break(data[: self._left])
            return
        self._pieces.clear()
        self._connection.send_piece(data, last=True)
        self.end()

    def end(self) -> None:
        self.phase.discard(self)
        self._connection.ended(self)

    def _break(self, piece: bytes) -> None:
        if piece:
            self._connection.send_piece(piece, last=False)
        self.phase.discard(self)
        if self._faults.cut_at >= 0:
            self._connection.cut(reset=self._faults.reset)


class _Connection(asyncio.Protocol):
    def __init__(self, engine: "FakeEngine") -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._stream: _Stream | None = None
        self._chunked = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a TCP server's transport is one
        self._engine.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._engine.connections.discard(self)
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.phase.discard(stream)
            self._engine.left()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._engine.refused += 1
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, headers, body = self._path.decode("latin-1"), self._headers, b"".join(self._body)
        self._headers, self._body = {}, []
        method = self._parser.get_method()
        self._engine.answer(self, method, Seen(path, headers, body))

    # What the engine tells it

    def whole(self, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
        self.transport.write(
            b"HTTP/1.1 %d Fake\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, content_type, len(body), body)
        )

    def begin(self, answer: Answer, faults: Faults) -> None:
        stream = self._stream = _Stream(self, answer, faults)
        self._engine.open_streams += 1
        self._chunked = bool(answer.pieces)
        making_s = answer.tokens / faults.rate if faults.rate else 0.0  # of one that is whole
        if faults.first_token_s or making_s:
            wait_s = faults.first_token_s + making_s
            self._loop.call_later(wait_s, self._go, stream, answer, faults)
        else:
            self._go(stream, answer, faults)

    def _go(self, stream: _Stream, answer: Answer, faults: Faults) -> None:
        if self._stream is not stream:
            return
        length = b"content-length: %d" % len(answer.ending)
        framing = b"transfer-encoding: chunked" if self._chunked else length
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n\r\n" % (answer.content_type, framing)
        )
        if faults.rate and answer.pieces:
            self._engine.beat.add(stream, faults.rate)
        else:
            stream.all()

    def send_piece(self, piece: bytes, *, last: bool) -> None:
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            piece += b"0\r\n\r\n" if last else b""
        self.transport.write(piece)

    def ended(self, stream: _Stream) -> None:
        if self._stream is stream:
            self._stream = None
            self._engine.open_streams -= 1

    def cut(self, *, reset: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._engine.open_streams -= 1
        if reset:
            # With no time to linger, closing sends RST; abort() would send FIN, and drop what
            # is still to be written.
            connected = self.transport.get_extra_info("socket")
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.close()


class FakeEngine:
    """A fake engine on a port of its own, in the running loop: `async with FakeEngine() as it`."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        model: str = "fake",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.faults = faults or Faults()
        self.model = model
        self.requests: list[Seen] = []
        self.refused = 0  # connections closed for bytes that were no HTTP
        self.open_streams = 0
        self.abandoned: list[float] = []  # when clients left before the end, monotonic seconds
        self.connections: set[_Connection] = set()
        self.beat = Beat()
        self.keep_requests = True
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._listings = {path: msgspec.json.encode(v) for path, v in listings(model).items()}
        self._made: dict[tuple[object, ...], Answer] = {}

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://{self._host}:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), self._host, self._port, backlog=4096
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await self.beat.stop()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)

    def left(self) -> None:
        """A client closed before its answer's end."""
        self.open_streams -= 1
        self.abandoned.append(time.monotonic())

    def answer(self, connection: _Connection, method: bytes, seen: Seen) -> None:
        """Answer one request."""
        if self.keep_requests:
            self.requests.append(seen)
        if method == b"PUT" and seen.path == CONTROL_PATH:
            self._control(connection, seen.body)
        elif method == b"GET" and seen.path == CONTROL_PATH:
            connection.whole(200, msgspec.json.encode(self.faults))
        elif method in (b"GET", b"HEAD"):
            listing = self._listings.get(seen.path)
            connection.whole(404 if listing is None else 200, listing or b'{"error":"not found"}')
        elif seen.path == "/api/show":
            connection.whole(200, b'{"details":{},"model_info":{},"capabilities":["completion"]}')
        elif seen.path in ANSWERS:
            self._say(connection, seen)
        else:
            connection.whole(404, b'{"error":{"message":"no such path"}}')

    def _control(self, connection: _Connection, body: bytes) -> None:
        try:
            self.faults = faults_in(body)
        except UsageError as error:
            connection.whole(400, msgspec.json.encode({"error": str(error)}))
        else:
            connection.whole(200, msgspec.json.encode(self.faults))

    def _say(self, connection: _Connection, seen: Seen) -> None:
        faults = self.faults
        if faults.spare_probes and seen.headers.get("x-request-id") == PROBE.decode():
            faults = Faults(tokens=1)
        try:
            asked = msgspec.json.decode(seen.body, type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            connection.whole(400, msgspec.json.encode({"error": {"message": str(error)}}))
            return
        if faults.status != 200:
            refusal = {"message": f"this engine answers {faults.status}", "type": "fake_error"}
            connection.whole(faults.status, msgspec.json.encode({"error": refusal}))
        elif faults.empty:
            connection.whole(200, b"")
        elif faults.garbage:
            connection.whole(200, b"<html>\x00\xffthis is no answer</html>", b"text/html")
        else:
            connection.begin(self._made_answer(asked, seen.path, faults), faults)

    def _made_answer(self, asked: Asked, path: str, faults: Faults) -> Answer:
        """The answer to this kind of request: made once, and said again from ready bytes."""
        prompt = sum(
            str(text).count(" ") + 1 for text in (asked.messages, asked.prompt, asked.input)
        )
        shape = (path, asked.model, asked.stream, asked.n, asked.bound, asked.wants_usage)
        inputs = len(asked.input) if isinstance(asked.input, list) else 1
        name = (*shape, prompt, inputs, faults)
        answer = self._made.get(name)
        if answer is None:
            if len(self._made) > 1000:
                self._made.clear()
            answer = self._made[name] = with_faults(
                ANSWERS[path](asked, speech_of(asked, faults, prompt)), faults
            )
        return answer
