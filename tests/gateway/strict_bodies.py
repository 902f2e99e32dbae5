"""Lengths, codings and chunks that must be refused: whatever leaves the end of a body in doubt."""

from collections.abc import Mapping

from tests.gateway.strict_case import (
    BODY,
    CHAT,
    CHUNKS,
    HIDDEN,
    LENGTH,
    MODELS,
    Refused,
    chunked,
    head,
)

_SIZE = len(BODY)
_CHAT_1_0 = CHAT[:-1] + b"0"
_CHUNKED = b"Transfer-Encoding: chunked"
_DATA = chunked(CHUNKS).partition(b"\r\n\r\n")[2]


def _lengths(section: str, lengths: Mapping[str, tuple[bytes, ...]]) -> list[Refused]:
    return [
        Refused(f"length: {name}", section, head(*lines) + BODY) for name, lines in lengths.items()
    ]


def _counts(section: str, *values: bytes) -> list[Refused]:
    return _lengths(section, {repr(value): (b"Content-Length: " + value,) for value in values})


def _codings(section: str, *values: bytes, status: int = 400) -> list[Refused]:
    """Each alone, and beside a length."""
    lines = {repr(value): b"Transfer-Encoding: " + value for value in values}
    return [
        case
        for name, line in lines.items()
        for case in (
            Refused(f"coding: {name}", section, head(line) + _DATA, (status,)),
            Refused(f"coding: {name} and a length", "9112 6.1", head(LENGTH, line) + BODY),
        )
    ]


def _chunks(section: str, bodies: dict[str, bytes], start: bytes = CHAT) -> list[Refused]:
    return [
        Refused(f"chunk: {name}", section, chunked(body).replace(CHAT, start, 1))
        for name, body in bodies.items()
    ]


BOTH = {
    "before a coding": (LENGTH, _CHUNKED),
    "behind a coding": (_CHUNKED, LENGTH),
    "0 before a coding": (b"Content-Length: 0", _CHUNKED),
    "signed, before a coding": (b"Content-Length: +%d" % _SIZE, _CHUNKED),
    "of letters, before a coding": (b"Content-Length: %dx" % _SIZE, _CHUNKED),
    "empty, before a coding": (b"Content-Length:", _CHUNKED),
    "before a coding of other case": (LENGTH, b"TRANSFER-ENCODING: Chunked"),
    "before a folded coding": (LENGTH, b"Transfer-Encoding:\r\n chunked"),
    "before a coding with a tab": (LENGTH, b"Transfer-Encoding:\tchunked"),
}

TWICE = {
    "two equal": (LENGTH, LENGTH),
    "two of different case": (LENGTH, LENGTH.upper()),
    "two": (LENGTH, b"Content-Length: 0"),
    "two the other way round": (b"Content-Length: 0", LENGTH),
    "an empty one before": (b"Content-Length:", LENGTH),
    "an empty one behind": (LENGTH, b"Content-Length:"),
    "one with a space before its colon": (LENGTH, b"Content-Length : 0"),
    "one with a tab in its name": (LENGTH, b"Content\tLength: 0"),
    "one with a CR in its name": (LENGTH, b"Content\rLength: 0"),
    "three": (LENGTH, b"X: a", LENGTH, LENGTH),
}

NAMES = {
    "a space before the colon": (b"Content-Length : %d" % _SIZE,),
    "a space for the dash": (b"Content Length: %d" % _SIZE,),
    "no colon": (b"Content-Length %d" % _SIZE,),
    "folded": (b"Content-Length:\r\n %d" % _SIZE,),
    "a no-break space behind the name": (b"Content-Length\xa0: %d" % _SIZE,),
    "0x85 behind the name": (b"Content-Length\x85: %d" % _SIZE,),
    "NUL behind the name": (b"Content-Length\x00: %d" % _SIZE,),
}

CODING_NAMES = {
    "a space before the colon": b"Transfer-Encoding : chunked",
    "a tab before the colon": b"Transfer-Encoding\t: chunked",
    "a word before the colon": b"Transfer-Encoding x: chunked",
    "a space for the dash": b"Transfer Encoding: chunked",
    "a backslash for the dash": b"Transfer\\Encoding: chunked",
    "a letter of 8 bits": b"Transf\x82r-Encoding: chunked",
    "a CR in the name": b"Tra\rnsfer-Encoding: chunked",
    "a fold before the colon": b"Transfer-Encoding\r\n : chunked",
    "a fold before the name": b"X: a\r\n Transfer-Encoding: chunked",
    "a CR before the name": b"X: a\r\n\rTransfer-Encoding: chunked",
    "a vertical tab in a fold": b"Transfer-Encoding:\n\x0bchunked",
    "two lines": _CHUNKED + b"\r\n" + _CHUNKED,
    "two lines, the second for nothing": _CHUNKED + b"\r\nTransfer-Encoding: identity",
    "two lines, the first for nothing": b"Transfer-Encoding: identity\r\n" + _CHUNKED,
    "two lines, the first empty": b"Transfer-Encoding:\r\n" + _CHUNKED,
    "two lines of different case": _CHUNKED + b"\r\n" + _CHUNKED.lower(),
}

COUNTS = (
    b"", b" ", b"\t", b"+%d" % _SIZE, b"-%d" % _SIZE, b"-0", b"+0", b"-1", b"--1", b"0x%x" % _SIZE,
    b"%x" % 0xAB, b"0o5", b"0b1", b"%dL" % _SIZE, b"%dx" % _SIZE, b"5 7", b"5\t7", b"5, 7",
    b"57, 57", b"57,57,57", b"57,", b",57", b"57;", b"57.0", b"57.", b".57", b"5e1", b"5_7",
    b"'57'", b'"57"', b"(57)", b"57%", b"NaN", b"Infinity", b"null", b"\x0b57", b"57\x0b",
    b"57\x0c", b"57\x00", b"\x0057", b"\xa057", b"57\xa0", b"57\x85", "５７".encode(),
    "٥٧".encode(), b"\r57", b"9223372036854775807", b"9223372036854775808",
    b"18446744073709551616", b"18446744073709551673", b"4294967296000000057", b"1000000000000000",
    b"9" * 40,
)  # fmt: skip

CODINGS = (
    b"", b" ", b"identity", b"gzip", b"deflate", b"compress", b"pigeons", b"trailers",
    b"chunked, gzip", b"chunked, identity", b"identity, chunked, identity", b"chunked, chunked",
    b"gzip, chunked, gzip", b"xchunked", b"chunkedx", b"chunk", b"chunkedchunked",
    b"chunked chunked", b"x chunked", b"chunked\tidentity", b"chun\tked", b"chunked;",
    b"chunked;q=1", b"chunked;a=b", b"chunked=1", b'"chunked"', b"'chunked'", b"(chunked)",
    b"<chunked>", b"x=chunked", b",chunked", b", chunked", b"chunked,", b"chunked, ,", b",",
    b"\xa0chunked", b"chunked\xa0", b"\xffchunked\xff", b"\x85chunked", b"ch\x96nked",
    "ｃhunked".encode(), b"chunked\x00", b"\x00chunked", b"chunked\x0b", b"\x0bchunked",
    b"\x0cchunked", b"chunked\x0c", b"chunked\x7f", b"chunked\r", b"\rchunked", b"chunked\x01",
    b"chunked\n", b"gzip;q=1, chunked", b"gzip x, chunked",
)  # fmt: skip

UNSERVED = (b"gzip, chunked", b"deflate,chunked", b"identity, chunked", b"a, b, Chunked")

SIZES = (
    b"", b"0x@N", b"0X@N", b"x@N", b"+@N", b"-@N", b"-1", b"0_@N", b"1_0", b" @N", b"\t@N", b"@N ",
    b"@N\t", b"@N  \t", b"@Nh", b"g", b"z", b"INVALID", b"@N.", b"@N,", b"@N:", b"@N=", b'"@N"',
    b"@N\x00", b"\x00@N", b"@N\x0b", b"\x0c@N", b"@N\xa0", "５".encode(), "٥".encode(), b"#@N",
    b"0000000@N", b"00000000000000000@N", b"100000000", b"FFFFFFFFFFFFFFFF", b"8000000000000000",
    b"FFFFFFFFFFFFFFFF0", b"10000000000000000@N", b"@N@N@N@N@N", b"@N\r", b"\r@N", b"@N\n",
    b"\n@N", b"@N\n  ", b"@N \n", b"@N erfrferferf",
)  # fmt: skip

EXTENSIONS = (
    b";", b";a", b";a=b", b';a="b"', b"; a=b", b" ;a=b", b"\t;a", b";;", b";=", b";a=", b';a="b',
    b';a="\r\n"', b";bad[=x", b";\x00a", b";\xffa", b";a\rX", b"\r\r;ABCD", b";a=b\r\rX", b"\r;a",
    b";\n", b";a\n", b";a=b\n@D\r\n0", b";a;b=c;d", b";a=" + b"b" * 100_000,
)  # fmt: skip

ENDS = {
    "a bare LF behind the size": b"@N\n@D\r\n0\r\n\r\n",
    "a bare CR behind the size": b"@N\r@D\r\n0\r\n\r\n",
    "a CR and a letter behind the size": b"@N\rX@D\r\n0\r\n\r\n",
    "two CRs behind the size": b"@N\r\r@D\r\n0\r\n\r\n",
    "nothing behind the size": b"@N@D\r\n0\r\n\r\n",
    "two line ends behind the size": b"@N\r\n\r\n@D\r\n0\r\n\r\n",
    "a bare LF behind the data": b"@N\r\n@D\n0\r\n\r\n",
    "a bare CR behind the data": b"@N\r\n@D\r0\r\n\r\n",
    "a CR and a letter behind the data": b"@N\r\n@D\rX0\r\n\r\n",
    "two CRs behind the data": b"@N\r\n@D\r\r0\r\n\r\n",
    "two letters behind the data": b"@N\r\n@DXX0\r\n\r\n",
    "nothing behind the data": b"@N\r\n@D0\r\n\r\n",
    "two line ends behind the data": b"@N\r\n@D\r\n\r\n0\r\n\r\n",
    "data one byte too long": b"@N\r\n@D\n\r\n0\r\n\r\n",
    "data one byte too short": b"@N\r\n" + BODY[:-1] + b"\r\n0\r\n\r\n",
    "no last chunk": b"@N\r\n@D\r\n\r\n",
    "no last chunk but a request": b"@N\r\n@D\r\n" + HIDDEN,
    "line feeds all over": b"@N\n@D\n0\n\n",
    "an empty line first": b"\r\n@N\r\n@D\r\n0\r\n\r\n",
    "nothing but empty lines": b"\r\n\r\n",
    "a request for a size": HIDDEN,
    "a size that spills into a request": b"2\r\n{}GET / HTTP/1.1\r\n0\r\n\r\n",
}

LASTS = {
    "a bare LF behind the last size": b"0\n\r\n",
    "a bare LF at the end": b"0\r\n\n",
    "bare LFs at the end": b"0\n\n",
    "a bare CR at the end": b"0\r\n\rX",
    "two letters at the end": b"0\r\nXX",
    "a space at the end": b"0\r\n \r\n",
    "a sign before the last size": b"+0\r\n\r\n",
    "a minus before the last size": b"-0\r\n\r\n",
    "0x0": b"0x0\r\n\r\n",
    "a space behind the last size": b"0 \r\n\r\n",
    "a word behind the last size": b"0 rrrr\r\n\r\n",
    "9 zeros": b"000000000\r\n\r\n",
    "an extension of the last chunk": b"0;a=b\r\n\r\n",
    "an empty extension of the last chunk": b"0;\r\n\r\n",
    "a request for the end": b"0\r\n" + HIDDEN,
}

TRAILERS = (
    b"X: a", b"Content-Length: 9", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Host: b",
    b"Authorization: Bearer b", b"Content-Type: a/b", b"Connection: close", b"X-Api-Key: b",
    b"X:POST / HTTP/1.1", b" folded", b": a", b"X", b"X : a", b"X: a\nY: b",
    b"X: " + b"a" * 100_000,
)  # fmt: skip

BODY_CASES = [
    *_lengths("9112 6.3", BOTH),
    *_lengths("9112 6.3", TWICE),
    *_lengths("9112 5.1", NAMES),
    *_counts("9110 8.6", *COUNTS),
    *_counts("ours", b"00", b"057", b"0057", b"0000000000000000057", b"000"),
    *_codings("9112 6.3", *CODINGS),
    *_codings("9112 6.1", *UNSERVED, status=501),
    *[
        Refused(f"coding: {name}", "9112 6.3", head(line) + _DATA)
        for name, line in CODING_NAMES.items()
    ],
    Refused("coding: in HTTP/1.0", "9112 6.1", head(_CHUNKED, line=_CHAT_1_0) + _DATA),
    Refused(
        "coding: in HTTP/1.0, with a length",
        "9112 6.1",
        head(_CHUNKED, LENGTH, line=_CHAT_1_0) + BODY,
    ),
    *_chunks("9112 7.1", {f"the size {size!r}": size + b"\r\n@D\r\n0\r\n\r\n" for size in SIZES}),
    *_chunks(
        "ours",
        {
            f"the extension {text[:20]!r}": b"@N" + text + b"\r\n@D\r\n0\r\n\r\n"
            for text in EXTENSIONS
        },
    ),
    *_chunks("9112 7.1", ENDS),
    *_chunks("9112 7.1", {name: b"@N\r\n@D\r\n" + last for name, last in LASTS.items()}),
    *_chunks(
        "ours",
        {
            f"the trailer {line[:30]!r}": b"@N\r\n@D\r\n0\r\n" + line + b"\r\n\r\n"
            for line in TRAILERS
        },
    ),
    *_chunks("9112 7.1", {"in a GET": b"@N;a=b\r\n@D\r\n0\r\n\r\n"}, MODELS),
    *_chunks("9112 7.1", {"in a greeting": b"z\r\n@D\r\n0\r\n\r\n"}, b"GET / HTTP/1.1"),
    *_chunks("9112 7.1", {"in a HEAD": b"@N\n@D\r\n0\r\n\r\n"}, b"HEAD / HTTP/1.1"),
]
