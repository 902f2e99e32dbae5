"""Accepts connections that are to speak TLS, so that a handshake counts as a connection does.

    accepted ──► first byte ──► shaking hands ──► Connection
                     │               └── broken, late, or the oldest where there is no room: closed
                     └── of plain HTTP: told so

A loop's own server tells of a connection once its handshake is done. One that never ends would be
counted by nobody, and a flood of them would take every file that the process may open. Here they
share `max_connections` with the connections. A handshake takes milliseconds, so where there is no
room, the oldest of those that are under way is the least likely to be somebody's.
"""

import asyncio
import errno
import logging
import socket
import ssl
from functools import partial

from inhouse.gateway.connection import Connection
from inhouse.gateway.first_bytes import is_plain_http, tell_plain_http
from inhouse.gateway.listening import Listening
from inhouse.gateway.tls import Certificates

log = logging.getLogger("inhouse.gateway")

AT_ONCE = 64  # accepted before others have their turn
NO_FILES_S = 1.0  # before the next try, where the system has no file left for a connection
SAID_EVERY_S = 10.0  # of handshakes that failed, at most one line in the log
LEAST_S = 0.01  # left for a handshake whose client was late with its first byte
_REASONS = {
    "UNSUPPORTED_PROTOCOL": "it speaks TLS 1.2 or older, and TLS 1.3 is needed",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of the certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not trust the certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not take the certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the certificate has ended",
}
_NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Handshakes:
    """Takes what comes to a listening socket, and makes connections of it."""

    def __init__(self, sock: socket.socket, shared: Listening, certificates: Certificates) -> None:
        self._sock = sock
        self._shared = shared
        self._certificates = certificates
        self._shaking = shared.handshakes
        self._quiet_until = 0.0
        self._unsaid = 0

    def start(self) -> None:
        self._shared.loop.add_reader(self._sock, self._accept)

    def stop(self) -> None:
        """Accept nothing new, and end what has not become a connection."""
        if self._sock.fileno() >= 0:
            self._shared.loop.remove_reader(self._sock)
            self._sock.close()
        while self._shaking:
            self._give_up_oldest()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_FILES:
                    self._pause(error)
                    return
                continue  # it went away again
            if self._room():
                self._begin(accepted)
            else:
                accepted.close()

    def _room(self) -> bool:
        while self._shared.full and self._shaking:
            self._give_up_oldest()
        return not self._shared.full

    def _give_up_oldest(self) -> None:
        task = next(iter(self._shaking))
        del self._shaking[task]
        task.cancel()

    def _begin(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        task = self._shared.loop.create_task(self._shake(accepted))
        self._shaking[task] = None
        task.add_done_callback(partial(self._shaken, accepted))

    async def _shake(self, accepted: socket.socket) -> None:
        loop = self._shared.loop
        end = loop.time() + self._shared.handshake_timeout_s
        async with asyncio.timeout_at(end):
            plain = await is_plain_http(loop, accepted)
        if plain:
            self._say(accepted, "it speaks http:// to the TLS port; what it sent was not encrypted")
            await tell_plain_http(loop, accepted)
            accepted.close()
            return
        await loop.connect_accepted_socket(
            lambda: Connection(self._shared),
            accepted,
            ssl=self._certificates.context,
            ssl_handshake_timeout=max(LEAST_S, end - loop.time()),
            ssl_shutdown_timeout=self._shared.write_timeout_s,
        )

    def _shaken(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._shaking.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ssl.SSLError):
            reason = error.reason or str(error)
            self._say(accepted, _REASONS.get(reason, reason.lower().replace("_", " ")))
        elif isinstance(error, OSError):
            log.debug("a handshake did not end: %s", error)
        elif error is not None:
            log.error("a handshake failed", exc_info=error)
        if task.cancelled() or error is not None:
            accepted.close()

    def _say(self, accepted: socket.socket, reason: str) -> None:
        """One line for an operator whom a client asks why; anybody can make any number of them."""
        now = self._shared.loop.time()
        if now < self._quiet_until:
            self._unsaid += 1
            return
        more = f", and {self._unsaid} more since the last such line" if self._unsaid else ""
        log.info("a client at %s has no TLS connection: %s%s", _address(accepted), reason, more)
        self._quiet_until, self._unsaid = now + SAID_EVERY_S, 0

    def _pause(self, error: OSError) -> None:
        log.error("no connection can be accepted: %s", error.strerror)
        loop = self._shared.loop
        loop.remove_reader(self._sock)
        loop.call_later(NO_FILES_S, self._resume)

    def _resume(self) -> None:
        if self._sock.fileno() >= 0:
            self._shared.loop.add_reader(self._sock, self._accept)


def _address(accepted: socket.socket) -> str:
    try:
        return str(accepted.getpeername()[0])
    except OSError:  # it left
        return "an unknown address"
