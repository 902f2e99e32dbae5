"""What must be refused, over raw sockets: each case alone, and with a request hidden behind it.

The cases are read off RFC 9112 and 9110, and follow the classes of known smuggling attacks. A
refused one is answered once, with an error, and its connection ends: nothing behind it is heard.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.gateway.test_connection import served

from inhouse.gateway.exchange import BodyTooLarge, Exchange
from inhouse.gateway.http1 import Malformed
from inhouse.gateway.listener import Listener

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


def get(*lines: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    fields = [line, *([host] if host else []), *lines]
    return b"\r\n".join(fields) + b"\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return get(*lines, line=b"POST / HTTP/1.1") + body


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


REQUEST_LINES = {
    "two spaces": b"GET  / HTTP/1.1",
    "a space before": b" GET / HTTP/1.1",
    "a space behind": b"GET / HTTP/1.1 ",
    "a tab": b"GET\t/ HTTP/1.1",
    "a vertical tab": b"GET\x0b/ HTTP/1.1",
    "no target": b"GET HTTP/1.1",
    "an empty target": b"GET  HTTP/1.1",
    "HTTP/0.9": b"GET /",
    "HTTP/0.9 by name": b"GET / HTTP/0.9",
    "HTTP/1.2": b"GET / HTTP/1.2",
    "HTTP/2.0": b"GET / HTTP/2.0",
    "HTTP/1": b"GET / HTTP/1",
    "HTTP/1.10": b"GET / HTTP/1.10",
    "HTTP/01.1": b"GET / HTTP/01.1",
    "http/1.1": b"GET / http/1.1",
    "HTTP 1.1": b"GET / HTTP 1.1",
    "HTTPS/1.1": b"GET / HTTPS/1.1",
    "a fragment": b"GET /#x HTTP/1.1",
    "a space in the target": b"GET /a b HTTP/1.1",
    "a control in the target": b"GET /\x01 HTTP/1.1",
    "NUL in the target": b"GET /\x00 HTTP/1.1",
    "DEL in the target": b"GET /\x7f HTTP/1.1",
    "8 bits in the target": b"GET /\xff HTTP/1.1",
    "UTF-8 in the target": "GET /ä HTTP/1.1".encode(),
    "a backslash": b"GET \\ HTTP/1.1",
    "no slash": b"GET x HTTP/1.1",
    "a quote": b'GET /" HTTP/1.1',
    "angle brackets": b"GET /<> HTTP/1.1",
    "a foreign host": b"GET http://b/ HTTP/1.1",
    "a foreign port": b"GET http://a:81/ HTTP/1.1",
    "a user": b"GET http://u@a/ HTTP/1.1",
    "another scheme": b"GET ftp://a/ HTTP/1.1",
    "a bare authority": b"GET a:80 HTTP/1.1",
    "an asterisk": b"GET * HTTP/1.1",
    "an odd method": b"G@T / HTTP/1.1",
    "a method in brackets": b"(GET) / HTTP/1.1",
    "no method": b"/ HTTP/1.1",
    "CONNECT": b"CONNECT a:80 HTTP/1.1",
    "CONNECT /": b"CONNECT / HTTP/1.1",
    "TRACE": b"TRACE / HTTP/1.1",
    "a bare CR": b"GET /\r HTTP/1.1",
    "too long": b"GET /" + b"a" * 9000 + b" HTTP/1.1",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0",
    "the PROXY protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2",
}

HOSTS = {
    "none": b"",
    "two": b"Host: a\r\nHost: a",
    "two of different case": b"Host: a\r\nhOST: b",
    "empty": b"Host:",
    "a list": b"Host: a, b",
    "a path": b"Host: a/b",
    "an at": b"Host: u@a",
    "a/b@c": b"Host: a/b@c",
    "a fragment": b"Host: a#b",
    "a query": b"Host: a?b",
    "a space": b"Host: a b",
    "a scheme": b"Host: http://a",
    "a port of letters": b"Host: a:b",
    "two ports": b"Host: a:1:2",
    "a port of six digits": b"Host: a:123456",
    "an open bracket": b"Host: [::1",
    "8 bits": b"Host: \xe4",
    "a backslash": b"Host: a\\b",
    "NUL": b"Host: a\x00b",
    "a space before the colon": b"Host : a",
}

FIELDS = {
    "obs-fold": b"X: a\r\n b",
    "obs-fold with a tab": b"X: a\r\n\tb",
    "a folded first field": b" X: a",
    "a space before the colon": b"X : a",
    "a tab before the colon": b"X\t: a",
    "no colon": b"X",
    "no name": b": a",
    "a bracket in a name": b"X(: a",
    "8 bits in a name": b"X\xe4: a",
    "NUL in a value": b"X: a\x00b",
    "a control in a value": b"X: a\x01b",
    "a bare CR in a value": b"X: a\rb",
    "a bare LF in a value": b"X: a\nY: b",
    "DEL in a value": b"X: a\x7fb",
    "an upgrade": b"Upgrade: websocket\r\nConnection: upgrade",
    "h2c": b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    "another expectation": b"Expect: 200-ok",
    "gzip": b"Content-Encoding: gzip",
    "two authorizations": b"Authorization: Bearer a\r\nAuthorization: Bearer b",
    "two keys": b"X-Api-Key: a\r\nX-API-KEY: b",
    "two types": b"Content-Type: a/b\r\nContent-Type: c/d",
    "101 fields": b"\r\n".join(b"X-%d: a" % number for number in range(100)),
    "33 KB": b"X: " + b"a" * 33_000,
}

LENGTHS = {
    "CL and TE": (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "TE and CL": (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "CL 0 and TE": (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    "two equal lengths": (b"Content-Length: 5", b"Content-Length: 5"),
    "two lengths": (b"Content-Length: 5", b"Content-Length: 6"),
    "a list of lengths": (b"Content-Length: 5, 5",),
    "a plus": (b"Content-Length: +5",),
    "a minus": (b"Content-Length: -5",),
    "hexadecimal": (b"Content-Length: 0x5",),
    "hexadecimal digits": (b"Content-Length: a",),
    "a space within": (b"Content-Length: 1 0",),
    "a fraction": (b"Content-Length: 5.0",),
    "an exponent": (b"Content-Length: 5e0",),
    "an underscore": (b"Content-Length: 1_0",),
    "empty": (b"Content-Length:",),
    "20 digits": (b"Content-Length: 18446744073709551621",),
    "40 digits": (b"Content-Length: " + b"9" * 40,),
    "other digits": ("Content-Length: ٥".encode(),),
    "a vertical tab": (b"Content-Length: \x0b5",),
    "a quoted length": (b'Content-Length: "5"',),
    "two codings": (b"Transfer-Encoding: gzip, chunked",),
    "chunked twice": (b"Transfer-Encoding: chunked, chunked",),
    "two lines of codings": (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    "identity": (b"Transfer-Encoding: identity",),
    "an unknown coding": (b"Transfer-Encoding: xchunked",),
    "a quoted coding": (b'Transfer-Encoding: "chunked"',),
    "a coding with a parameter": (b"Transfer-Encoding: chunked;q=1",),
    "a comma before": (b"Transfer-Encoding: ,chunked",),
    "a comma behind": (b"Transfer-Encoding: chunked,",),
    "an empty coding": (b"Transfer-Encoding:",),
    "a vertical tab before a coding": (b"Transfer-Encoding: \x0bchunked",),
    "a space before the colon": (b"Transfer-Encoding : chunked",),
    "folded": (b"Transfer-Encoding:\r\n chunked",),
    "an underscore for a dash": (b"Transfer_Encoding: chunked", b"Content-Length: +5"),
}

CHUNKS = {
    "an extension": b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "an empty extension": b"5;\r\nhello\r\n0\r\n\r\n",
    "a quoted extension": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space behind": b"5 \r\nhello\r\n0\r\n\r\n",
    "a tab behind": b"5\t\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a letter": b"g\r\nhello\r\n0\r\n\r\n",
    "9 digits": b"000000005\r\nhello\r\n0\r\n\r\n",
    "17 digits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "a bare CR behind the size": b"5\rhello\r\n0\r\n\r\n",
    "a bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "nothing behind the data": b"5\r\nhello0\r\n\r\n",
    "more data than said": b"5\r\nhellooo\r\n0\r\n\r\n",
    "a trailer": b"5\r\nhello\r\n0\r\nX: a\r\n\r\n",
    "a length as a trailer": b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n",
    "a bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "bare LFs at the end": b"5\r\nhello\r\n0\n\n",
}

REFUSED = {
    **{f"line: {name}": get(line=line) for name, line in REQUEST_LINES.items()},
    **{f"host: {name}": get(host=host) for name, host in HOSTS.items()},
    **{f"field: {name}": get(field) for name, field in FIELDS.items()},
    **{f"length: {name}": post(*lines, body=b"hello") for name, lines in LENGTHS.items()},
    **{f"chunk: {name}": chunks(body) for name, body in CHUNKS.items()},
    "TE in HTTP/1.0": get(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0") + b"0\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare line feeds at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "bare carriage returns": b"GET / HTTP/1.1\rHost: a\r\r",
    "two empty lines before": b"\r\n\r\n" + get(),
    "an empty line of a bare LF before": b"\n" + get(),
    "spaces before": b"  \r\n" + get(),
}

ACCEPTED = {
    "plain": get(),
    "HTTP/1.0 without Host": b"GET / HTTP/1.0\r\n\r\n",
    "an empty line before": b"\r\n" + get(),
    "absolute form": get(line=b"GET http://a/ HTTP/1.1"),
    "an absolute form with the port": get(line=b"GET http://a:80/x HTTP/1.1"),
    "an IPv6 host": get(host=b"Host: [::1]:8080"),
    "8 bits in a value": get("X: grün".encode()),
    "a tab in a value": get(b"X: a\tb"),
    "no space behind the colon": get(b"X:a"),
    "many spaces around a value": get(b"X:   a  "),
    "an empty value": get(b"X:"),
    "repeated lists": get(b"Accept: a", b"Accept: b"),
    "a length with spaces": post(b"Content-Length:  5  ", body=b"hello"),
    "leading zeros": post(b"Content-Length: 005", body=b"hello"),
    "Chunked": post(b"Transfer-Encoding: Chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "capital digits": chunks(b"A\r\n0123456789\r\n0\r\n\r\n"),
    "zeros before a size": chunks(b"0005\r\nhello\r\n000\r\n\r\n"),
    "an expectation": post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
    "an unknown method": get(line=b"PURGE / HTTP/1.1"),
    "a query": get(line=b"GET /?a=%20&b=/? HTTP/1.1"),
}


@pytest.fixture
async def edge() -> AsyncIterator[tuple[Listener, list[bytes]]]:
    """A listener, and the paths that were asked of what is behind it, with their bodies."""
    asked: list[bytes] = []

    async def note(exchange: Exchange) -> None:
        try:
            body = await exchange.body(100_000)
        except (Malformed, BodyTooLarge):
            exchange.respond(400, b"", b"")
            return
        asked.append(exchange.head.path + body)
        exchange.respond(200, b"", b"")

    async with served(note) as (listener, _):
        yield listener, asked


async def exchange(listener: Listener, data: bytes) -> bytes:
    """Everything that comes back until the connection ends, or is silent."""
    host, _, port = listener.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    answer = b""
    try:
        async with asyncio.timeout(0.5):
            while piece := await reader.read(65_536):
                answer += piece
        return answer + b"<closed>"
    except (TimeoutError, ConnectionResetError):
        return answer
    finally:
        writer.close()


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(edge: tuple[Listener, list[bytes]], name: str) -> None:
    listener, asked = edge
    answer = await exchange(listener, REFUSED[name] + HIDDEN)
    assert asked == []
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501"))
    assert answer.endswith(b"<closed>")


@pytest.mark.parametrize("name", ACCEPTED)
async def test_accepted(edge: tuple[Listener, list[bytes]], name: str) -> None:
    listener, asked = edge
    answer = await exchange(listener, ACCEPTED[name] + get(line=b"GET /last HTTP/1.1"))
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 100"))
    last = [b"/last"] if b"HTTP/1.0" not in ACCEPTED[name] else []
    assert asked[1:] == last


def test_there_are_enough_cases() -> None:
    assert len(REFUSED) > 150
