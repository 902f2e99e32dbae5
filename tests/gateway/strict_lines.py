"""Request lines and hosts that must be refused."""

from tests.gateway.strict_case import BODY, CHAT, LENGTH, Refused, head, request

_PATH = b"/v1/chat/completions"
_CHAT_1_0 = CHAT[:-1] + b"0"


def _lines(
    section: str, lines: dict[str, bytes], statuses: tuple[int, ...] = (400,)
) -> list[Refused]:
    return [
        Refused(f"line: {name}", section, request(line=line), statuses)
        for name, line in lines.items()
    ]


def _targets(section: str, targets: dict[str, bytes]) -> list[Refused]:
    return _lines(section, {name: b"POST " + at + b" HTTP/1.1" for name, at in targets.items()})


def _versions(*versions: bytes) -> list[Refused]:
    return _lines(
        "9112 2.3", {repr(version)[2:-1]: b"POST " + _PATH + b" " + version for version in versions}
    )


def _hosts(section: str, hosts: dict[str, bytes]) -> list[Refused]:
    return [Refused(f"host: {name}", section, request(host=host)) for name, host in hosts.items()]


def _values(section: str, *values: bytes) -> list[Refused]:
    return _hosts(section, {repr(value)[2:-1]: b"Host: " + value for value in values})


def _raw(section: str, wires: dict[str, bytes]) -> list[Refused]:
    return [Refused(f"start: {name}", section, wire) for name, wire in wires.items()]


SPACES = {
    "two spaces before the target": b"POST  " + _PATH + b" HTTP/1.1",
    "two spaces before the version": b"POST " + _PATH + b"  HTTP/1.1",
    "a space before": b" " + CHAT,
    "a tab before": b"\t" + CHAT,
    "a space behind": CHAT + b" ",
    "two spaces behind": CHAT + b"  ",
    "a tab behind": CHAT + b"\t",
    "a word behind": CHAT + b" x",
    "NUL behind": CHAT + b"\x00",
    "tabs": CHAT.replace(b" ", b"\t"),
    "a vertical tab": CHAT.replace(b" ", b"\x0b", 1),
    "a form feed": CHAT.replace(b" ", b"\x0c", 1),
    "a bare CR between": CHAT.replace(b" ", b"\r", 1),
    "a bare LF between": CHAT.replace(b" ", b"\n", 1),
    "a no-break space": CHAT.replace(b" ", b"\xa0", 1),
    "no target": b"POST HTTP/1.1",
    "nothing but spaces": b"   ",
    "no version": b"GET /v1/models",
    "no version but a space": b"GET /v1/models ",
    "no method": _PATH + b" HTTP/1.1",
    "an answer": b"HTTP/1.1 200 OK",
    "a method and no more": b"POST",
}

METHODS = {
    "a space within": b"PO ST " + _PATH + b" HTTP/1.1",
    "an at": b"P@ST " + _PATH + b" HTTP/1.1",
    "a slash": b"P/ST " + _PATH + b" HTTP/1.1",
    "brackets": b"(POST) " + _PATH + b" HTTP/1.1",
    "a colon": b"POST: " + _PATH + b" HTTP/1.1",
    "quotes": b'"POST" ' + _PATH + b" HTTP/1.1",
    "delimiters": b'G=":<>(e),[T];?" ' + _PATH + b" HTTP/1.1",
    "NUL": b"PO\x00ST " + _PATH + b" HTTP/1.1",
    "8 bits": b"P\xd6ST " + _PATH + b" HTTP/1.1",
    "DEL": b"POST\x7f " + _PATH + b" HTTP/1.1",
    "CR": b"PO\rST " + _PATH + b" HTTP/1.1",
}

VERSIONS = (
    b"HTTP/0.8", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/2", b"HTTP/3",
    b"HTTP/5.6", b"HTTP/9.9", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"HTTP/", b"HTTP", b"HTTP/1.10",
    b"HTTP/1.11", b"HTTP/11.1", b"HTTP/10.0", b"HTTP/01.1", b"HTTP/1.01", b"HTTP/01.01",
    b"HTTP/1.1.1", b"HTTP/1,1", b"HTTP/1.1a", b"HTTP/+1.1", b"HTTP/-1.1", b"HTTP/ 1.1",
    b"HTTP /1.1", b"HTTP/1 .1", b"HTTP/1. 1", b"HTTP 1.1", b"HTTP\\1.1", b"HTTP//1.1", b"HTTP11",
    b"HTTP/4294967297.1", b"HTTP/1.4294967297", b"http/1.1", b"Http/1.1", b"hTTP/1.1", b"HTT/1.1",
    b"IHTTP/1.1", b"HTTPS/1.1", b"RTSP/1.0", b"ICE/1.0", b"SIP/2.0", b"HTTP/\r\r1.1",
    b"HTTP/1.1\r", "HTTP/１.１".encode(), b"HTTP/1.1\xa0", b"\x00HTTP/1.1",
)  # fmt: skip

TARGETS = {
    "a fragment": _PATH + b"#x",
    "an empty fragment": _PATH + b"#",
    "a fragment alone": b"#",
    "a fragment in a query": _PATH + b"?a=b#c",
    "a space": b"/v1/chat completions",
    "no slash": b"v1/chat/completions",
    "a query alone": b"?a",
    "a dot": b".",
    "an encoded slash first": b"%2Fv1/chat/completions",
    "a backslash": b"\\v1\\chat\\completions",
    "a backslash within": b"/v1\\chat/completions",
    "a quote": _PATH + b'"',
    "angle brackets": _PATH + b"<>",
    "braces": _PATH + b"{}",
    "a bar": _PATH + b"?a=|",
    "a caret": _PATH + b"^",
    "a grave accent": _PATH + b"`",
    "square brackets": _PATH + b"?a[]=1",
    "a percent sign": _PATH + b"?%",
    "one digit behind a percent sign": _PATH + b"?%4",
    "letters behind a percent sign": _PATH + b"?%zz",
    "two percent signs": _PATH + b"?%%41",
    "a Unicode escape": _PATH + b"?%u0041",
    "UTF-8": "/v1/chät".encode(),
    "overlong UTF-8": b"/v1\xc0\xafchat/completions",
    **{f"the byte {byte:#04x}": _PATH + bytes([byte]) for byte in (*range(0x20), 0x7F, 0x80)},
    **{f"the byte {byte:#04x} in a query": _PATH + b"?" + bytes([byte]) for byte in (0, 10, 255)},
}

ABSOLUTE = {
    "a foreign host": b"http://b" + _PATH,
    "a foreign subdomain": b"http://a.b" + _PATH,
    "a foreign host that begins alike": b"http://ab" + _PATH,
    "a foreign port": b"http://a:81" + _PATH,
    "the port of another scheme": b"http://a:443" + _PATH,
    "two ports": b"http://a:80:80" + _PATH,
    "an empty port": b"http://a:" + _PATH,
    "a port with a zero": b"http://a:080" + _PATH,
    "a foreign address": b"http://[::1]" + _PATH,
    "a user": b"http://u@a" + _PATH,
    "a user and a password": b"http://u:p@a" + _PATH,
    "an empty user": b"http://@a" + _PATH,
    "the host as a user": b"http://a@b" + _PATH,
    "no host": b"http://" + _PATH,
    "one slash": b"http:/a" + _PATH,
    "no slashes": b"http:a" + _PATH,
    "a backslash": b"http:\\\\a" + _PATH,
    "a backslash behind the host": b"http://a\\@b" + _PATH,
    "a fragment": b"http://a#" + _PATH,
    "an encoded host": b"http://%61" + _PATH,
    "two hosts": b"http://a,b" + _PATH,
    "another scheme": b"ftp://a" + _PATH,
    "web sockets": b"ws://a" + _PATH,
    "a file": b"file://a" + _PATH,
    "an authority": b"a:80",
    "an asterisk": b"*",
    "an asterisk and a path": b"*" + _PATH,
}

LINES = [
    *_lines("9112 3", SPACES),
    *_lines("9110 5.6.2", {f"a method with {name}": line for name, line in METHODS.items()}),
    *_versions(*VERSIONS),
    *_targets("9112 3.2", TARGETS),
    *_targets("9112 3.2.2", {f"absolute, {name}": at for name, at in ABSOLUTE.items()}),
    *_targets("9110 7.4", {"https without TLS": b"https://a" + _PATH}),
    *_lines("9112 3.2.4", {"an asterisk to GET": b"GET * HTTP/1.1"}),
    *_lines("9112 3.2.4", {"an asterisk to OPTIONS": b"OPTIONS * HTTP/1.1"}, (405,)),
    *_lines("9110 9.3.6", {"CONNECT": b"CONNECT a:80 HTTP/1.1"}, (400, 405, 501)),
    *_lines("9110 9.3.6", {"CONNECT to a path": b"CONNECT " + _PATH + b" HTTP/1.1"}, (405, 501)),
    *_lines("9110 9.3.6", {"CONNECT without Host": b"CONNECT a:80 HTTP/1.0"}, (400, 405, 501)),
    *_lines("9110 9.3.8", {"TRACE": b"TRACE / HTTP/1.1"}, (405, 501)),
    *_lines("9110 9.3.8", {"TRACE a path": b"TRACE " + _PATH + b" HTTP/1.0"}, (405, 501)),
    *_lines("9112 3", {"a method of 25 letters": b"M" * 25 + b" / HTTP/1.1"}, (501,)),
    *_lines("9112 3", {"a method of 100 KB": b"M" * 100_000 + b" / HTTP/1.1"}, (501,)),
    *_lines("9112 3", {"9 KB": b"GET /" + b"a" * 9_000 + b" HTTP/1.1"}, (414,)),
    *_lines("9112 3", {"100 KB": b"GET /" + b"a" * 100_000 + b" HTTP/1.1"}, (414,)),
    *_lines("9112 3", {"8193 bytes": b"GET /" + b"a" * 8_177 + b" HTTP/1.1"}, (414,)),
]

NO_HOSTS = (
    b"", b"a, b", b"a,a", b"a;b", b"a b", b"a\tb", b"a/", b"a/b", b"a/b@c", b"//a", b"http://a",
    b"http://a/", b"u@a", b"u:p@a", b"@", b"a?b", b"a#b", b"a\\b", b"a'b", b'"a"', b"<a>", b"(a)",
    b"*", b"a|b", b"{a}", b"a%00", b"a%20b", b"a%2f", b"\xe4", "bücher".encode(), b"a\xa0",
    b"a\x85", b"a\x00", b"a\x00b", b"a\x01", b"a\x0b", b"a\x7f", b"a\rb", b"a\r",
)  # fmt: skip

NO_PORTS = (
    b"a:", b":80", b":", b"a:b", b"a:80x", b"a:80:80", b"a:-1", b"a:+80", b"a: 80", b"a :80",
    b"a:8 0", b"a:0", b"a:0x50", b"a:8_0", b"a:65536", b"a:99999", b"a:123456", b"a:4294967376",
    "a:８０".encode(), b"a:80,b",
)  # fmt: skip

NO_ADDRESSES = (
    b"[", b"]", b"[]", b"[a]", b"[::1", b"::1]", b"::1", b"[::1]x", b"[::1]:", b"[::1]:x",
    b"[::1]80", b"[[::1]]", b"[:::]", b"[:]", b"[1]", b"[1:2:3:4:5:6:7:8:9]", b"[4712::abcd::]",
    b"[12345::]", b"[g::1]", b"[1.2.3.4]", b"[::1.2.3]", b"[::1.2.3.256]", b"[::1%25eth0]",
    b"[fe80::1%eth0]", b"[v1.a]", b"[::1]:65536", b"4714::abcd:8001", b"x[::1]",
)  # fmt: skip

HOSTS = [
    *_hosts(
        "9112 3.2",
        {
            "none": b"",
            "two": b"Host: a\r\nHost: a",
            "two of different case": b"Host: a\r\nhOST: b",
            "three": b"Host: a\r\nX: b\r\nHost: a\r\nHost: a",
            "one and an empty one": b"Host: a\r\nHost:",
            "a space before the colon": b"Host : a",
            "a tab before the colon": b"Host\t: a",
            "a space within the name": b"Ho st: a",
            "folded": b"Host:\r\n a",
            "folded into another": b"X: a\r\n Host: a",
            "a space before": b" Host: a",
            "another field's name": b"X-Host: a",
            "a bare CR between two": b"Host: a\rHost: b",
            "a bare LF between two": b"Host: a\nHost: b",
        },
    ),
    *_values("9110 7.2", *NO_HOSTS),
    *_values("9110 4.2.1", *NO_PORTS),
    *_values("3986 3.2.2", *NO_ADDRESSES),
    Refused(
        "host: none, with an absolute target",
        "9112 3.2",
        request(line=b"POST http://a" + _PATH + b" HTTP/1.1", host=b""),
    ),
    Refused(
        "host: empty, with an absolute target",
        "9110 7.2",
        request(line=b"POST http://a" + _PATH + b" HTTP/1.1", host=b"Host:"),
    ),
    Refused("host: of no form, in HTTP/1.0", "9112 3.2", head(line=_CHAT_1_0, host=b"Host: a b")),
    Refused("host: two, in HTTP/1.0", "9112 3.2", head(line=_CHAT_1_0, host=b"Host: a\r\nHost: a")),
]

STARTS = _raw(
    "9112 2.2",
    {
        "two empty lines": b"\r\n\r\n" + request(),
        "an empty line of a bare LF": b"\n" + request(),
        "an empty line of a bare CR": b"\r" + request(),
        "an empty line of two CRs": b"\r\r\n" + request(),
        "a line of spaces": b"  \r\n" + request(),
        "NUL": b"\x00" + request(),
        "a byte order mark": b"\xef\xbb\xbf" + request(),
        "a word": b"x" + b"\r\n" + request(),
        "bare line feeds": request().replace(b"\r\n", b"\n"),
        "bare carriage returns": request().replace(b"\r\n", b"\r"),
        "line ends the wrong way round": request().replace(b"\r\n", b"\n\r"),
        "two CRs at each end": request().replace(b"\r\n", b"\r\r\n"),
        "a bare LF behind the line": request().replace(b"\r\n", b"\n", 1),
        "a bare CR behind the line": request().replace(b"\r\n", b"\r", 1),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "the PROXY protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + request(),
        "the PROXY protocol, binary": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + b"\x7f" * 12,
        "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
        "Redis": b"*1\r\n$4\r\nPING\r\n",
        "mail": b"EHLO a\r\n",
        "JSON": BODY + b"\r\n\r\n",
        "noise": bytes(range(255, 127, -1)),
        "a body alone": LENGTH + b"\r\n\r\n" + BODY,
    },
)
