"""A second reader of requests, written plainly from the grammars of RFC 9112, 9110 and 3986.

It shares nothing with the gateway's own and is slow. What the gateway refuses beyond the RFCs
(chunk extensions, trailers, upgrades, encoded bodies, zeros before a length, over-long lines) it
refuses too, so that the two must agree on every run of bytes.
"""

import ipaddress
from dataclasses import dataclass

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = b"0123456789"
HEXDIG = DIGITS + b"abcdefABCDEF"
TCHAR = b"!#$%&'*+-.^_`|~" + DIGITS + LETTERS  # RFC 9110 5.6.2
PCHAR = b"-._~!$&'()*+,;=:@" + DIGITS + LETTERS  # RFC 3986 3.3, but for "%"
NAME_IN_HOST = b"-._" + DIGITS + LETTERS
WHITE = b" \t"
CRLF = b"\r\n"
SINGLE = (
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding",
    b"authorization", b"x-api-key", b"expect",
)  # fmt: skip


class NotOne(Exception):
    """These bytes begin no request that is answered."""


class Incomplete(Exception):
    """More bytes are needed to know."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A request whose head is whole; `body` is None where it is not."""

    method: bytes
    path: bytes
    query: bytes
    keep_alive: bool
    body: bytes | None


def read(data: bytes) -> tuple[list[Heard], str]:
    """The requests in these bytes, and how they end: whole, incomplete or refused."""
    heard: list[Heard] = []
    while data:
        try:
            request, data = _request(data)
        except NotOne:
            return heard, "refused"
        except Incomplete:
            return heard, "incomplete"
        heard.append(request)
        if request.body is None:
            return heard, data.decode()
    return heard, "whole"


def _request(data: bytes) -> tuple[Heard, bytes]:
    if data.startswith(CRLF):
        data = data[2:]  # RFC 9112 2.2: one empty line
    end = data.find(CRLF + CRLF)
    if end < 0:
        raise Incomplete
    if end > 32_768:
        raise NotOne
    line, *lines = data[:end].split(CRLF)
    method, target, minor = _line(line)
    fields = _fields(lines)
    path, query = _target(method, target, _host(fields, minor))
    _served(method, fields, minor)
    options = _options(fields.get(b"connection", b""))
    keep_alive = minor == 1 and b"close" not in options
    chunked, length = _framing(fields, minor)
    rest, body = data[end + 4 :], None
    try:
        if chunked:
            body, rest = _chunks(rest)
        elif len(rest) >= length:
            body, rest = rest[:length], rest[length:]
        else:
            rest = b"incomplete"
    except (NotOne, Incomplete) as error:
        rest = b"refused" if isinstance(error, NotOne) else b"incomplete"
    return Heard(method, path, query, keep_alive, body), rest


def _line(line: bytes) -> tuple[bytes, bytes, int]:
    parts = line.split(b" ")
    if len(parts) != 3 or len(line) > 8_190:
        raise NotOne
    method, target, version = parts
    if not _is_token(method) or len(method) > 24 or version not in (b"HTTP/1.0", b"HTTP/1.1"):
        raise NotOne
    return method, target, int(version[-1:])


def _is_token(text: bytes) -> bool:
    return bool(text) and all(letter in TCHAR for letter in text)


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    if len(lines) > 100:
        raise NotOne
    fields: dict[bytes, bytes] = {}
    for line in lines:
        if b":" not in line:
            raise NotOne
        name, value = line.split(b":", 1)
        if not _is_token(name) or any(byte != 9 and (byte < 32 or byte == 127) for byte in value):
            raise NotOne
        name, value = name.lower(), value.strip(WHITE)
        if name in fields and name in SINGLE:
            raise NotOne
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def _host(fields: dict[bytes, bytes], minor: int) -> tuple[bytes, int | None] | None:
    if b"host" not in fields:
        if minor == 1:
            raise NotOne
        return None
    return _authority(fields[b"host"])


def _authority(text: bytes) -> tuple[bytes, int | None]:
    if text.startswith(b"["):
        if b"]" not in text:
            raise NotOne
        name, rest = text[: text.index(b"]") + 1], text[text.index(b"]") + 1 :]
        try:
            ipaddress.IPv6Address(name[1:-1].decode("ascii", "replace"))
        except ValueError:
            raise NotOne from None
        if b"%" in name:
            raise NotOne
    else:
        name, colon, port = text.partition(b":")
        rest = colon + port
        if not name or any(letter not in NAME_IN_HOST for letter in name):
            raise NotOne
    if not rest:
        return name.lower(), None
    port = rest[1:]
    if not rest.startswith(b":") or not port or any(digit not in DIGITS for digit in port):
        raise NotOne
    if port.startswith(b"0") or int(port) > 65_535:
        raise NotOne
    return name.lower(), int(port)


def _target(
    method: bytes, target: bytes, host: tuple[bytes, int | None] | None
) -> tuple[bytes, bytes]:
    if not target.startswith(b"/"):
        scheme, separator, rest = target.partition(b"://")
        if not separator or scheme.lower() != b"http" or host is None:
            raise NotOne
        cut = min((rest.index(mark) for mark in (b"/", b"?") if mark in rest), default=len(rest))
        name, port = _authority(rest[:cut])
        if (name, port or 80) != (host[0], host[1] or 80):
            raise NotOne
        target = rest[cut:] if rest[cut : cut + 1] == b"/" else b"/" + rest[cut:]
    path, _, query = target.partition(b"?")
    _check_letters(path, PCHAR + b"/")
    _check_letters(query, PCHAR + b"/?")
    return path, query


def _check_letters(text: bytes, letters: bytes) -> None:
    at = 0
    while at < len(text):
        if text[at] == ord("%"):
            digits = text[at + 1 : at + 3]
            if len(digits) != 2 or any(digit not in HEXDIG for digit in digits):
                raise NotOne
            at += 3
        elif text[at] in letters:
            at += 1
        else:
            raise NotOne


def _served(method: bytes, fields: dict[bytes, bytes], minor: int) -> None:
    if method in (b"CONNECT", b"TRACE") or (b"upgrade" in fields and minor == 1):
        raise NotOne
    if fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise NotOne
    if fields.get(b"expect", b"100-continue").lower() != b"100-continue":
        raise NotOne


def _options(connection: bytes) -> list[bytes]:
    options = [option.strip(WHITE).lower() for option in connection.split(b",")]
    for option in options:
        if option and (not _is_token(option) or option in SINGLE):
            raise NotOne
    return options


def _framing(fields: dict[bytes, bytes], minor: int) -> tuple[bool, int]:
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if minor == 0 or length is not None or coding.lower() != b"chunked":
            raise NotOne
        return True, 0
    if length is None:
        return False, 0
    if not length or any(digit not in DIGITS for digit in length) or len(length) > 15:
        raise NotOne
    if length.startswith(b"0") and length != b"0":
        raise NotOne
    return False, int(length)


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """The body, and what is behind it."""
    body = b""
    while True:
        end = data.find(CRLF)
        size = data if end < 0 else data[:end]
        if end < 0 and size.endswith(b"\r"):
            size = size[:-1]
            if not size:
                raise NotOne
        if any(digit not in HEXDIG for digit in size) or len(size) > 8:
            raise NotOne
        if end < 0:
            raise Incomplete
        if not size:
            raise NotOne
        count, data = int(size, 16), data[end + 2 :]
        if len(data) < count:
            raise Incomplete
        chunk, tail = data[:count], data[count : count + 2]
        if not CRLF.startswith(tail):
            raise NotOne
        if len(tail) < 2:
            raise Incomplete
        body, data = body + chunk, data[count + 2 :]
        if count == 0:
            return body, data
