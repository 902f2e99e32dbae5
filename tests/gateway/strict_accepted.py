"""Requests that must be answered, and how: strictness that refuses these breaks clients."""

from tests.gateway.strict_case import (
    BODY,
    CHAT,
    CHUNKS,
    FIELDS,
    HIDDEN,
    LENGTH,
    MODELS,
    Accepted,
    chunked,
    head,
    plain,
    request,
)

_CHAT_1_0 = CHAT[:-1] + b"0"
_PATH = b"/v1/chat/completions"


def _to(target: bytes, host: bytes = b"a") -> bytes:
    return request(line=b"POST " + target + b" HTTP/1.1", host=b"Host: " + host)


def _hiding(line: bytes, *lines: bytes) -> bytes:
    """A request whose body is a request."""
    return head(*lines, b"Content-Length: %d" % len(HIDDEN), line=line) + HIDDEN


def _right(section: str, wires: dict[str, bytes], *, kept: bool = True) -> list[Accepted]:
    return [Accepted(name, section, wire, kept=kept) for name, wire in wires.items()]


def _fields(section: str, fields: dict[str, bytes], *, kept: bool = True) -> list[Accepted]:
    return _right(section, {name: request(line) for name, line in fields.items()}, kept=kept)


def _unheard(
    section: str, status: int, wires: dict[str, bytes], *, kept: bool | None = True
) -> list[Accepted]:
    """Requests that the gateway answers itself."""
    return [Accepted(name, section, wire, (status,), (), kept) for name, wire in wires.items()]


def _elsewhere(**targets: bytes) -> list[Accepted]:
    """Targets that are of the grammar, and no route's path: routes match raw bytes."""
    wires = {
        f"a target with {name}": head(line=b"POST " + target + b" HTTP/1.1")
        for name, target in targets.items()
    }
    return _unheard("9112 3.2.1", 404, wires)


HOSTS = (
    b"a.b.c", b"A", b"a_b-c.", b"127.0.0.1", b"127.0.0.1:1", b"a:65535", b"a:80", b"[::1]",
    b"[::1]:8080", b"[2001:DB8::1]:443", b"[::ffff:1.2.3.4]", b"[1:2:3:4:5:6:7:8]", b"  a\t ",
)  # fmt: skip

ACCEPTED = [
    *_right(
        "9112 3",
        {
            "plain": request(),
            "an empty line before": b"\r\n" + request(),
            "a query": _to(_PATH + b"?a=%20&b=/?:@!$'()*+,;"),
            "an empty query": _to(_PATH + b"?"),
            "an absolute target": _to(b"http://a" + _PATH),
            "an absolute target with the port": _to(b"HTTP://A:80" + _PATH),
            "an absolute target without the port": _to(b"http://a" + _PATH, b"a:80"),
            "an absolute target with a query": _to(b"http://a" + _PATH + b"?b=c"),
            "an absolute target at an address": _to(b"http://[::1]:8080" + _PATH, b"[::1]:8080"),
        },
    ),
    *_right(
        "9110 7.2",
        {f"the host {host.decode()}": request(host=b"Host: " + host) for host in HOSTS},
    ),
    *_right(
        "9112 2.3",
        {
            "HTTP/1.0": request(line=_CHAT_1_0),
            "HTTP/1.0 without Host": request(line=_CHAT_1_0, host=b""),
            "HTTP/1.0 with keep-alive": request(b"Connection: keep-alive", line=_CHAT_1_0),
            "HTTP/1.0 with an upgrade": request(b"Upgrade: websocket", line=_CHAT_1_0),
            "HTTP/1.0 with an expectation": request(b"Expect: 100-continue", line=_CHAT_1_0),
        },
        kept=False,
    ),
    *_fields(
        "9110 5.5",
        {
            "8 bits in a value": "X: grün".encode(),
            "all of Latin 1 in a value": b"X: " + bytes(range(0xA0, 0x100)),
            "a tab in a value": b"X: a\tb",
            "no space behind the colon": b"X:a",
            "a tab behind the colon": b"X:\ta",
            "spaces around a value": b"X: \t  a \t ",
            "an empty value": b"X:",
            "colons in a value": b"X: a:b: c",
            "a request in a value": b"X: GET / HTTP/1.1",
            "every letter of names": b"!#$%&'*+-.^_`|~0123456789aZ: a",
            "names of one letter": b"a: b\r\n1: c\r\n~: d",
            "lists in several lines": b"Accept: a\r\nAccept: b\r\nVia: 1.1 a\r\nVia: 1.1 b",
            "underscores for dashes": b"Content_Length: 9\r\nTransfer_Encoding: chunked",
            "a percent sign for a letter": b"Transfer-%45ncoding: chunked",
            "100 lines": b"\r\n".join(b"X-%d: a" % number for number in range(95)),
            "30 KB": b"X: " + b"a" * 30_000,
        },
    ),
    *_fields(
        "9112 9",
        {
            "keep-alive": b"Connection: keep-alive",
            "Keep-Alive and TE": b"Connection: Keep-Alive, TE\r\nTE: trailers\r\nKeep-Alive: max=5",
            "an empty Connection": b"Connection:",
            "a Connection of commas": b"Connection: , ,",
            "Proxy-Connection": b"Proxy-Connection: close",
            "a trailer that does not come": b"Trailer: X",
            "an encoding that is none": b"Content-Encoding: Identity",
        },
    ),
    *_fields(
        "9112 9.6",
        {
            "close": b"Connection: close",
            "CLOSE among others": b"Connection: keep-alive ,\tCLOSE, x",
            "close in the second line": b"Connection: keep-alive\r\nConnection: close",
        },
        kept=False,
    ),
    *_right(
        "9112 6",
        {
            "a length with spaces": head(b"Content-Length: \t57 \t") + BODY,
            "a length of capitals": head(LENGTH.upper()) + BODY,
            "a length of no space": head(LENGTH.replace(b" ", b"")) + BODY,
            "chunks": chunked(CHUNKS),
            "CHUNKED": chunked(CHUNKS).replace(b"chunked", b"CHUNKED"),
            "chunked behind tabs": chunked(CHUNKS).replace(b": chunked", b":\t\tchunked \t"),
            "capital digits": chunked(
                b"2A\r\n" + BODY[:42] + b"\r\nF\r\n" + BODY[42:] + b"\r\n0\r\n\r\n"
            ),
            "a chunk for each byte": chunked(
                b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
            ),
            "zeros before sizes": chunked(b"000000@N\r\n@D\r\n00000000\r\n\r\n"),
            "a chunk that looks like the end": chunked(
                b"@N\r\n@D\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"
            ).replace(b"7\r\n\r\n0\r\n\r\n\r\n", b"4\r\n\r\n\r\n\r\n"),
        },
    ),
    Accepted("an expectation", "9110 10.1.1", request(b"Expect: 100-Continue")),
    *_unheard(
        "9110 8.6",
        400,
        {
            "no length": head(),
            "a length of 0": head(b"Content-Length: 0"),
            "a chunked body of nothing": chunked(b"0\r\n\r\n"),
        },
    ),
    *_unheard(
        "9110 9.1",
        405,
        {
            "a method of small letters": head(line=b"post " + _PATH + b" HTTP/1.1"),
            "an unknown method": head(line=b"PURGE " + _PATH + b" HTTP/1.1"),
            "a method of 24 letters": head(line=b"M" * 24 + b" " + _PATH + b" HTTP/1.1"),
            "a method of odd letters": head(line=b"!#$%&'*+-.^_`|~ " + _PATH + b" HTTP/1.1"),
            "OPTIONS": head(line=b"OPTIONS " + _PATH + b" HTTP/1.1"),
            "DELETE": head(line=b"DELETE / HTTP/1.1"),
            "a greeting that is posted": head(line=b"POST http://a?b HTTP/1.1"),
        },
    ),
    *_unheard(
        "9110 9.3.1",
        200,
        {
            "GET": head(line=MODELS),
            "GET /": head(line=b"GET / HTTP/1.1"),
            "GET with a body": request(line=MODELS),
            "GET / with a body": request(line=b"GET / HTTP/1.1"),
            "GET with a chunked body": chunked(CHUNKS).replace(CHAT, MODELS),
            "GET with an expectation of no body": head(b"Expect: 100-continue", line=MODELS),
            "HEAD": head(line=b"HEAD /v1/models HTTP/1.1"),
            "HEAD with a body": request(line=b"HEAD /v1/models HTTP/1.1"),
            "HEAD / with a chunked body": chunked(CHUNKS).replace(CHAT, b"HEAD / HTTP/1.1"),
            "an absolute target of no path": head(line=b"GET http://a HTTP/1.1"),
            "an absolute target of no path but a query": head(line=b"GET http://a?b/c HTTP/1.1"),
        },
    ),
    *_unheard(
        "9112 3",
        404,
        {"a request line of 8192 bytes": head(line=b"POST /" + b"a" * 8_175 + b" HTTP/1.1")},
    ),
    *_unheard(
        "9112 9.3",
        405,
        {"OPTIONS with a body": request(line=b"OPTIONS " + _PATH + b" HTTP/1.1")},
        kept=None,
    ),
    *_unheard(
        "9112 9.3",
        404,
        {"a body that nobody reads": request(line=b"POST /nowhere HTTP/1.1")},
        kept=None,
    ),
    *_elsewhere(
        **{
            "two slashes": b"/" + _PATH,
            "two slashes within": b"/v1//chat/completions",
            "a slash behind": _PATH + b"/",
            "an encoded slash": b"/v1/chat%2Fcompletions",
            "an encoded slash of small letters": b"/v1%2fchat%2fcompletions",
            "encoded letters": b"/%76%31/chat/completions",
            "an encoded question mark": _PATH + b"%3Fa",
            "an encoded fragment": _PATH + b"%23",
            "an encoded NUL": _PATH + b"%00",
            "an encoded line end": _PATH + b"%0d%0aX:%20a",
            "an encoded space": _PATH + b"%20",
            "a dot": b"/./v1/chat/completions",
            "two dots": b"/v1/../v1/chat/completions",
            "encoded dots": b"/v1/%2e%2e/v1/chat/completions",
            "two dots behind another path": b"/v1/x/../chat/completions",
            "a parameter": _PATH + b";a=b",
            "capital letters": b"/V1/CHAT/COMPLETIONS",
            "a host in the path": b"//a" + _PATH,
            "a user in the path": b"//u@a/x",
            "a path of a colon": b"/:80",
            "a backslash, encoded": b"/v1%5Cchat%5Ccompletions",
        }
    ),
    *_unheard(
        "9112 6.3",
        200,
        {
            f"a request for the body of {name}": _hiding(line)
            for name, line in {"GET": MODELS, "GET /": b"GET / HTTP/1.1"}.items()
        }
        | {
            "a request for the body of HEAD": _hiding(b"HEAD / HTTP/1.1"),
            "a request for the body of a GET that waits": _hiding(MODELS, b"Expect: 100-continue"),
            "a request for the chunked body of GET": chunked(
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
            ).replace(CHAT, MODELS, 1),
        },
    ),
    *_unheard("9112 6.3", 400, {"a request for the body of POST": _hiding(CHAT)}),
    *_unheard(
        "9112 6.3",
        404,
        {
            "a request for a body that nobody reads": _hiding(b"POST /x HTTP/1.1"),
            "a request for a body that nobody waits for": _hiding(
                b"POST /x HTTP/1.1", b"Expect: 100-continue"
            ),
        },
        kept=None,
    ),
    *_unheard(
        "9112 6.3",
        401,
        {"a request for the body of a stranger": _hiding(CHAT).replace(FIELDS[0], b"X: a", 1)},
        kept=None,
    ),
    Accepted(
        "a body longer than its length",
        "9112 6.3",
        head(b"Content-Length: 0") + b"X" + head(),
        (400, 405),
        (),
    ),
    Accepted(
        "two requests at once",
        "9112 9.3.2",
        plain(b"one") + plain(b"two"),
        (200, 200),
        (b"one", b"two"),
    ),
    Accepted(
        "requests with empty lines before each",
        "9112 2.2",
        b"\r\n" + plain(b"one") + b"\r\n" + chunked(CHUNKS) + b"\r\n" + head(line=MODELS) + b"\r\n",
        (200, 200, 200),
        (b"one", b"hi"),
    ),
]
