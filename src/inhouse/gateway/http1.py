"""HTTP/1.1 requests, read strictly: what is not in the grammar is refused, not mended.

A request parser that tolerates is the first half of every smuggling attack, so this one is a
white-list: RFC 9112's grammar, minus what no client of ours needs (obs-fold, chunk extensions,
trailers, upgrades). It does no I/O: bytes in, a `Head` or `Malformed` out.
"""

import ipaddress
import re

import msgspec

MAX_HEAD_BYTES = 32_768
MAX_LINE_BYTES = 8_192
MAX_METHOD_BYTES = 24
MAX_FIELDS = 100
MAX_CHUNK_LINE_BYTES = 16

_LETTER = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_METHOD = _LETTER + rb"{1,%d}" % MAX_METHOD_BYTES
_REST = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]++|%[0-9A-Fa-f]{2})*+"
_REQUEST_LINE = re.compile(
    rb"(" + _METHOD + rb") "
    rb"(/" + _REST + rb"|[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9.\-_:\[\]]+(?:[/?]" + _REST + rb")?|\*) "
    rb"HTTP/1\.([01])\r\n"
)
_METHOD_BEGUN = re.compile(rb"(?:" + _METHOD + rb"(?: |\r?\Z))|\r?\Z")
_NAME = re.compile(_LETTER + rb"+")
_AUTHORITY = re.compile(rb"[^/?]*")
_IN_VALUES = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_PORT = (  # up to 65535
    rb"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_HOST = re.compile(rb"(?:[A-Za-z0-9._\-]+|\[([0-9A-Fa-f:.]+)\])(?::" + _PORT + rb")?")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,14}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_CHUNK_SIZE_BEGUN = re.compile(rb"(?:[0-9A-Fa-f]{1,8}\r?)?")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")

_ONCE = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"content-encoding",
    b"authorization",
    b"x-api-key",
    b"expect",
)
"""Fields that say who asks or where a message ends: one of each, or the request is refused."""


class Malformed(Exception):
    """These bytes are no request that we answer. The connection is closed after the sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Head(msgspec.Struct, frozen=True, gc=False):
    """A request line and its fields. Names are lower case; a name in `_ONCE` came at most once,
    and the values of any other that came again are one list, with commas.

    `length` is the body's size in bytes, or -1 for a chunked body.
    """

    method: bytes
    path: bytes  # raw, as sent, up to "?"
    query: bytes
    fields: dict[bytes, bytes]
    length: int
    keep_alive: bool
    chunkable: bool  # HTTP/1.1: a streamed answer can be framed

    @property
    def expects_continue(self) -> bool:
        return self.chunkable and b"expect" in self.fields  # HTTP/1.0 knows no 100


def parse_head(data: bytes, *, secure: bool = False) -> Head:
    """Read a head: everything up to and with the CRLF of the last field line. `secure`: by TLS."""
    line = _REQUEST_LINE.match(data)
    if line is None or line.end() > MAX_LINE_BYTES:
        raise _refused_line(data)
    fields = _fields(data[line.end() : -2]) if len(data) > line.end() else {}
    method, target, minor = line.groups()
    version_1_1 = minor == b"1"
    _check_host(fields.get(b"host"), version_1_1)
    if target[:1] != b"/":
        target = _origin_form(method, target, fields.get(b"host"), secure)
    path, _, query = target.partition(b"?")
    _refuse_unserved(method, fields, version_1_1)
    return Head(
        method=method,
        path=path,
        query=query,
        fields=fields,
        length=_framing(fields, version_1_1),
        keep_alive=not _closes(fields.get(b"connection")) and version_1_1,
        chunkable=version_1_1,
    )


class HeadReader:
    """Gathers a head that may come in pieces, and looks at each byte once."""

    __slots__ = ("_data", "_line_seen", "_looked_at", "_secure")

    def __init__(self, *, secure: bool = False) -> None:
        self._secure = secure
        self._data = bytearray()
        self._looked_at = 0
        self._line_seen = False

    @property
    def begun(self) -> bool:
        """A head began and is not whole. The empty line that may stand before one is none yet."""
        return bool(self._data) and not b"\r\n".startswith(self._data)

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Take what arrived: a head and what came behind it, or None while it is not whole.

        Raises Malformed for what is no head, as soon as it cannot become one.
        """
        held = self._data
        if held:
            held += data
            data = held  # type: ignore[assignment]  # a bytearray does all that bytes do here
        start = 2 if data[:2] == b"\r\n" else 0  # RFC 9112 2.2: one empty line is passed over
        end = data.find(b"\r\n\r\n", max(start, self._looked_at - 3))
        if end < 0:
            if not held:
                held += data
            self._check_partial(start)
            return None
        if end - start > MAX_HEAD_BYTES:
            raise _too_large(data, start)
        head = parse_head(bytes(data[start : end + 2]), secure=self._secure)
        rest = bytes(data[end + 4 :])
        if held:
            self.__init__(secure=self._secure)  # type: ignore[misc]  # empty again
        return head, rest

    def _check_partial(self, start: int) -> None:
        data = self._data
        if len(data) - start > MAX_HEAD_BYTES + 3:  # of its end, three bytes may be here
            raise _too_large(data, start)
        if _BARE.search(data, max(start, self._looked_at - 1)) is not None:
            raise Malformed(400, "a bare line feed or carriage return; lines end with CR LF")
        if not self._line_seen:
            self._check_line(data, start)
        self._looked_at = len(data)

    def _check_line(self, data: bytearray, start: int) -> None:
        if data.find(b"\r\n", max(start, self._looked_at - 1)) >= 0:
            self._line_seen = True
            if _REQUEST_LINE.match(data, start) is None:
                raise _refused_line(bytes(data[start:]))
        elif len(data) - start > MAX_LINE_BYTES or _METHOD_BEGUN.match(data, start) is None:
            raise _refused_line(bytes(data[start:]))


def _too_large(data: bytes | bytearray, start: int) -> Malformed:
    """It may be the line that is: its target is a sentence of its own."""
    if data.find(b"\r\n", start, start + MAX_LINE_BYTES) < 0:
        return _refused_line(bytes(data[start:]))
    return Malformed(431, f"the headers are larger than {MAX_HEAD_BYTES} bytes")


def _refused_line(data: bytes) -> Malformed:
    line = data.split(b"\r\n", 1)[0]
    method = _NAME.match(line)
    if method is not None and method.end() > MAX_METHOD_BYTES:
        return Malformed(501, f"no method is longer than {MAX_METHOD_BYTES} letters")
    if len(line) + len(b"\r\n") > MAX_LINE_BYTES:
        return Malformed(414, f"the request line is longer than {MAX_LINE_BYTES} bytes")
    return Malformed(400, _why_line(line))


def _why_line(line: bytes) -> str:
    if b"#" in line:
        return "the request target holds a '#'; a fragment is never sent"
    if line.count(b" ") != 2:
        return "the request line is not 'METHOD TARGET HTTP/1.1' with single spaces"
    return "the request line is not one of HTTP/1.1: 'METHOD /path HTTP/1.1'"


def _fields(block: bytes) -> dict[bytes, bytes]:
    """The fields in the lines of a head, each `name: value`."""
    lines = block.split(b"\r\n")
    if len(lines) > MAX_FIELDS:
        raise Malformed(431, f"more than {MAX_FIELDS} header lines")
    # Whatever is no character of a field must be the line ends that were split at
    if block.translate(None, _IN_VALUES) != b"\r\n" * (len(lines) - 1):
        raise _not_a_field()
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise _not_a_field()
        folded = _FOLDED.get(name)
        if folded is None:
            folded = _folded(name)
        value = value.strip(b" \t")
        if folded not in fields:
            fields[folded] = value
        elif folded in _ONCE:
            raise Malformed(400, f"the header '{folded.decode()}' came more than once")
        else:
            fields[folded] += b", " + value
    return fields


_FOLDED: dict[bytes, bytes] = {}
"""Names as they were written, and in lower case: clients write the same few ones every time."""
_MOST_FOLDED = 1000
_LONGEST_FOLDED = 64


def _folded(name: bytes) -> bytes:
    if _NAME.fullmatch(name) is None:
        raise _not_a_field()
    folded = name.lower()
    if len(_FOLDED) < _MOST_FOLDED and len(name) <= _LONGEST_FOLDED:
        _FOLDED[name] = folded
    return folded


def _not_a_field() -> Malformed:
    return Malformed(400, "a header line is not of the form 'name: value'")


def _closes(connection: bytes | None) -> bool:
    if connection is None or connection == b"keep-alive":
        return False
    options = [option.strip(b" \t").lower() for option in connection.split(b",")]
    for option in options:
        # A hop before us may have taken such a field out, or have been meant to (RFC 9110 7.6.1)
        if option in _ONCE or (option and _NAME.fullmatch(option) is None):
            raise Malformed(400, "the Connection header is no list of options of the connection")
    return b"close" in options


def _check_host(host: bytes | None, version_1_1: bool) -> None:
    if host is None:
        if version_1_1:
            raise Malformed(400, "the Host header is missing")
        return
    found = _HOST.fullmatch(host)
    if found is None or (found[1] is not None and not _is_address(found[1])):
        raise Malformed(400, "the Host header is not 'name' or 'name:port'")


def _is_address(text: bytes) -> bool:
    try:
        return bool(ipaddress.IPv6Address(text.decode()))
    except ValueError:
        return False


def _origin_form(method: bytes, target: bytes, host: bytes | None, secure: bool) -> bytes:
    """The path and query of an absolute target that names the host of the Host header."""
    scheme, separator, rest = target.partition(b"://")
    if not separator:
        raise Malformed(405 if method == b"OPTIONS" else 400, "the target '*' is not served")
    https = scheme.lower() == b"https"
    if https and not secure:  # RFC 9110 7.4
        raise Malformed(400, "an 'https' target came over a connection without TLS")
    authority = _AUTHORITY.match(rest)[0]  # type: ignore[index]  # it matches anything
    default = b":443" if https else b":80"
    if host is None or _without(authority, default) != _without(host, default):
        raise Malformed(400, "the request target names another host than the Host header")
    path = rest[len(authority) :]
    return path if path[:1] == b"/" else b"/" + path


def _without(authority: bytes, default_port: bytes) -> bytes:
    return authority.lower().removesuffix(default_port)


def _refuse_unserved(method: bytes, fields: dict[bytes, bytes], version_1_1: bool) -> None:
    if method in (b"CONNECT", b"TRACE"):
        raise Malformed(405, f"{method.decode()} is not served")
    if b"upgrade" in fields and version_1_1:  # HTTP/1.0 knows none, and passes it over
        raise Malformed(
            400, "protocol upgrades are not served; speak HTTP/1.1 (Java: HttpClient.Version)"
        )
    encoding = fields.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise Malformed(
            415, "encoded bodies are not served; send the body without Content-Encoding"
        )
    expectation = fields.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        raise Malformed(417, "no expectation but '100-continue' is served")


def _framing(fields: dict[bytes, bytes], version_1_1: bool) -> int:
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if not version_1_1:
            raise Malformed(400, "Transfer-Encoding does not exist in HTTP/1.0")
        if length is not None:
            raise Malformed(400, "both Content-Length and Transfer-Encoding came; send one")
        if coding.lower() != b"chunked":
            raise _refused_coding(coding)
        return -1
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise Malformed(400, "Content-Length is not a plain decimal number")
    return int(length)


def _refused_coding(coding: bytes) -> Malformed:
    """Where 'chunked' is not the last coding nobody can say where the body ends: that is 400, by
    RFC 9112 6.3. Where it is, the others are only not served."""
    *others, last = [name.strip(b" \t").lower() for name in coding.split(b",")]
    unserved = all(name != b"chunked" and _NAME.fullmatch(name) for name in others)
    status = 501 if last == b"chunked" and unserved else 400
    return Malformed(status, "no transfer coding but 'chunked' is served")


class ChunkedBody:
    """A chunked body, decoded as it comes. Strict: no extensions, no trailers, CR LF everywhere.

    size CRLF data CRLF  size CRLF data CRLF  ...  0 CRLF CRLF
    """

    __slots__ = ("_at", "_data", "_left", "done")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # up to here it was read
        self._left = -1  # bytes of the open chunk still to come; -1 between chunks
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """Take what arrived, return the body bytes in it."""
        self._data = self._data[self._at :] + data
        self._at = 0
        out: list[bytes] = []
        while not self.done and (self._begin_chunk() if self._left < 0 else self._take(out)):
            pass
        return b"".join(out)

    @property
    def excess(self) -> bytes:
        """What came behind the body's end: the beginning of the next request."""
        return self._data[self._at :]

    def _begin_chunk(self) -> bool:
        """Read a chunk's size, or the body's end. False where more has to come."""
        data, at = self._data, self._at
        end = data.find(b"\r\n", at, at + MAX_CHUNK_LINE_BYTES)
        if end < 0:
            if _CHUNK_SIZE_BEGUN.fullmatch(data, at) is None:
                raise Malformed(400, "a chunk does not begin with its size in hexadecimal")
            return False
        if _CHUNK_SIZE.fullmatch(data, at, end) is None:
            raise Malformed(400, "a chunk does not begin with its size in hexadecimal")
        size = int(data[at:end], 16)
        if size == 0:
            return self._close(end + 2)
        self._left = size
        self._at = end + 2
        return True

    def _close(self, at: int) -> bool:
        tail = self._data[at : at + 2]
        if tail != b"\r\n"[: len(tail)]:
            raise Malformed(400, "the last chunk is followed by trailers, which are not served")
        if len(tail) == len(b"\r\n"):
            self.done = True
            self._at = at + 2
        return False

    def _take(self, out: list[bytes]) -> bool:
        """Take what is there of the open chunk. False where more has to come."""
        piece = self._data[self._at : self._at + self._left]
        if piece:
            out.append(piece)
            self._left -= len(piece)
            self._at += len(piece)
        end = self._data[self._at : self._at + 2]
        if self._left or not end:
            return False
        if end != b"\r\n"[: len(end)]:
            raise Malformed(400, "a chunk's data is longer than its size")
        if len(end) < len(b"\r\n"):
            return False
        self._at += 2
        self._left = -1
        return True
