"""A provider's published keys: which are taken, and what is said of the others."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identity.checking import Published, refusal
from tests.identity.minting import Signer, good, signer, whole

from inhouse.config.oidc import ALGORITHMS
from inhouse.identity.jwk import read_keys
from inhouse.identity.strict import NotStrict

RS = signer("rsa", "RS256")
ES = signer("ec", "ES256")
ED = signer("ed", "EdDSA")


def left_out(*jwks: Any) -> str:
    """What is said of keys none of which is taken."""
    published = Published(*jwks)
    assert published.keys == {}
    return "; ".join(published.complaints)


@pytest.mark.parametrize("key", [RS, ES, ED], ids=lambda key: key.alg)
def test_a_private_key_is_refused(key: Signer) -> None:
    assert "private or secret part" in left_out(key.jwk(private=True))


def test_a_shared_secret_is_refused() -> None:
    secret = {"kty": "oct", "kid": "s", "k": "AAAA", "alg": "HS256"}
    assert "private or secret part" in left_out(secret)


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"use": "SIG"},
        {"use": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"alg": "RSA-OAEP"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"alg": "none"},
        {"alg": ["RS256"]},
        {"kty": "rsa"},
        {"kty": "EC"},
        {"kty": "OKP"},
        {"kty": None},
        {"crv": "P-256"},
    ],
    ids=str,
)
def test_a_key_for_something_else_is_left_out(changes: dict[str, Any]) -> None:
    """Without a word: Keycloak publishes one for encryption beside that for signatures."""
    assert left_out(RS.jwk(**changes)) == ""


@pytest.mark.parametrize("bits", [512, 1024, 2047])
def test_a_weak_rsa_key_is_refused(bits: int) -> None:
    number = (1 << (bits - 1)) + 1
    assert f"has {bits} bits" in left_out(RS.jwk(n=whole(number)))


@pytest.mark.parametrize("exponent", [0, 1, 3, 65535])
def test_a_weak_exponent_is_refused(exponent: int) -> None:
    assert "exponent" in left_out(RS.jwk(e=whole(exponent, 3)))


def test_an_exponent_that_is_even_or_a_modulus_too_large_is_refused() -> None:
    assert "malformed" in left_out(RS.jwk(e=whole(65538)))
    assert "8193 bits" in left_out(RS.jwk(n=whole((1 << 8192) + 1)))


def test_a_point_that_is_not_on_the_curve_is_refused() -> None:
    good_key = ES.jwk()
    assert "malformed" in left_out(good_key | {"y": good_key["x"]})
    assert "malformed" in left_out(good_key | {"x": whole(0, 32), "y": whole(0, 32)})
    assert "malformed" in left_out(good_key | {"x": good_key["x"][:-2]})
    assert left_out(good_key | {"crv": "secp256k1"}) == ""


@pytest.mark.parametrize("bad", ["", "=", "A B", "é", 1, None, ["AQAB"], "AQAB=", "AQABA"])
@pytest.mark.parametrize("name", ["n", "e"])
def test_a_malformed_member_is_refused(name: str, bad: Any) -> None:
    assert left_out(RS.jwk(**{name: bad})) != ""


def test_a_key_without_a_name_cannot_be_asked_for() -> None:
    for kid in (None, "", 1, ["a"], "x" * 257):
        assert "no name" in left_out(RS.jwk(kid=kid))
    jwk = RS.jwk()
    del jwk["kid"]
    assert "no name" in left_out(jwk)


def test_two_keys_of_one_name_are_neither() -> None:
    other = signer("other", "RS256").jwk(kid="rsa")
    said = left_out(RS.jwk(), other)
    assert "two keys are named 'rsa'" in said
    assert left_out(other, RS.jwk(), other) == said


async def test_the_same_key_twice_is_one() -> None:
    assert await refusal(RS.token(good()), Published(RS.jwk(), RS.jwk())) is None


async def test_a_name_may_be_that_of_keys_of_two_types() -> None:
    one = Signer("same", "RS256", RS.private)
    two = Signer("same", "ES256", ES.private)
    published = Published(one.jwk(), two.jwk())
    assert await refusal(one.token(good()), published) is None
    assert await refusal(two.token(good()), published) is None


async def test_certificates_beside_a_key_are_not_looked_at() -> None:
    """Keycloak and Entra ID publish them; the key is the key's."""
    jwk = RS.jwk(x5c=["MIIB"], x5t="x", issuer="https://login.example.test/{tenantid}")
    assert await refusal(RS.token(good()), Published(jwk)) is None


def test_a_key_is_for_the_algorithms_that_are_configured() -> None:
    read = read_keys({"keys": [RS.jwk(), ES.jwk(), ED.jwk()]}, ["ES256"])
    assert set(read.keys) == {("ec", "ES256")}


@pytest.mark.parametrize(
    "document", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": [RS.jwk()] * 101}]
)
def test_what_is_no_set_is_none(document: dict[str, Any]) -> None:
    with pytest.raises(NotStrict):
        read_keys(document, ALGORITHMS)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(
    base=st.sampled_from([RS.jwk(), ES.jwk(), ED.jwk(), {}]),
    changes=st.dictionaries(
        st.sampled_from(["kty", "use", "key_ops", "alg", "kid", "n", "e", "x", "y", "crv", "d"]),
        anything,
    ),
    junk=st.lists(anything, max_size=3),
)
def test_whatever_is_published_is_read(
    base: dict[str, Any], changes: dict[str, Any], junk: list[Any]
) -> None:
    read = read_keys({"keys": [*junk, base | changes]}, ALGORITHMS)
    assert all(alg in ALGORITHMS for _, alg in read.keys)


def test_the_keys_here_are_what_they_say() -> None:
    assert isinstance(RS.private, rsa.RSAPrivateKey)
    assert isinstance(ES.private, ec.EllipticCurvePrivateKey)
    assert set(Published(RS.jwk(), ES.jwk(), ED.jwk()).keys) == {
        ("rsa", "RS256"),
        ("ec", "ES256"),
        ("ed", "EdDSA"),
    }
