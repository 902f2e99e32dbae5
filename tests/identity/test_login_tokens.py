"""What a login believes: ID tokens and logout tokens that a provider signed, and paths to go to."""

import base64
import contextlib
import hashlib
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.identity.checking import Published, of, section
from tests.identity.minting import ISSUER, NOW, good, signer

from inhouse.identity.authcode import NotLoggedIn, challenge, parameters
from inhouse.identity.backchannel import EVENT, ToEnd, to_end
from inhouse.identity.idtoken import ForClient, Person, half_hash, person_of
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.returns import path_of_ours

KEY = signer("1", "RS256")
CLIENT = ForClient.of(section(), "console")
NONCE, ACCESS = "n-1", "the.access.token"


def id_claims(**changes: Any) -> dict[str, Any]:
    own = {"aud": "console", "nonce": NONCE, "scope": None, "client_id": None, "sid": "s-1"}
    return good(**own | {"name": "Anna", "groups": ["ops"]} | changes)


async def judged(claims: dict[str, Any], **header: Any) -> Person | Refused:
    token = KEY.token(claims, **{"typ": "JWT"} | header)
    return await person_of(token, CLIENT, of(KEY), NOW, nonce=NONCE, access_token=ACCESS)


async def test_a_good_one() -> None:
    found = await judged(id_claims(at_hash=half_hash(ACCESS, "RS256"), azp="console"))
    assert isinstance(found, Person), found
    assert (found.identity.issuer, found.identity.subject) == (ISSUER, "u-100")
    assert (found.identity.name, found.provider_session) == ("Anna", "s-1")
    assert found.identity.groups == {"ops"}
    assert isinstance(await judged(id_claims(aud=["console"], typ="ID")), Person)


BAD: list[tuple[dict[str, Any], Reason]] = [
    ({"nonce": "n-2"}, Reason.KIND),
    ({"nonce": None}, Reason.KIND),
    ({"nonce": ["n-1"]}, Reason.KIND),
    ({"nonce": "\ud800"}, Reason.KIND),
    ({"aud": "another"}, Reason.AUDIENCE),
    ({"aud": ["console", "another"]}, Reason.AUDIENCE),
    ({"aud": ["console", "another"], "azp": "console"}, Reason.AUDIENCE),
    ({"aud": None}, Reason.AUDIENCE),
    ({"azp": "another"}, Reason.AUDIENCE),
    ({"iss": "https://login.example.test/realms/other"}, Reason.ISSUER),
    ({"exp": int(NOW) - 31}, Reason.EXPIRED),
    ({"iat": int(NOW) - 400}, Reason.TIMES),
    ({"iat": int(NOW) + 60}, Reason.TIMES),
    ({"iat": None}, Reason.CLAIMS),
    ({"exp": None}, Reason.CLAIMS),
    ({"sub": None}, Reason.CLAIMS),
    ({"sub": ""}, Reason.CLAIMS),
    ({"at_hash": half_hash("another", "RS256")}, Reason.CLAIMS),
    ({"at_hash": None, "typ": "Bearer"}, Reason.KIND),
    ({"token_use": "access"}, Reason.KIND),
    ({"events": {EVENT: {}}}, Reason.KIND),
    ({"groups": {"a": 1}}, Reason.CLAIMS),
    ({"_claim_names": {"groups": "src1"}}, Reason.GROUPS),
]


@pytest.mark.parametrize(("changes", "reason"), BAD)
async def test_bad_ones(changes: dict[str, Any], reason: Reason) -> None:
    found = await judged(id_claims(**changes))
    assert isinstance(found, Refused)
    assert found.reason is reason


@pytest.mark.parametrize("typ", ["at+jwt", "logout+jwt", "dpop+jwt"])
async def test_tokens_of_another_kind(typ: str) -> None:
    found = await judged(id_claims(), typ=typ)
    assert isinstance(found, Refused)
    assert found.reason is Reason.KIND


async def test_signatures() -> None:
    mallory = signer("mallory", "RS256")
    asked: dict[str, Any] = {"nonce": NONCE, "access_token": ACCESS}
    forged = mallory.token(id_claims(), kid="1", typ="JWT")
    unsigned = KEY.token(id_claims(), alg="RS256", typ="JWT").rpartition(b".")[0] + b"."
    for token, keys, reason in (
        (forged, of(KEY), Reason.SIGNATURE),
        (KEY.token(id_claims(), typ="JWT"), Published(), Reason.KEY),
        (unsigned, of(KEY), Reason.MALFORMED),
        (b"", of(KEY), Reason.MALFORMED),
    ):
        found = await person_of(token, CLIENT, keys, NOW, **asked)
        assert isinstance(found, Refused)
        assert found.reason is reason


def test_half_of_a_hash_by_the_algorithm() -> None:
    """As the standard's own example, and by each length."""
    assert half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "RS256") == (
        "77QmUPtjPfzWtF2AnpK9RQ"
    )
    for alg, name in (("ES384", "sha384"), ("PS512", "sha512"), ("EdDSA", "sha512")):
        digest = hashlib.new(name, b"x").digest()
        half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
        assert half_hash("x", alg) == half


def test_the_challenge_is_that_of_the_standard() -> None:
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def out_claims(**changes: Any) -> dict[str, Any]:
    own: dict[str, Any] = {"aud": "console", "events": {EVENT: {}}, "sid": "s-1", "scope": None}
    return good(**own | changes)


async def ended(claims: dict[str, Any], **header: Any) -> ToEnd | Refused:
    token = KEY.token(claims, **{"typ": "logout+jwt"} | header)
    form = urlencode({"logout_token": token.decode()}).encode()
    return await to_end(form, CLIENT, of(KEY), NOW)


async def test_logout_tokens() -> None:
    assert await ended(out_claims()) == ToEnd(ISSUER, "u-100", "s-1")
    assert await ended(out_claims(sid=None)) == ToEnd(ISSUER, "u-100", "")
    assert await ended(out_claims(sub=None, exp=None), typ="JWT") == ToEnd(ISSUER, "", "s-1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"events": None}, Reason.KIND),
        ({"events": {}}, Reason.KIND),
        ({"events": EVENT}, Reason.KIND),
        ({"nonce": "n"}, Reason.KIND),
        ({"aud": "another"}, Reason.AUDIENCE),
        ({"iss": "https://evil.example"}, Reason.ISSUER),
        ({"iat": int(NOW) - 400}, Reason.EXPIRED),
        ({"iat": int(NOW) + 60}, Reason.EXPIRED),
        ({"exp": int(NOW) - 31}, Reason.EXPIRED),
        ({"sub": None, "sid": None}, Reason.CLAIMS),
        ({"sub": ["u-100"]}, Reason.CLAIMS),
    ],
)
async def test_bad_logout_tokens(changes: dict[str, Any], reason: Reason) -> None:
    found = await ended(out_claims(**changes))
    assert isinstance(found, Refused)
    assert found.reason is reason


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"x",
        b"logout_token=",
        b"logout_token=a&logout_token=b",
        b"\xff",
        b"a=b&" * 30,
        b"a" * 40_000,
    ],
)
async def test_what_is_no_form(form: bytes) -> None:
    found = await to_end(form, CLIENT, of(KEY), NOW)
    assert isinstance(found, Refused)
    assert found.reason is Reason.MALFORMED


@pytest.mark.parametrize("path", ["/", "/users", "/users/u-1/", "/a?b=c&d=%20e"])
def test_paths_of_ours(path: str) -> None:
    assert path_of_ours(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "users",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "https://evil.example",
        "/..//evil.example",
        "/a//evil.example",
        "/a/../b",
        "/.well-known/x",
        "/%2f%2fevil.example",
        "/a\r\nset-cookie: x",
        "/a\t",
        "/a#b",
        "/a?b=//evil.example",
        "javascript:alert(1)",
        "/" + "a" * 600,
        "/login",
        "/login?return_to=/",
        "/logout",
        "/login/callback?code=x",
        "/ä",
    ],
)
def test_other_places(path: str) -> None:
    assert path_of_ours(path) == "/"


@given(st.text(max_size=60))
def test_whatever_is_wanted_stays_here(path: str) -> None:
    found = path_of_ours(path)
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert found.isascii()
    assert found.isprintable()


@given(st.binary(max_size=200))
def test_whatever_a_browser_brings(query: bytes) -> None:
    with contextlib.suppress(NotLoggedIn):
        assert len(parameters(query)) <= 20
