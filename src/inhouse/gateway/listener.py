"""The listener: sockets, the sweep of deadlines, and a stop that lets running requests end."""

import asyncio
import socket
from email.utils import formatdate

from inhouse.errors import UsageError
from inhouse.gateway.connection import Connection, State
from inhouse.gateway.handshakes import Handshakes
from inhouse.gateway.listening import Listening
from inhouse.gateway.tls import HSTS, Certificates

SWEEP_S = 0.25
BACKLOG = 4096
LAST_WORDS_S = 2.0  # for requests that are cut off to be recorded and told


def bind(address: str, name: str) -> socket.socket:
    """A bound socket for `HOST:PORT`; UsageError with one sentence where that cannot be."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, the loops switch Nagle off on what this socket accepts
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, int(port)))
    except OSError as error:
        sock.close()
        raise UsageError(
            f"{name} {address} cannot be opened: {error.strerror}; "
            "stop what uses it, or choose another address"
        ) from error
    sock.setblocking(False)
    return sock


class Listener:
    """Serves one socket until stopped."""

    def __init__(
        self, sock: socket.socket, shared: Listening, certificates: Certificates | None = None
    ) -> None:
        self._sock = sock
        self._certificates = certificates
        if certificates is not None:
            shared.fields += HSTS
            shared.secure = True
        self._shared = shared
        self._server: asyncio.Server | None = None
        self._handshakes: Handshakes | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        host, port = self._sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self._certificates is not None:
            self._sock.listen(BACKLOG)
            self._handshakes = Handshakes(self._sock, self._shared, self._certificates)
            self._handshakes.start()
            self._certificates.watch()
        else:
            self._server = await loop.create_server(
                lambda: Connection(self._shared), sock=self._sock, backlog=BACKLOG
            )
        self._sweeper = loop.create_task(self._sweep())

    async def stop(self, timeout_s: float) -> int:
        """Accept nothing new, let running requests end, cut the rest. How many were cut."""
        self._shared.stopping = True
        if self._server is not None:
            self._server.close()
        if self._handshakes is not None:
            self._handshakes.stop()
        loop = asyncio.get_running_loop()
        for connection in list(self._shared.connections):
            if not connection.busy and connection.state is not State.LINGER:
                connection.transport.close()
        end = loop.time() + timeout_s
        while self._busy() and loop.time() < end:  # noqa: ASYNC110 - once a life, bounded
            await asyncio.sleep(0.02)
        cut = self._busy()
        if cut:
            await self._cut_off()
        if self._certificates is not None:
            await self._goodbyes(end)
        for connection in list(self._shared.connections):
            connection.transport.abort()
        if self._certificates is not None:
            await self._certificates.stop()
        await asyncio.sleep(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        return cut

    async def _cut_off(self) -> None:
        """End the requests that still run, each with an error and its record."""
        loop = asyncio.get_running_loop()
        for connection in list(self._shared.connections):
            connection.cut_off()
        end = loop.time() + LAST_WORDS_S
        while self._answering() and loop.time() < end:  # noqa: ASYNC110 - once a life, bounded
            await asyncio.sleep(0.02)

    def _answering(self) -> int:
        return sum(connection.exchange is not None for connection in self._shared.connections)

    async def _goodbyes(self, end: float) -> None:
        """TLS does not say what is still on its way; a connection that closed has sent it all."""
        for connection in list(self._shared.connections):
            connection.transport.close()
        loop = asyncio.get_running_loop()
        while self._shared.connections and loop.time() < end:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)

    def _busy(self) -> int:
        return sum(connection.busy for connection in self._shared.connections)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for connection in list(self._shared.connections):
                connection.sweep(now)


class HttpDate:
    """The Date field's value, formatted at most once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._value = b""

    def at(self, now: float) -> bytes:
        second = int(now)
        if second != self._second:
            self._second = second
            self._value = formatdate(second, usegmt=True).encode()
        return self._value
