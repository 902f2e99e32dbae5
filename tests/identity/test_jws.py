"""Forged, damaged and ambiguous tokens: none is taken. The classes are those of Wycheproof's
vectors for JWS, and of the attacks that libraries fell for; the keys are made here."""

import asyncio
import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.identity.checking import Published, of, refusal
from tests.identity.minting import Signer, b64, good, packed, signer

from inhouse.config.oidc import ALGORITHMS
from inhouse.identity.jws import MAX_BYTES
from inhouse.identity.refused import Reason

RS = signer("rsa", "RS256")
ES = signer("ec", "ES256")
ED = signer("ed", "EdDSA")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_a_good_token_of_each_algorithm_is_taken(alg: str) -> None:
    key = signer(f"good-{alg}", alg)
    assert await refusal(key.token(good()), of(key)) is None


def from_url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def hs256(header: bytes, payload: bytes, secret: bytes) -> bytes:
    mac = hmac.HMAC(secret, hashes.SHA256())
    mac.update(header + b"." + payload)
    return header + b"." + payload + b"." + b64(mac.finalize())


@pytest.mark.parametrize("key", [RS, ES, ED], ids=lambda key: key.alg)
@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", None, 0, ["RS256"], "none\0"])
async def test_no_signature_is_no_signature(key: Signer, alg: Any) -> None:
    header = packed({"alg": alg, "kid": key.kid, "typ": "at+jwt"})
    for tail in (b"", b"." + b64(b"x"), b"." + key.token(good()).rpartition(b".")[2]):
        assert await refusal(header + b"." + packed(good()) + tail, of(key)) is not None
    assert await refusal(header + b"." + packed(good()) + b".", of(key)) is Reason.MALFORMED


@pytest.mark.parametrize("key", [RS, ES, ED], ids=lambda key: key.alg)
async def test_a_public_key_is_no_shared_secret(key: Signer) -> None:
    public = key.private.public_key()
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    text = public.public_bytes(pem, form)
    secrets = [text, text.strip(), public.public_bytes(der, form), json.dumps(key.jwk()).encode()]
    secrets += [from_url(key.jwk().get("n") or key.jwk()["x"]), b""]
    for alg in ("HS256", "HS384", "HS512"):
        header = packed({"alg": alg, "kid": key.kid, "typ": "at+jwt"})
        for secret in secrets:
            token = hs256(header, packed(good()), secret)
            assert await refusal(token, of(key)) is Reason.ALGORITHM


@pytest.mark.parametrize("published", ALGORITHMS)
@pytest.mark.parametrize("claimed", ALGORITHMS)
async def test_a_key_verifies_its_own_algorithm_alone(published: str, claimed: str) -> None:
    key = signer(f"good-{published}", published)
    header = packed({"alg": claimed, "kid": key.kid, "typ": "at+jwt"})
    signs_it = {published[:2], claimed[:2]} <= {"RS", "PS"}
    token = key.over(header, packed(good()), claimed if signs_it else published)
    expected = None if published == claimed else Reason.ALGORITHM
    assert await refusal(token, of(key)) is expected


@pytest.mark.parametrize("claimed", ["RS256", "RS512", "PS256"])
async def test_an_rsa_key_that_names_no_algorithm_has_one_family(claimed: str) -> None:
    jwk = RS.jwk()
    del jwk["alg"]
    token = RS.token(good(), alg=claimed)
    expected = Reason.ALGORITHM if claimed == "PS256" else None
    assert await refusal(token, Published(jwk)) is expected
    only_ps = Published(jwk, algorithms=("PS256",))
    expected = None if claimed == "PS256" else Reason.ALGORITHM
    assert await refusal(token, only_ps, algorithms=["PS256"]) is expected


@pytest.mark.parametrize(
    "alg", ["rs256", "RS256 ", "Rs256", "RS２56", "RS256\n", "ＲＳ256", "RS-256"]
)
async def test_a_name_of_an_algorithm_is_exact(alg: str) -> None:
    token = RS.over(packed({"alg": alg, "kid": "rsa", "typ": "at+jwt"}), packed(good()))
    assert await refusal(token, of(RS)) is Reason.ALGORITHM


# The signature


def with_signature(token: bytes, signature: bytes) -> bytes:
    return token.rpartition(b".")[0] + b"." + b64(signature)


N = P256_ORDER


@pytest.mark.parametrize("r", [0, 1, N - 1, N, N + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, N - 1, N, N + 1, 2**256 - 1])
async def test_a_signature_of_borders_is_none(r: int, s: int) -> None:
    token = with_signature(ES.token(good()), r.to_bytes(32) + s.to_bytes(32))
    assert await refusal(token, of(ES)) is Reason.SIGNATURE


def split(token: bytes) -> tuple[int, int, bytes]:
    raw = base64.urlsafe_b64decode(token.rpartition(b".")[2] + b"==")
    return int.from_bytes(raw[:32]), int.from_bytes(raw[32:]), raw


async def test_other_forms_of_a_good_ecdsa_signature_are_refused() -> None:
    token = ES.token(good())
    r, s, raw = split(token)
    signed = token.rpartition(b".")[0]
    assert isinstance(ES.private, ec.EllipticCurvePrivateKey)
    der = ES.private.sign(signed, ec.ECDSA(hashes.SHA256()))
    forms = [
        der,
        r.to_bytes(33) + s.to_bytes(33),
        raw + b"\0",
        b"\0" + raw,
        raw[:-1],
        raw[:32],
        bytes(200) + raw,
        r.to_bytes(232) + s.to_bytes(232),
        raw[:32] + b"\0" + raw[32:],
        raw[32:] + raw[:32],
        raw * 2,
    ]
    if r + N < 2**256:
        forms.append((r + N).to_bytes(32) + s.to_bytes(32))
    for form in forms:
        assert await refusal(with_signature(token, form), of(ES)) is Reason.SIGNATURE


async def test_a_signature_of_another_curve_or_length_is_none() -> None:
    for alg in ("ES384", "ES512"):
        other = signer(f"good-{alg}", alg)
        token = with_signature(ES.token(good()), other.signature(b"x"))
        assert await refusal(token, of(ES, other)) is Reason.SIGNATURE


async def test_an_ed25519_signature_has_one_form() -> None:
    token = ED.token(good())
    raw = base64.urlsafe_b64decode(token.rpartition(b".")[2] + b"==")
    order = 2**252 + 27742317777372353535851937790883648493
    above = int.from_bytes(raw[32:], "little") + order  # the same number, had it no border
    forms = [raw[:32] + above.to_bytes(32, "little"), bytes(64), raw[:63], raw + b"\0"]
    for form in forms:
        assert await refusal(with_signature(token, form), of(ED)) is Reason.SIGNATURE


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def padded(block: bytes, size: int = 256) -> bytes:
    return b"\x00\x01" + b"\xff" * (size - 3 - len(block)) + b"\x00" + block


def modified_paddings(digest: bytes) -> dict[str, bytes]:
    """Encodings of a digest that are not the one of PKCS #1, each as long as the key."""
    info = SHA256_INFO + digest
    short = b"\x00\x01" + b"\xff" * 8 + b"\x00" + info
    oid, null, octets = info[4:15], info[15:17], info[17:]
    algorithm = info[2:17]

    def tlv(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    def der(*inner: bytes) -> bytes:
        return padded(tlv(0x30, b"".join(inner)))

    return {
        "garbage after": short + bytes(256 - len(short)),
        "garbage between": b"\x00\x01" + b"\xff" * 8 + b"\xee" * 194 + b"\x00" + info,
        "garbage in the padding": padded(info)[:50] + b"\xfe" + padded(info)[51:],
        "no padding": b"\x00\x01\x00" + info + b"\xff" * 202,
        "seven bytes of padding": b"\x00\x01" + b"\xff" * 7 + b"\x00" + info + bytes(195),
        "type 0": b"\x00\x00" + padded(info)[2:],
        "type 2": b"\x00\x02" + padded(info)[2:],
        "first byte 1": b"\x01" + padded(info)[1:],
        "zeros for padding": b"\x00\x01" + bytes(254 - len(info)) + info,
        "no separator": b"\x00\x01" + b"\xff" * (254 - len(info)) + info,
        "the digest alone": padded(digest),
        "the octet string alone": padded(octets),
        "no null": der(tlv(0x30, oid), octets),
        "two nulls": der(tlv(0x30, oid + null * 2), octets),
        "a long null": der(tlv(0x30, oid + b"\x05\x01\x00"), octets),
        "null of a long length": der(tlv(0x30, oid + b"\x05\x81\x00"), octets),
        "sequence for null": der(tlv(0x30, oid + b"\x30\x00"), octets),
        "no identifier": der(octets),
        "another hash's name": der(algorithm.replace(b"\x04\x02\x01", b"\x04\x02\x03"), octets),
        "a name that is cut": der(tlv(0x30, tlv(6, oid[2:-1]) + null), octets),
        "a name that is longer": der(tlv(0x30, tlv(6, oid[2:] + b"\x00") + null), octets),
        "bit string": der(algorithm, b"\x03" + octets[1:]),
        "a digest in a sequence": der(algorithm, tlv(0x30, octets)),
        "a digest that is cut": der(algorithm, tlv(4, digest[:-1])),
        "a digest that is longer": der(algorithm, tlv(4, digest + b"\x00")),
        "a zero before the digest": der(algorithm, tlv(4, b"\x00" + digest)),
        "octets of an indefinite length": der(algorithm, b"\x24\x80" + octets + b"\x00\x00"),
        "octets in octets": der(algorithm, tlv(0x24, octets)),
        "something after the octets": der(algorithm, octets, null),
        "something before": der(null, algorithm, octets),
        "twice": der(algorithm, octets, octets),
        "the outer length long": padded(b"\x30\x81" + info[1:]),
        "the outer length longer": padded(b"\x30\x82\x00" + info[1:]),
        "the outer length too large": padded(b"\x30\x32" + info[2:]),
        "the outer length too small": padded(b"\x30\x30" + info[2:]),
        "the outer length 2**32 - 1": padded(b"\x30\x84\xff\xff\xff\xff" + info[2:]),
        "the outer length 2**64": padded(b"\x30\x89\x01" + bytes(7) + b"\x31" + info[2:]),
        "the outer length indefinite": padded(b"\x30\x80" + info[2:]),
        "indefinite and ended": padded(b"\x30\x80" + info[2:] + b"\x00\x00"),
        "the inner length long": padded(b"\x30\x32\x30\x81\x0d" + info[4:]),
        "the digest's length long": padded(b"\x30\x32" + algorithm + b"\x04\x81\x20" + digest),
        "a set": padded(b"\x31" + info[1:]),
        "a high tag": padded(b"\x3f\x10" + info[1:]),
        "zeros after": padded(info + b"\x00\x00"),
        "an empty sequence before": padded(b"\x30\x00" + info),
        "an empty sequence after": padded(info + b"\x30\x00"),
    }


def raised(key: Signer, encoded: bytes) -> bytes:
    """RSA's own operation with the private key, on any block."""
    assert isinstance(key.private, rsa.RSAPrivateKey)
    numbers = key.private.private_numbers()
    modulus = numbers.public_numbers.n
    return pow(int.from_bytes(encoded) % modulus, numbers.d, modulus).to_bytes(256)


def rsa_case(name: str) -> bytes:
    token = RS.token(good())
    signed = token.rpartition(b".")[0]
    digest = hashes.Hash(hashes.SHA256())
    digest.update(signed)
    encoded = modified_paddings(digest.finalize())[name]
    assert len(encoded) == 256
    return with_signature(token, raised(RS, encoded))


async def test_the_true_padding_is_taken() -> None:
    """The blocks below are refused for their form, and not for how they are made here."""
    token = RS.token(good())
    digest = hashes.Hash(hashes.SHA256())
    digest.update(token.rpartition(b".")[0])
    encoded = padded(SHA256_INFO + digest.finalize())
    assert await refusal(with_signature(token, raised(RS, encoded)), of(RS)) is None


@pytest.mark.parametrize("name", modified_paddings(bytes(32)))
async def test_a_modified_padding_is_refused(name: str) -> None:
    assert await refusal(rsa_case(name), of(RS)) is Reason.SIGNATURE


async def test_an_rsa_signature_is_as_long_as_its_key() -> None:
    token = RS.token(good())
    raw = base64.urlsafe_b64decode(token.rpartition(b".")[2] + b"==")
    assert isinstance(RS.private, rsa.RSAPrivateKey)
    modulus = RS.private.private_numbers().public_numbers.n
    forms = [b"\0" + raw, raw + b"\0", raw[1:], raw[:-1], bytes(256), (1).to_bytes(256)]
    forms += [modulus.to_bytes(256), (int.from_bytes(raw) + modulus).to_bytes(257)]
    forms += [(modulus - 1).to_bytes(256), b"\xff" * 256]
    for form in forms:
        assert await refusal(with_signature(token, form), of(RS)) is Reason.SIGNATURE


async def test_a_token_of_another_key_is_refused() -> None:
    other = Signer("rsa", "RS256", signer("other", "RS256").private)
    assert await refusal(other.token(good()), of(RS)) is Reason.SIGNATURE


# The header


@pytest.mark.parametrize(
    "more",
    [
        {"crit": []},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
        {"b64": True},
        {"jwk": signer("mallory", "RS256").jwk()},
        {"jwk": None},
        {"jku": "https://login.example.test/realms/main/keys"},
        {"jku": "http://169.254.169.254/latest/meta-data"},
        {"x5u": "https://mallory.test/cert.pem"},
        {"x5c": ["MIIB"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
    ],
    ids=str,
)
async def test_a_header_that_asks_for_more_is_refused(more: dict[str, Any]) -> None:
    """Even where the provider itself signed it."""
    keys = of(RS)
    assert await refusal(RS.token(good(), **more), keys) is Reason.HEADER
    mallory = Signer("rsa", "RS256", signer("mallory", "RS256").private)
    assert await refusal(mallory.token(good(), **more), keys) is Reason.HEADER
    assert keys.renewals == 0


async def test_names_of_certificates_are_not_looked_at() -> None:
    """Entra ID sends them."""
    more: dict[str, Any] = {"x5t": "abc", "x5t#S256": "abc"}
    assert await refusal(RS.token(good(), **more), of(RS)) is None


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "rsa' UNION SELECT 'key",
        "rsa\0",
        "rsa ",
        "RSA",
        "| id",
        "http://169.254.169.254/",
        "x" * 256,
        "\ud800",
    ],
)
async def test_a_kid_is_a_name_and_nothing_else(kid: str) -> None:
    assert await refusal(RS.token(good(), kid=kid), of(RS)) is Reason.KEY


@pytest.mark.parametrize("kid", ["", None, 1, ["rsa"], {"rsa": 1}, True, "x" * 257])
async def test_a_kid_that_is_no_name_has_nothing_fetched(kid: Any) -> None:
    keys = of(RS)
    assert await refusal(RS.token(good(), kid=kid), keys) is Reason.KEY
    assert await refusal(RS.token(good(), without=("kid",)), keys) is Reason.KEY
    assert keys.renewals == 0


async def test_an_algorithm_that_is_not_taken_has_nothing_fetched() -> None:
    keys = of(RS)
    for alg in ("none", "HS256", "ES256K", "ES256"):
        header = packed({"alg": alg, "kid": "unknown", "typ": "at+jwt"})
        token = RS.over(header, packed(good()))
        assert await refusal(token, keys, algorithms=["RS256"]) is Reason.ALGORITHM
    assert keys.renewals == 0


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"RS256","kid":"rsa","alg":"none"}',
        '{"alg":"none","alg":"RS256","kid":"rsa"}',
        '{"alg":"RS256","kid":"rsa","\\u0061lg":"RS256"}',
        '{"alg":"RS256","kid":"rsa","x":{"a":1,"a":2}}',
        '{"alg":"RS256","kid":"rsa"}{}',
        '{"alg":"RS256","kid":"rsa",}',
        '{"alg":"RS256","kid":"rsa","n":NaN}',
        '{"alg":"RS256","kid":"rsa","n":-Infinity}',
        '{"alg":"RS256","kid":"rsa","n":' + "9" * 5000 + "}",
        '\ufeff{"alg":"RS256","kid":"rsa"}',
        '["alg","RS256"]',
        '"RS256"',
        "null",
        "{'alg':'RS256','kid':'rsa'}",
        '{"alg":"RS256","kid":"rsa"} // x',
        '{"alg":"RS256","kid":"rsa","d":' + "[" * 5000 + "]" * 5000 + "}",
    ],
    ids=lambda header: str(header)[:40],
)
async def test_a_header_of_two_readings_is_refused(header: str) -> None:
    token = RS.over(b64(header.encode()), packed(good()))
    assert await refusal(token, of(RS)) is Reason.MALFORMED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
async def test_json_is_utf_8(encoding: str) -> None:
    header = '{"alg":"RS256","kid":"rsa","typ":"at+jwt","x":"é"}'.encode(encoding)
    assert await refusal(RS.over(b64(header), packed(good())), of(RS)) is Reason.MALFORMED


async def test_white_space_within_the_json_is_json() -> None:
    header = b'{ "alg" :\n "RS256",\t"kid":"rsa" , "typ": "at+jwt" }'
    assert await refusal(RS.over(b64(header), packed(good())), of(RS)) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}{}",
        b"[]",
        b"null",
        b'{"sub":"a","sub":"b"}',
        json.dumps(good()).replace("{", '{"sub":"admin",', 1).encode(),
        b'{"exp":1e999}'.replace(b"1e999", b"Infinity"),
        b"\xff\xfe",
        b"[" * 6000,
        b'{"a":' * 2500 + b"1" + b"}" * 2500,
    ],
    ids=lambda payload: str(payload)[:40],
)
async def test_a_payload_of_two_readings_is_refused(payload: bytes) -> None:
    token = RS.over(packed({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}), b64(payload))
    assert await refusal(token, of(RS)) is Reason.MALFORMED


# The compact form


INSERTED = [b"=", b"==", b" ", b"    ", b"\n", b"\r\n", b"\t", b"?", b"####", b"\0", b"+", b"/"]
INSERTED += [b"%3D", "é".encode(), b"A", b"-"]


def variants(token: bytes) -> list[bytes]:
    """A good token, written as a lenient reader might still take it."""
    header, payload, signature = token.split(b".")
    parts = [header, payload, signature]
    found = [b"", b".", b"..", b"...", header, header + b"." + payload, payload + b"." + signature]
    found += [b"." + payload + b"." + signature, header + b".." + signature, b"." + payload + b"."]
    found += [
        token + b".",
        b"." + token,
        token + b".x",
        token + b".x.y",
        token.rpartition(b".")[0] + b".",
    ]
    for number, part in enumerate(parts):
        for bad in INSERTED:
            for changed in (part + bad, bad + part, part[:5] + bad + part[5:]):
                found.append(b".".join([*parts[:number], changed, *parts[number + 1 :]]))
    found += [b" " + token, token + b" ", token + b"\n", b"Bearer " + token, b'"' + token + b'"']
    found += [token.replace(b".", b". "), token.replace(b"-", b"+"), token.replace(b"_", b"/")]
    flat = {"payload": payload.decode(), "protected": header.decode()}
    signed = flat | {"signature": signature.decode()}
    general = {"payload": payload.decode(), "signatures": [signed | {"header": {"kid": "rsa"}}]}
    found += [json.dumps(signed).encode(), json.dumps(general).encode()]
    found += [header + b"." + header + b"." + payload + b"." + payload + b"." + signature]
    return [each for each in found if each != token]


@pytest.mark.parametrize("key", [RS, ES, ED], ids=lambda key: key.alg)
async def test_a_good_token_has_one_form(key: Signer) -> None:
    token = key.token(good(jti="~~~???"))
    keys = of(key)
    assert await refusal(token, keys) is None
    taken = [each for each in variants(token) if await refusal(each, keys) is None]
    assert taken == []


async def test_unused_bits_are_zero() -> None:
    """The last character of a part may hold bits that no byte takes: with others in them it is
    another text of the same bytes."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = RS.token(good())  # its signature of 256 bytes leaves four bits
    last = alphabet.index(token[-1:])
    others = [token[:-1] + alphabet[last ^ bits :][:1] for bits in range(1, 16)]
    raw = base64.urlsafe_b64decode(token.rpartition(b".")[2] + b"==")
    for other in others:
        assert base64.urlsafe_b64decode(other.rpartition(b".")[2] + b"==") == raw
        assert await refusal(other, of(RS)) is Reason.MALFORMED


async def test_a_token_in_a_token_is_not_unpacked() -> None:
    inner = RS.token(good())
    header = packed({"alg": "RS256", "kid": "rsa", "typ": "JWT"})
    assert await refusal(RS.over(header, b64(inner)), of(RS)) is Reason.MALFORMED


async def test_a_size_is_a_bound() -> None:
    fits = RS.token(good(pad="x" * 11_000))
    assert len(fits) < MAX_BYTES
    assert await refusal(fits, of(RS)) is None
    assert await refusal(RS.token(good(pad="x" * 13_000)), of(RS)) is Reason.MALFORMED
    assert await refusal(b"." * 10_000_000, of(RS)) is Reason.MALFORMED


@pytest.mark.parametrize("key", [RS, ES, ED], ids=lambda key: key.alg)
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_changed_character_passes(key: Signer, data: st.DataObject) -> None:
    token, keys = key.token(good()), of(key)
    at = data.draw(st.integers(0, len(token) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != token[at]))
    changed = token[:at] + bytes([byte]) + token[at + 1 :]
    assert asyncio.run(refusal(changed, keys)) is not None


@settings(deadline=None, max_examples=300)
@given(junk=st.binary(max_size=400) | st.text(alphabet="eyJ.-_A=0 ", max_size=200).map(str.encode))
def test_whatever_comes_is_judged(junk: bytes) -> None:
    assert asyncio.run(refusal(junk, of(RS))) is not None
