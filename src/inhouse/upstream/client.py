"""A pooled HTTP/1.1 client for engines: the connections to one address, and their deadlines."""

import asyncio
import ipaddress
import socket
import ssl

from inhouse.upstream.connection import EngineConnection, EngineUnreachable

MAX_IDLE = 256  # kept connections per engine
IDLE_S = 4.0  # llama.cpp and uvicorn close theirs after 5
SWEEP_S = 0.1
RECEIVE_BYTES = 32_768  # the kernel doubles it: the most that one read can bring for a slow client


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
        self._closed = False
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
        """Keep a connection whose answer was read to its end; cut any other, and any that is of
        an engine that was here before."""
        ours = connection in self._working
        self._working.discard(connection)
        if ours and not self._closed and connection.reusable() and len(self._idle) < MAX_IDLE:
            connection.renew()
            connection.last_used = self._loop.time()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        self._closed = True
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
            while not connection.status:
                await connection.arrival()
        except BaseException:
            self._working.discard(connection)
            connection.close()
            raise
        return connection

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in list(self._working):
            if connection.transport is None:  # gone: whoever waits for it has been told
                self._working.discard(connection)
            else:
                connection.sweep(now)
        self._sweeping = bool(self._working)
        if self._sweeping:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _kept(self) -> EngineConnection | None:
        oldest = self._loop.time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.usable() and connection.last_used > oldest:
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
                f"{self.authority} cannot be reached: {self._reason(error)}"
            ) from error
        self._check_inside(transport)
        connected = transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        return connection

    def _reason(self, error: OSError) -> str:
        """Why there is no connection; where we speak TLS, what became of the handshake."""
        match error:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {error.verify_message}"
            case ssl.SSLError(reason="WRONG_VERSION_NUMBER"):
                return "it does not speak TLS there, as https:// asks"
            case ssl.SSLError(reason=str(reason)):
                return f"no TLS: {reason.lower().replace('_', ' ')}"
        if error.strerror or str(error):
            return error.strerror or str(error)
        if self._tls is not None:
            return "it closed the connection within the TLS handshake; does it speak TLS there?"
        return "it closed the connection"

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
