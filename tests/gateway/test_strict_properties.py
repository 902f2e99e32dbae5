"""The readers of requests on bytes that nobody thought of: they agree with a plain reference, they
judge alike however the bytes are cut, and they raise nothing but a refusal."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.gateway import strict_reference
from tests.gateway.strict_accepted import ACCEPTED
from tests.gateway.strict_case import HIDDEN, Accepted, Refused
from tests.gateway.test_strictness import REFUSED, verdict

METHODS = [
    b"GET",
    b"POST",
    b"HEAD",
    b"post",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"M" * 24,
    b"M" * 25,
]
TARGETS = [
    b"/", b"/v1/models", b"//a/", b"/?", b"/a?b=/?:@", b"/%41", b"/%4", b"/#", b"*", b"a:80",
    b"http://a", b"http://a/", b"HTTP://A:80/x", b"http://a?b/c", b"http://b/", b"http://a:81/",
    b"http://u@a/", b"https://a/", b"http://[::1]:8080/", b"http:///",
]  # fmt: skip
VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1"]
HOSTS = [b"a"] * 6 + [b"A:80", b"[::1]:8080", b"[::1", b"a:65536", b"a,b", b"", b"a:", b"u@a"]
FIELDS = [
    b"X: a", b"x:", b"X:\ta \t", b"Accept: a", b"Accept: b", b"Connection: keep-alive",
    b"Connection: close", b"Connection: TE, Close", b"Connection: host", b"Connection: a b",
    b"Expect: 100-continue", b"Expect: 100-Continue", b"Expect: x", b"Content-Encoding: identity",
    b"Content-Encoding: gzip", b"Upgrade: h2c", b"Authorization: Bearer a", b"Content-Type: a/b",
    b"X-Api-Key: a", b"TE: trailers", b"X: \xe4", b"X-\xe4: a", b"X : a", b" X: a", b"X", b": a",
]  # fmt: skip
BODIES = [
    (b"Content-Length: 5", b"hello"), (b"content-length:0", b""), (b"Content-Length: 5", b"hell"),
    (b"Content-Length: 05", b"hello"), (b"Content-Length: 5, 5", b"hello"),
    (b"Content-Length: +5", b"hello"), (b"Content-Length: 5\r\nContent-Length: 5", b"hello"),
    (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    (b"transfer-encoding:CHUNKED", b"1\r\n\r\r\n00A\r\n0123456789\r\n000\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"5;a=b\r\nhello\r\n0\r\n\r\n"),
    (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\nX: a\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
    (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"), (b"X-Nothing: a", b""),
]  # fmt: skip
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff",
    b":", b";", b",", b"0", b"5", b"a", b"-", b"+", b"_", b"%", b"#", b"/", b"?", b"@", b"[", b"]",
    b"\\", b'"', b"HTTP/1.1", b"chunked", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"GET /h HTTP/1.1\r\nHost: a\r\n\r\n",
    b"Connection: close\r\n", b"0\r\n\r\n",
]  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is right, or nearly."""
    framing, body = draw(st.sampled_from(BODIES))
    line = b" ".join(
        (
            draw(st.sampled_from(METHODS)),
            draw(st.sampled_from(TARGETS)),
            draw(st.sampled_from(VERSIONS)),
        )
    )
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    fields = draw(st.permutations([b"Host: " + draw(st.sampled_from(HOSTS)), framing, *fields]))
    return b"\r\n".join((line, *fields)) + b"\r\n\r\n" + body


CASES: list[Refused | Accepted] = [*REFUSED, *ACCEPTED]
KNOWN = st.sampled_from([case.wire[-4000:] for case in CASES])


@st.composite
def runs_of_bytes(draw: st.DrawFn) -> bytes:
    """Requests behind each other, with some bytes changed."""
    wire = bytearray(b"".join(draw(st.lists(requests() | KNOWN, min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(wire)))
        wire[at : at + draw(st.integers(0, 3))] = draw(
            st.sampled_from(PIECES) | st.binary(max_size=2)
        )
    return bytes(wire) + draw(st.sampled_from([b"", HIDDEN]))


def assert_agreed(wire: bytes) -> None:
    heard, end = strict_reference.read(wire)
    seen, refused = verdict(wire)
    assert heard == seen
    # Bytes that can become no request may be refused before they are whole
    assert refused or end != "refused"
    assert not refused or end != "whole"


@settings(max_examples=600, deadline=None)
@given(runs_of_bytes())
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r")
def test_the_readers_agree_with_the_reference(wire: bytes) -> None:
    assert_agreed(wire)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{type(case).__name__}, {case.name}")
def test_the_reference_agrees_with_the_corpus(case: Accepted | Refused) -> None:
    assert_agreed(case.wire + HIDDEN)
    assert (strict_reference.read(case.wire + HIDDEN)[1] == "whole") == isinstance(case, Accepted)


@settings(max_examples=600, deadline=None)
@given(runs_of_bytes(), st.lists(st.integers(0, 600), max_size=12))
def test_the_readers_judge_alike_however_the_bytes_are_cut(wire: bytes, cuts: list[int]) -> None:
    places = sorted(cut for cut in cuts if cut <= len(wire))
    assert verdict(wire, *places) == verdict(wire)


@settings(max_examples=300, deadline=None)
@given(st.integers(32_700, 32_800), st.integers(1, 40), st.booleans())
def test_a_bound_holds_alike_however_the_bytes_are_cut(size: int, step: int, line: bool) -> None:
    start = b"GET /" if line else b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    end = b" HTTP/1.1\r\nHost: a\r\n\r\n" if line else b"\r\n\r\n"
    size -= 24_576 if line else 0  # a line is bounded at a quarter of a head
    wire = start + b"a" * (size - len(start)) + end
    cuts = range(len(wire) - 40 * step, len(wire), step)
    assert_agreed(wire)
    assert verdict(wire, *cuts) == verdict(wire)
