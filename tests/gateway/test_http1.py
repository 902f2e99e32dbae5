"""The grammar of requests: what is read, and what is refused with which status."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.gateway.http1 import ChunkedBody, Head, HeadReader, Malformed, parse_head

LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost:8080\r\n"


def head(*lines: bytes, first: bytes = LINE, host: bytes = HOST) -> bytes:
    return first + host + b"".join(line + b"\r\n" for line in lines)


def test_a_plain_request_is_read() -> None:
    parsed = parse_head(head(b"Content-Length: 12", b"Authorization: Bearer  x \t"))
    assert parsed == Head(
        method=b"POST",
        path=b"/v1/chat/completions",
        query=b"",
        fields={
            b"host": b"localhost:8080",
            b"content-length": b"12",
            b"authorization": b"Bearer  x",
        },
        length=12,
        keep_alive=True,
        chunkable=True,
    )


@pytest.mark.parametrize(
    ("lines", "length", "keep_alive"),
    [
        ((), 0, True),
        ((b"Connection: close",), 0, False),
        ((b"Connection: Keep-Alive",), 0, True),
        ((b"Transfer-Encoding: Chunked",), -1, True),
        ((b"content-length:0",), 0, True),
        ((b"Content-Length: 7 ",), 7, True),
        ((b"X-Any: \xe4\xf6\xfc",), 0, True),
        ((b"X-Empty:",), 0, True),
    ],
)
def test_framing(lines: tuple[bytes, ...], length: int, keep_alive: bool) -> None:
    parsed = parse_head(head(*lines))
    assert (parsed.length, parsed.keep_alive) == (length, keep_alive)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/v1/models?limit=2", b"/v1/models", b"limit=2"),
        (b"http://localhost:8080/v1/models", b"/v1/models", b""),
        (b"/v1/%2e%2e/x", b"/v1/%2e%2e/x", b""),
        (b"//v1/models", b"//v1/models", b""),
    ],
)
def test_targets_stay_raw(target: bytes, path: bytes, query: bytes) -> None:
    parsed = parse_head(head(first=b"GET " + target + b" HTTP/1.1\r\n"))
    assert (parsed.path, parsed.query) == (path, query)


REFUSED_LINES = [
    b"GET /\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"GET / HTTP/1.1 \r\n",
    b" GET / HTTP/1.1\r\n",
    b"GET\t/ HTTP/1.1\r\n",
    b"GET /#top HTTP/1.1\r\n",
    b"GET /\xc3\xa4 HTTP/1.1\r\n",
    b"GET /\x01 HTTP/1.1\r\n",
    b"GET /a b HTTP/1.1\r\n",
    b"GET / HTTP/1.2\r\n",
    b"GET / HTTP/2.0\r\n",
    b"GET / HTTP/11\r\n",
    b"GET / http/1.1\r\n",
    b"GET v1/models HTTP/1.1\r\n",
    b"GET * HTTP/1.1\r\n",
    b"GET http://other/ HTTP/1.1\r\n",
    b"GET http://user@localhost:8080/ HTTP/1.1\r\n",
    b"G@T / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\n",
    b"GET /<x> HTTP/1.1\r\n",
    b"\r\n",
]


@pytest.mark.parametrize("line", REFUSED_LINES)
def test_refused_request_lines(line: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse_head(head(first=line))
    assert refused.value.status == 400


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
def test_refused_methods(method: bytes) -> None:
    with pytest.raises(Malformed, match="is not served") as refused:
        parse_head(head(first=method + b" /x HTTP/1.1\r\n"))
    assert refused.value.status == 405


REFUSED_FIELDS = [
    (400, b"Content-Length: +5"),
    (400, b"Content-Length: -5"),
    (400, b"Content-Length: 0x5"),
    (400, b"Content-Length: 5, 5"),
    (400, b"Content-Length: 5 5"),
    (400, b"Content-Length: "),
    (400, b"Content-Length: 99999999999999999999"),
    (400, b"Content-Length: 5\r\nContent-Length: 5"),
    (400, b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    (501, b"Transfer-Encoding: gzip, chunked"),
    (501, b"Transfer-Encoding: chunked, identity"),
    (501, b"Transfer-Encoding: xchunked"),
    (501, b"Transfer-Encoding: \x0bchunked".replace(b"\x0b", b"\xa0")),
    (400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    (400, b"Transfer-Encoding : chunked"),
    (400, b" folded: line"),
    (400, b"X-A: 1\r\n continued"),
    (400, b"NoColon"),
    (400, b": no name"),
    (400, b"X-Nul: a\x00b"),
    (400, b"X-Cr: a\rb"),
    (400, b"X-Lf: a\nb"),
    (400, b"X\xc3: a"),
    (400, b"Host: other"),
    (400, b"Authorization: Bearer a\r\nauthorization: Bearer b"),
    (400, b"x-api-key: a\r\nX-API-Key: b"),
    (400, b"Upgrade: h2c"),
    (415, b"Content-Encoding: gzip"),
    (417, b"Expect: the-unexpected"),
]


@pytest.mark.parametrize(("status", "lines"), REFUSED_FIELDS)
def test_refused_fields(status: int, lines: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse_head(head(lines))
    assert refused.value.status == status


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"Host:\r\n",
        b"Host: a/b@c\r\n",
        b"Host: a b\r\n",
        b"Host: a,b\r\n",
        b"Host: http://a\r\n",
        b"Host: a:99999999\r\n",
        b"Host: a:b\r\n",
        b"Host: user@a\r\n",
        b"Host: [::1\r\n",
    ],
)
def test_refused_hosts(host: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        parse_head(head(host=host))
    assert refused.value.status == 400


@pytest.mark.parametrize("host", [b"a", b"a.b:80", b"[::1]:8080", b"127.0.0.1", b"a_b \t"])
def test_accepted_hosts(host: bytes) -> None:
    assert parse_head(head(host=b"Host: " + host + b"\r\n")).fields[b"host"] == host.rstrip()


def test_http_1_0_has_no_chunks_and_is_not_kept() -> None:
    line = b"POST / HTTP/1.0\r\n"
    assert not parse_head(head(b"Connection: keep-alive", first=line, host=b"")).keep_alive
    with pytest.raises(Malformed, match=r"HTTP/1\.0"):
        parse_head(head(b"Transfer-Encoding: chunked", first=line))


def test_too_many_and_too_long() -> None:
    with pytest.raises(Malformed) as refused:
        parse_head(head(*(b"X-%d: 1" % number for number in range(101))))
    assert refused.value.status == 431
    with pytest.raises(Malformed) as refused:
        parse_head(head(first=b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n"))
    assert refused.value.status == 414


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
    ],
)
def test_a_hopeless_beginning_is_refused_early(data: bytes, status: int) -> None:
    for step in (1, 7, len(data)):
        with pytest.raises(Malformed) as refused:
            feed_by(step, data)
        assert refused.value.status == status


def feed_by(step: int, data: bytes) -> None:
    reader = HeadReader()
    for at in range(0, len(data), step):
        assert reader.feed(data[at : at + step]) is None


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_a_head_is_read_alike_however_it_is_cut(step: int) -> None:
    whole = b"\r\n" + head(b"Content-Length: 5") + b"\r\n"
    wire = whole + b"hello"
    for end in range(len(whole), len(wire) + 1):
        reader, found = HeadReader(), None
        for at in range(0, end, step):
            assert found is None or at >= len(whole)
            found = found or reader.feed(wire[at : min(end, at + step)])
        assert found is not None
        assert found[0].length == 5
        assert wire[len(whole) :].startswith(found[1])
        assert not reader.begun


def test_repeated_list_fields_are_one_list() -> None:
    parsed = parse_head(head(b"Connection: keep-alive", b"Connection: TE, close", b"X-A: 1"))
    assert parsed.fields[b"connection"] == b"keep-alive, TE, close"
    assert not parsed.keep_alive


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://a", b"a", b"/"),
        (b"HTTP://A/x", b"a", b"/x"),
        (b"http://a:80/", b"a", b"/"),
        (b"https://a/", b"a:443", b"/"),
    ],
)
def test_absolute_targets(target: bytes, host: bytes, path: bytes) -> None:
    line = b"GET " + target + b" HTTP/1.1\r\n"
    assert parse_head(head(first=line, host=b"Host: " + host + b"\r\n")).path == path


@given(st.binary(max_size=300))
def test_any_bytes_are_a_head_or_malformed(data: bytes) -> None:
    for sample in (data, LINE + data, LINE + HOST + data):
        assert_read_or_refused(sample)


def assert_read_or_refused(sample: bytes) -> None:
    try:
        length, status = parse_head(sample).length, 400
    except Malformed as malformed:
        length, status = 0, malformed.status
    assert length >= -1
    assert 400 <= status <= 501


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.data())
def test_chunks_are_read_alike_however_they_are_cut(
    chunks: list[bytes], data: st.DataObject
) -> None:
    next_request = b"GET / HTTP/1.1\r\n"
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    wire += b"0\r\n\r\n" + next_request
    body, read, at = ChunkedBody(), b"", 0
    while not body.done:
        step = data.draw(st.integers(1, 20))
        read += body.feed(wire[at : at + step])
        at += step
    assert read == b"".join(chunks)
    assert body.excess + wire[at:] == next_request


@pytest.mark.parametrize(
    "wire",
    [
        b"5;x=y\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"\r\nhello",
        b"5\nhello\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n\n",
        b"000000005\r\nhello\r\n",
        b"ffffffffff\r\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"1" * 20,
    ],
)
def test_bad_chunks_are_refused_at_every_cut(wire: bytes) -> None:
    for cut in range(len(wire)):
        with pytest.raises(Malformed) as refused:
            fed(wire[:cut], wire[cut:])
        assert refused.value.status == 400


def fed(*pieces: bytes) -> bytes:
    body = ChunkedBody()
    return b"".join(body.feed(piece) for piece in pieces)
