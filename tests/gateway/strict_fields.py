"""Fields that must be refused, and heads that end in no proper way."""

from tests.gateway.strict_case import BODY, CHAT, FIELDS, HOST, LENGTH, Refused, head, request


def _fields(
    section: str, fields: dict[str, bytes], statuses: tuple[int, ...] = (400,)
) -> list[Refused]:
    return [
        Refused(f"field: {name}", section, request(field), statuses)
        for name, field in fields.items()
    ]


def _values(name: bytes, section: str, *values: bytes, status: int = 400) -> list[Refused]:
    lines = {f"{name.decode()} {value!r}": name + b": " + value for value in values}
    return _fields(section, lines, (status,))


def _heads(section: str, wires: dict[str, bytes]) -> list[Refused]:
    return [Refused(f"head: {name}", section, wire) for name, wire in wires.items()]


_CONTROLS = [byte for byte in (*range(0x20), 0x7F) if byte != 9]  # 9 is the tab, which may be

NAMES = {
    "no colon": b"X",
    "no colon but a space": b"X a",
    "no name": b": a",
    "no name and no value": b":",
    "a space before the colon": b"X : a",
    "a tab before the colon": b"X\t: a",
    "a space within": b"X Y: a",
    "a word before the colon": b"X y: a",
    **{f"{bytes([byte])!r} in a name": b"X%cY: a" % byte for byte in b'"(),/;<=>?@[\\]{}'},
    **{f"{byte:#04x} in a name": b"X%cY: a" % byte for byte in (*_CONTROLS, 0x80, 0x85, 0xFF)},
    **{f"{byte:#04x} behind a name": b"X%c: a" % byte for byte in (0, 11, 12, 13, 0x85, 0xA0)},
    "UTF-8 in a name": "Xë: a".encode(),
}

VALUES = {f"{byte:#04x} in a value": b"X: a%cb" % byte for byte in _CONTROLS} | {
    "a CR behind a value": b"X: a\r",
    "an LF behind a value": b"X: a\n",
    "a CR for a value": b"X:\r",
    "a vertical tab before a value": b"X:\x0ba",
    "a field behind a bare CR": b"X: a\rY: b",
    "a field behind a bare LF": b"X: a\nY: b",
    "a length behind a bare LF": b"X: a\nContent-Length: 1",
    "a coding behind a bare CR": b"X:\rTransfer-Encoding: chunked",
    "a coding behind two LFs": b"X: a\n\nTransfer-Encoding: chunked",
}

FOLDS = {
    "a value": b"X: a\r\n b",
    "a value with a tab": b"X: a\r\n\tb",
    "an empty value": b"X:\r\n a",
    "a name": b"X\r\n : a",
    "a length": b"X: a\r\n Content-Length: 1",
    "a line of spaces": b"X: a\r\n ",
    "a line of a tab": b"X: a\r\n\t",
    "a name over two lines": b"Transfer-\r\nEncoding: chunked",
}

TWICE = {
    "authorizations": FIELDS[0],
    "authorizations of different case": b"AUTHORIZATION: Bearer b",
    "keys": b"X-Api-Key: a\r\nX-API-KEY: b",
    "types": b"Content-Type: text/plain",
    "encodings": b"Content-Encoding: identity\r\nContent-Encoding: identity",
    "expectations": b"Expect: 100-continue\r\nExpect: 100-continue",
}

UPGRADES = {
    "web sockets": b"Upgrade: websocket\r\nConnection: upgrade",
    "web sockets, with a key": (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    ),
    "h2c": b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
    "h2c in two lines": b"Upgrade: h2c\r\nConnection: Upgrade\r\nConnection: HTTP2-Settings",
    "HTTP/2.0": b"Upgrade: HTTP/2.0\r\nConnection: Upgrade",
    "TLS": b"Upgrade: TLS/1.0\r\nConnection: Upgrade",
    "something": b"Upgrade: made-up/1.0\r\nConnection: upgrade",
    "without Connection": b"Upgrade: websocket",
    "empty": b"Upgrade:",
}

ENCODINGS = (
    b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress", b"*", b"gzip, identity",
    b"identity, gzip", b"identity;q=1", b"", b",", b"identity\xa0",
)  # fmt: skip

EXPECTATIONS = (
    b"200-ok", b"100", b"100-continu", b"100_continue", b"y 100-continue", b"100-continue y",
    b"100-continue, y", b"100-continue;a=b", b'"100-continue"', b"", b",", b"100-continue\xa0",
    b"100-continue,100-continue",
)  # fmt: skip

OPTIONS = (
    b"content-length", b"close, Content-Length", b"Transfer-Encoding", b"keep-alive,host",
    b"Authorization", b"x-api-key", b"content-type", b"close;a=b", b'"close"', b"close x",
    b"close\xa0", b"@", b"close, a b",
)  # fmt: skip

_END = head(LENGTH)[:-4]

FIELD_CASES = [
    *_fields("9112 5.1", NAMES),
    *_fields("9110 5.5", VALUES),
    *_fields("9112 5.2", {f"obs-fold of {name}": line for name, line in FOLDS.items()}),
    *_fields("9110 5.3", {f"two {name}": line for name, line in TWICE.items()}),
    *_fields("ours", {f"an upgrade to {name}": line for name, line in UPGRADES.items()}),
    *_values(b"Content-Encoding", "9110 8.4", *ENCODINGS, status=415),
    *_values(b"Expect", "9110 10.1.1", *EXPECTATIONS, status=417),
    *_values(b"Connection", "9110 7.6.1", *OPTIONS),
    *_fields(
        "9110 5.4",
        {
            "101 lines": b"\r\n".join(b"X-%d: a" % number for number in range(97)),
            "10,000 lines": b"\r\n".join(b"X: a" for _ in range(10_000)),
            "33 KB": b"X: " + b"a" * 33_000,
            "100 KB": b"X: " + b"a" * 100_000,
            "a name of 100 KB": b"X" * 100_000 + b": a",
        },
        (431,),
    ),
    *_heads(
        "9110 7.6.1",
        {
            "HTTP/1.0 that connects with its length": request(
                b"Connection: Content-Length", line=CHAT[:-1] + b"0"
            )
        },
    ),
    *_heads(
        "9112 2.2",
        {
            "an LF for its end": _END + b"\r\n\n" + BODY,
            "two LFs for its end": _END + b"\n\n" + BODY,
            "an LF and a CRLF for its end": _END + b"\n\r\n" + BODY,
            "two CRs for its end": _END + b"\r\r" + BODY,
            "CR, CRLF for its end": _END + b"\r\r\n\r\n" + BODY,
            "CRLF, CR and a letter for its end": _END + b"\r\n\rZ" + BODY,
            "CRLF, CR and a field for its end": _END + b"\r\n\rX: a\r\n\r\n" + BODY,
            "CRLF, CR, CRLF for its end": _END + b"\r\n\r\r\n" + BODY,
            "CRLF, NUL, CRLF for its end": _END + b"\r\n\x00\r\n" + BODY,
            "CRLF, space, CRLF for its end": _END + b"\r\n \r\n\r\n" + BODY,
            "CRLF, colon, CRLF for its end": _END + b"\r\n:\r\n\r\n" + BODY,
            "CRLF, NUL, LF for its end": _END + b"\r\x00\n\r\n" + BODY,
            "a space behind the request line": CHAT + b"\r\n \r\n" + HOST + b"\r\n\r\n",
            "a tab before the first field": CHAT + b"\r\n\t" + HOST + b"\r\n\r\n",
            "a folded first field": CHAT + b"\r\n X: a\r\n" + HOST + b"\r\n\r\n",
        },
    ),
]
