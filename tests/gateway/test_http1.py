"""The grammar of requests: what is read of them. What is refused stands in the strict corpus."""

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
        (b"M" * 25, 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\r", 400),
        (b"\x16\x03\x01", 400),
        (b"GET / HTTP/1.0\r ", 400),
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
        (b"http://a?b/c", b"a", b"/"),
        (b"https://a/", b"a:443", b"/"),
    ],
)
def test_absolute_targets(target: bytes, host: bytes, path: bytes) -> None:
    line = b"GET " + target + b" HTTP/1.1\r\n"
    data = head(first=line, host=b"Host: " + host + b"\r\n")
    assert parse_head(data, secure=True).path == path
    if target.startswith(b"https:"):
        with pytest.raises(Malformed, match="without TLS"):
            parse_head(data)


def test_a_reader_that_is_secure_stays_so() -> None:
    reader = HeadReader(secure=True)
    data = b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
    for piece in (data[:9], data[9:], data[:9], data[9:]):
        found = reader.feed(piece)
    assert found is not None


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
