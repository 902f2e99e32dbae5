"""Whatever comes, made of the pieces that the real thing is made of: an answer or the one exception
that the function names, and never somebody who is not proven.

INHOUSE_FUZZ is how many examples each test tries; by hand, some hundred thousand.
"""

import asyncio
import contextlib
import hmac
import json
import os
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.identity.checking import of, section
from tests.identity.minting import AUDIENCE, ISSUER, NOW, b64, good, signer

from inhouse.domain import Principal
from inhouse.errors import Refusal
from inhouse.gateway.authenticate import authenticate, claimed_key, credential
from inhouse.gateway.http1 import Head
from inhouse.identity.claims import Identity
from inhouse.identity.cookies import Cookies, one_of
from inhouse.identity.directory import Directory
from inhouse.identity.refused import Refused
from inhouse.identity.scim_filter import parse_filter, parse_path, sought
from inhouse.identity.scim_schema import ScimError
from inhouse.identity.strict import NotStrict, from_base64url, json_object, to_base64url
from inhouse.identity.token import new_id, new_token
from inhouse.identity.tokens import Tokens
from inhouse.store.keys import StoredKey, StoredSecret
from inhouse.store.state import State
from inhouse.store.users import StoredUser

fuzz = settings(
    deadline=None,
    max_examples=int(os.environ.get("INHOUSE_FUZZ", "150")),
    suppress_health_check=list(HealthCheck),
)
ES, ED = signer("fuzz-ec", "ES256"), signer("fuzz-ed", "EdDSA")
KEYS = of(ES, ED)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(int(NOW) - 100_000, int(NOW) + 100_000)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([ISSUER, AUDIENCE, "ES256", "EdDSA", "none", "HS256", ES.kid, ED.kid, "JWT"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["iss", "roles", "jwk"]), inner)
    ),
    max_leaves=8,
)
HEADER = ["alg", "kid", "typ", "crit", "jwk", "jku", "x5c", "cty", "b64", "zip", "x5t", "enc"]
CLAIMS = [*good(), "nbf", "name", "roles", "groups", "scp", "typ", "cnf", "nonce", "at_hash"]
CLAIMS += ["_claim_names", "hasgroups", "token_use", "azp", "realm_access", "events"]


def changed(base: dict[str, Any], names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of its members taken out, others replaced, others put in."""
    return st.builds(
        lambda gone, more: {k: v for k, v in base.items() if k not in gone} | more,
        st.sets(st.sampled_from(names), max_size=2),
        st.dictionaries(st.sampled_from(names) | st.text(max_size=4), anything, max_size=3),
    )


pieces = st.sampled_from(
    [b".", b"..", b"=", b" ", b"\n", b"\0", b"-", b"_", b"+", b"/", b"A", b"e30", b"{}", b"~"]
) | st.binary(max_size=8)


@st.composite
def tokens(draw: st.DrawFn) -> bytes:
    """A token by a true key over whatever; then, half of the time, with something done to it."""
    key = draw(st.sampled_from([ES, ED]))
    header = draw(changed({"alg": key.alg, "kid": key.kid, "typ": "at+jwt"}, HEADER))
    payload = draw(changed(good(), CLAIMS))
    parts = [b64(_json(each)) for each in (header, payload)]
    if draw(st.booleans()):
        at = draw(st.integers(0, 1))
        where = draw(st.integers(0, len(parts[at])))
        parts[at] = parts[at][:where] + draw(pieces) + parts[at][where:]
    token = key.over(parts[0], parts[1])
    if draw(st.booleans()):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(token))] * 2)))
        token = token[:start] + draw(pieces) + token[draw(st.sampled_from([start, end])) :]
    return token


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@fuzz
@given(token=tokens())
def test_a_token_is_somebody_s_or_refused(token: bytes) -> None:
    checker = Tokens(section(), KEYS)
    found = asyncio.run(checker.check(token, NOW))
    assert isinstance(found, Identity | Refused)
    if isinstance(found, Refused):
        assert len(checker) == 0
        assert len(found.sentence) < 300
        assert found.sentence.isprintable()
        return
    head, payload, signature = token.split(b".")
    header, claims = (json.loads(from_base64url(each)) for each in (head, payload))
    key = ES if header["alg"] == "ES256" else ED
    assert KEYS.keys[key.kid, key.alg].verifies(head + b"." + payload, from_base64url(signature))
    assert (claims["iss"], found.subject, found.issuer) == (ISSUER, claims["sub"], ISSUER)
    assert AUDIENCE in ([claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"])
    assert claims["iat"] - 30 <= NOW < claims["exp"] + 30


PEPPER = bytes(range(32))
SECRET = new_token(new_id()).secret.reveal().encode()
USER = StoredUser("usr_1", "service", "", "", "anna", None, True, 0.0)


def directory() -> Directory:
    found = Directory(PEPPER)
    digest = hmac.digest(PEPPER, SECRET, "sha256")
    secrets = (StoredSecret(digest, 0.0),)
    key = StoredKey(
        SECRET[4:14].decode(), "anna", None, 0.0, NOW + 100, secrets=secrets, owner_id="usr_1"
    )
    found.replace(State(keys=(key,), users=(USER,)))
    return found


DIRECTORY = directory()
TOKEN = ES.token(good())
written = st.lists(
    st.sampled_from(
        [
            b"Bearer ",
            b"bearer ",
            b"BEARER\t",
            b"Basic ",
            b"Bearer",
            b" ",
            b"",
            b", ",
            b"ihk_",
            SECRET,
            SECRET[:-1],
            SECRET + b"x",
            SECRET.swapcase(),
            TOKEN,
            TOKEN[:-2],
            b"\xff",
            b"e30.e30.e30",
        ]
    )
    | st.binary(max_size=6),
    max_size=4,
).map(b"".join)


def asking(fields: dict[bytes, bytes]) -> Head:
    return Head(b"GET", b"/v1/models", b"", fields, 0, keep_alive=True, chunkable=True)


async def _asked(head: Head, checker: Tokens) -> Principal | int:
    try:
        return await authenticate(head, DIRECTORY, checker, NOW)
    except Refusal as refusal:
        return refusal.status


@fuzz
@given(authorization=st.none() | written, api_key=st.none() | written)
def test_a_request_is_somebody_s_or_refused(
    authorization: bytes | None, api_key: bytes | None
) -> None:
    fields = {b"authorization": authorization, b"x-api-key": api_key}
    head = asking({name: value for name, value in fields.items() if value is not None})
    checker = Tokens(section(), KEYS)
    assert isinstance(claimed_key(head), str | None)
    found = asyncio.run(_asked(head, checker))
    if isinstance(found, int):
        assert found == 401
        return
    presented = credential(head)
    assert presented == (SECRET if found.id.startswith("key:") else TOKEN)
    for value in (authorization, api_key):
        assert value is None or value.strip().split(b" ")[-1].strip() == presented


def test_the_twins_of_the_above_are_taken() -> None:
    """Or nothing here would be shown."""
    for secret, who in ((SECRET, "key:"), (TOKEN, "oidc:")):
        head = asking({b"authorization": b"Bearer " + secret})
        checker = Tokens(section(), KEYS)
        assert asyncio.run(authenticate(head, DIRECTORY, checker, NOW)).id.startswith(who)


cookie_pieces = st.sampled_from(
    [
        b"__Host-inhouse",
        b"inhouse",
        b"inhouse-login",
        b"=",
        b";",
        b"; ",
        b",",
        b'"',
        b" ",
        b"\t",
        b"abc",
        b"a.b-c~d_",
        b"$Path",
        b"=x",
        b"\x00",
        b"\xc3\xa9",
        b"inhouse=",
        b"__Host-inhouse=s",
    ]
) | st.binary(max_size=5)


@fuzz
@given(header=st.lists(cookie_pieces, max_size=12).map(b"".join), secure=st.booleans())
def test_a_cookie_is_one_value_or_none(header: bytes, secure: bool) -> None:
    cookies = Cookies(secure)
    name = b"__Host-inhouse" if secure else b"inhouse"
    for found in (cookies.session_in(header), cookies.login_in(header)):
        assert found is None or re.fullmatch(rb"[A-Za-z0-9_.~-]{1,2048}", found)
    found = one_of(header, name.decode())
    if found is not None:
        named = [pair for pair in header.split(b";") if pair.partition(b"=")[0].strip() == name]
        named = [pair for pair in named if b"=" in pair]
        assert [pair.partition(b"=")[2].strip(b" \t") for pair in named] == [found]


@pytest.mark.parametrize("secure", [True, False])
def test_a_cookie_that_is_one_is_found(secure: bool) -> None:
    name = b"__Host-inhouse" if secure else b"inhouse"
    assert Cookies(secure).session_in(b"a=b; " + name + b"=abc; c=d") == b"abc"


scim_pieces = st.sampled_from(
    [
        "userName",
        "emails",
        "[type eq ",
        '"work"',
        "]",
        ".value",
        " eq ",
        " and ",
        " or ",
        "not (",
        ")",
        "urn:ietf:params:scim:schemas:core:2.0:User:",
        '"',
        "\\",
        '\\"',
        "true",
        "False",
        "null",
        "1",
        "externalId",
        "active",
        "$ref",
        ".",
        "-",
        '"a\\u0000b"',
        '"\\ud800"',
        "pr",
        "sw",
        " EQ ",
    ]
) | st.text(max_size=4)


@fuzz
@given(text=st.lists(scim_pieces, max_size=12).map("".join))
def test_a_filter_is_read_or_refused(text: str) -> None:
    for read in (parse_filter, parse_path, lambda it: sought(it, {"username": "name"})):
        with contextlib.suppress(ScimError):
            read(text)


@pytest.mark.parametrize("text", ["a eq " * 5000, 'a eq "' + "\\" * 900, '"' * 1000, "[" * 1000])
def test_a_filter_of_any_length_is_judged_soon(text: str) -> None:
    for read in (parse_filter, parse_path):
        with contextlib.suppress(ScimError):
            read(text)


@fuzz
@given(data=st.binary(max_size=60) | st.text(alphabet="AQgw-_=+/ .", max_size=30).map(str.encode))
def test_base64url_has_one_text_for_each_bytes(data: bytes) -> None:
    assert from_base64url(to_base64url(data)) == data
    try:
        found = from_base64url(data)
    except NotStrict:
        return
    assert to_base64url(found) == data


json_pieces = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        '"a"',
        '"iss"',
        "1",
        "-0",
        "1e5",
        "NaN",
        "null",
        "true",
        " ",
        '"',
        "\\u0061",
        "\ufeff",
        "\x00",
        "//",
        "1" * 5000,
    ]
) | st.text(max_size=3)


@fuzz
@given(
    data=st.binary(max_size=40)
    | st.lists(json_pieces, max_size=14).map("".join).map(lambda t: t.encode("utf-8", "replace"))
    | anything.map(_json)
)
def test_json_is_an_object_or_refused(data: bytes) -> None:
    try:
        found = json_object(data)
    except NotStrict:
        return
    assert found == json.loads(data) or "NaN" in repr(found)
