"""The first bytes of a connection that is to speak TLS: looked at, and left for the handshake.

A client that says `http://` to the TLS port would get a TLS alert, which it cannot read. It is
told in its own tongue instead. What it sent has crossed the network in plain text already.
"""

import asyncio
import contextlib
import socket

LAST_WORDS_S = 1.0  # for the client to read them
READ_BYTES = 65_536
MOST_BYTES = 1_048_576  # of its request, read so that our answer is not lost to a reset
_SENTENCE = b"this port speaks TLS: use https://, not http://\n"
ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


async def is_plain_http(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bool:
    """Whether the client begins as an HTTP request does, with a letter; a handshake begins with
    22. Raises ConnectionError where it leaves instead."""
    await _readable(loop, sock)
    first = sock.recv(1, socket.MSG_PEEK)
    if not first:
        raise ConnectionResetError("it left without a word")
    return first.isalpha()


async def tell_plain_http(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Answer 400, and take what it still says, for a moment."""
    with contextlib.suppress(OSError, TimeoutError):
        sock.send(ANSWER)  # into an empty buffer, which holds it
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LAST_WORDS_S):
            left = MOST_BYTES
            while left > 0:
                await _readable(loop, sock)
                data = sock.recv(READ_BYTES)
                if not data:
                    return
                left -= len(data)


async def _readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Wait until there is something to read, or the end."""
    ready = loop.create_future()
    loop.add_reader(sock, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
