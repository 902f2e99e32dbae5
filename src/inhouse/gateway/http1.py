"""HTTP/1.1 requests, read strictly: what is not in the grammar is refused, not mended.

A request parser that tolerates is the first half of every smuggling attack, so this one is a
white-list: RFC 9112's grammar, minus what no client of ours needs (obs-fold, chunk extensions,
trailers, upgrades). It does no I/O: bytes in, a `Head` or `Malformed` out.
"""

import re

import msgspec

MAX_HEAD_BYTES = 32_768
MAX_LINE_BYTES = 8_192
MAX_FIELDS = 100
MAX_CHUNK_LINE_BYTES = 16

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PATH = rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/?%]*"
_REQUEST_LINE = re.compile(
    rb"(" + _TOKEN + rb") "
    rb"(" + _PATH + rb"|[Hh][Tt][Tt][Pp][Ss]?://[A-Za-z0-9.\-_:\[\]]+(?:" + _PATH + rb")?|\*) "
    rb"HTTP/1\.([01])\r\n"
)
_NAME = re.compile(_TOKEN)
_IN_VALUES = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_HOST = re.compile(rb"(?:[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_BARE_LF = re.compile(rb"(?<!\r)\n")

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


def parse_head(data: bytes) -> Head:
    """Read a head: everything up to and with the CRLF of the last field line."""
    line = _REQUEST_LINE.match(data)
    if line is None:
        raise Malformed(400, _why_line(data))
    if line.end() > MAX_LINE_BYTES:
        raise Malformed(414, f"the request line is longer than {MAX_LINE_BYTES} bytes")
    fields = _fields(data[line.end() : -2]) if len(data) > line.end() else {}
    method, target, minor = line.groups()
    version_1_1 = minor == b"1"
    path, query = _target(target, fields.get(b"host"), version_1_1)
    _refuse_unserved(method, fields)
    return Head(
        method=method,
        path=path,
        query=query,
        fields=fields,
        length=_framing(fields, version_1_1),
        keep_alive=version_1_1 and not _closes(fields.get(b"connection")),
        chunkable=version_1_1,
    )


class HeadReader:
    """Gathers a head that may come in pieces, and looks at each byte once."""

    __slots__ = ("_data", "_line_seen", "_looked_at")

    def __init__(self) -> None:
        self._data = bytearray()
        self._looked_at = 0
        self._line_seen = False

    @property
    def begun(self) -> bool:
        """A head began and is not whole."""
        return bool(self._data)

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
        if end > MAX_HEAD_BYTES:
            raise Malformed(431, f"the headers are larger than {MAX_HEAD_BYTES} bytes")
        head, rest = parse_head(bytes(data[start : end + 2])), bytes(data[end + 4 :])
        if held:
            self.__init__()  # type: ignore[misc]  # empty again
        return head, rest

    def _check_partial(self, start: int) -> None:
        data = self._data
        if len(data) > MAX_HEAD_BYTES:
            raise Malformed(431, f"the headers are larger than {MAX_HEAD_BYTES} bytes")
        if _BARE_LF.search(data, max(start, self._looked_at - 1)) is not None:
            raise Malformed(400, "a line ends with a bare line feed; lines end with CR LF")
        if not self._line_seen:
            self._check_line(data, start)
        self._looked_at = len(data)

    def _check_line(self, data: bytearray, start: int) -> None:
        if data.find(b"\r\n", max(start, self._looked_at - 1)) >= 0:
            self._line_seen = True
            if _REQUEST_LINE.match(data, start) is None:
                raise Malformed(400, _why_line(bytes(data[start:])))
        elif len(data) > MAX_LINE_BYTES:
            raise Malformed(414, f"the request line is longer than {MAX_LINE_BYTES} bytes")


def _why_line(data: bytes) -> str:
    line = data.split(b"\r\n", 1)[0]
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
    if connection is None:
        return False
    return any(token.strip(b" \t").lower() == b"close" for token in connection.split(b","))


def _target(target: bytes, host: bytes | None, version_1_1: bool) -> tuple[bytes, bytes]:
    if host is None and version_1_1:
        raise Malformed(400, "the Host header is missing")
    if host is not None and _HOST.fullmatch(host) is None:
        raise Malformed(400, "the Host header is not 'name' or 'name:port'")
    if target[:1] != b"/":
        target = _origin_form(target, host)
    path, _, query = target.partition(b"?")
    return path, query


def _origin_form(target: bytes, host: bytes | None) -> bytes:
    scheme, separator, rest = target.partition(b"://")
    if not separator:
        raise Malformed(400, "the target '*' is not served")
    authority, _, path = rest.partition(b"/")
    default = b":443" if scheme.lower() == b"https" else b":80"
    if host is None or _without(authority, default) != _without(host, default):
        raise Malformed(400, "the request target names another host than the Host header")
    return b"/" + path


def _without(authority: bytes, default_port: bytes) -> bytes:
    return authority.lower().removesuffix(default_port)


def _refuse_unserved(method: bytes, fields: dict[bytes, bytes]) -> None:
    if method in (b"CONNECT", b"TRACE"):
        raise Malformed(405, f"{method.decode()} is not served")
    if b"upgrade" in fields:
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
            raise Malformed(501, "no transfer coding but 'chunked' is served")
        return -1
    if length is None:
        return 0
    if _LENGTH.fullmatch(length) is None:
        raise Malformed(400, "Content-Length is not a plain decimal number")
    return int(length)


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
            line = data[at : at + MAX_CHUNK_LINE_BYTES]
            if len(line) == MAX_CHUNK_LINE_BYTES or b"\n" in line:
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
