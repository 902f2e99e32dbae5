"""A provider's published keys: which are taken, and what is said of the others."""

import math
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identity.checking import Published, refusal
from tests.identity.minting import Signer, b64, good, signer, whole

from inhouse.config.oidc import ALGORITHMS
from inhouse.identity.jwk import read_keys
from inhouse.identity.strict import NotStrict
from inhouse.identity.weak import (
    P25519,
    ROCA,
    SMALL,
    SMALL_ORDER,
    weakness_of_ed25519,
    weakness_of_rsa,
)

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


def test_a_modulus_with_a_small_factor_is_refused() -> None:
    for factor in (2, 3, 17, 997):
        number = factor * (1 << 2047 | 1)
        said = left_out(RS.jwk(n=whole(number)))
        assert "has a small factor" in said or "malformed" in said, factor


def roca() -> int:
    """A modulus of the form that the broken library gave its keys."""
    product = math.prod(ROCA)
    start = pow(65537, 12345, product)
    at = start + product * ((1 << 2047) // product)
    while at % 2 == 0 or math.gcd(at, SMALL) != 1:
        at += product
    return at


def test_a_modulus_of_a_broken_library_is_refused() -> None:
    assert "CVE-2017-15361" in left_out(RS.jwk(n=whole(roca())))
    other = roca()
    while math.gcd(other, SMALL) != 1 or other % 11 in (1, 10):
        other += 2 * math.prod(ROCA[1:])  # the same modulo all of the primes but the first
    assert Published(RS.jwk(n=whole(other))).keys


def test_factors_that_are_next_to_each_other_are_refused() -> None:
    first = (3 << 1022) + 1
    while math.gcd(first, SMALL) != 1 or math.gcd(first + 30, SMALL) != 1:
        first += 2
    assert "next to each other" in left_out(RS.jwk(n=whole(first * (first + 30))))
    assert "next to each other" in left_out(RS.jwk(n=whole(first * first)))


def test_keys_of_honest_making_are_not_called_weak() -> None:
    for bits in (2048, 2048, 2048, 3072):
        number = rsa.generate_private_key(65537, bits).public_key().public_numbers().n
        assert weakness_of_rsa(number) is None
    for _ in range(200):
        public = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        assert weakness_of_ed25519(public) is None


def small_points() -> list[bytes]:
    """The fourteen ways to write the eight points of small order, with and without their sign."""
    values = [*SMALL_ORDER, P25519, P25519 + 1]
    return [(y | sign << 255).to_bytes(32, "little") for y in values for sign in (0, 1)]


@pytest.mark.parametrize("point", small_points(), ids=bytes.hex)
async def test_an_ed25519_key_of_small_order_is_refused(point: bytes) -> None:
    said = left_out(ED.jwk(x=b64(point).decode()))
    assert "small order" in said or "its one form" in said or "malformed" in said


def test_with_a_key_of_small_order_anybody_could_sign() -> None:
    """Which is why: the library itself takes such a signature, whatever was signed."""
    neutral = (1).to_bytes(32, "little")
    key = ed25519.Ed25519PublicKey.from_public_bytes(neutral)
    key.verify(neutral + bytes(32), b"whatever")


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
