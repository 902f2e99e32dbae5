"""What a case of the strictness corpus is, and the requests that cases are made of.

Each is a request that the gateway would answer from its engine, but for the one thing that the
case is about: whatever is let through, is heard by the engine.
"""

from dataclasses import dataclass, field

KEY = b"<key>".ljust(65, b".")
"""Stands for a valid key, and is as long as one: requests are counted with it."""

CHAT = b"POST /v1/chat/completions HTTP/1.1"
MODELS = b"GET /v1/models HTTP/1.1"
HOST = b"Host: a"
FIELDS = (b"Authorization: Bearer " + KEY, b"Content-Type: application/json")


def conversation(said: bytes) -> bytes:
    return b'{"model":"m","messages":[{"role":"user","content":"%b"}]}' % said


BODY = conversation(b"hi")
LENGTH = b"Content-Length: %d" % len(BODY)


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that must be refused once, with one of `statuses`, and end their connection."""

    name: str
    section: str  # of an RFC, "9112 3.2"; or "ours" where RFCs would let it pass
    wire: bytes
    statuses: tuple[int, ...] = (400,)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Bytes that are requests: each is answered with the status in its place."""

    name: str
    section: str
    wire: bytes
    statuses: tuple[int, ...] = (200,)
    heard: tuple[bytes, ...] = field(default=(b"hi",))  # by the engine
    kept: bool | None = True  # the connection takes another request; None: where the body came


def head(*lines: bytes, line: bytes = CHAT, host: bytes = HOST) -> bytes:
    fields = [line, *([host] if host else []), *FIELDS, *lines]
    return b"\r\n".join(fields) + b"\r\n\r\n"


def request(*lines: bytes, line: bytes = CHAT, host: bytes = HOST) -> bytes:
    """A whole request, with what a case adds to it."""
    return head(*lines, LENGTH, line=line, host=host) + BODY


def chunked(body: bytes) -> bytes:
    """A request with a chunked body; `@N` and `@D` stand for the size and the data of a chunk."""
    body = body.replace(b"@N", b"%x" % len(BODY)).replace(b"@D", BODY)
    return head(b"Transfer-Encoding: chunked") + body


CHUNKS = b"@N\r\n@D\r\n0\r\n\r\n"


def plain(said: bytes, *lines: bytes) -> bytes:
    """A request that is right."""
    body = conversation(said)
    return head(*lines, b"Content-Length: %d" % len(body)) + body


HIDDEN = plain(b"hidden")
"""What is sent behind everything that is refused: it must not be heard."""
