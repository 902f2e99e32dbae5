"""Signatures of the true key over the true bytes, encoded in any way but the one that is right."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.identity.checking import of, refusal
from tests.identity.forging import (
    SHA256_OID,
    damaged_infos,
    digest_info,
    padded,
    pss,
    raised,
    turned,
    with_signature,
)
from tests.identity.minting import Signer, b64, good, packed, signer

from inhouse.identity.refused import Reason

RS, PS256, PS512 = (signer(f"damaged-{alg}", alg) for alg in ("RS256", "PS256", "PS512"))
SALT = bytes(range(32))


def signed(token: bytes) -> bytes:
    return token.rpartition(b".")[0]


def modulus(key: Signer) -> int:
    assert isinstance(key.private, rsa.RSAPrivateKey)
    return key.private.private_numbers().public_numbers.n


# PKCS #1, version 1.5


async def test_the_blocks_here_are_right_where_nothing_is_damaged() -> None:
    token = RS.token(good())
    block = padded(digest_info(hashlib.sha256(signed(token)).digest()))
    assert await refusal(with_signature(token, raised(RS, block)), of(RS)) is None


PLACES = list(dict.fromkeys(name.partition(":")[0] for name, _ in damaged_infos(bytes(32))))


@pytest.mark.parametrize("place", PLACES)
async def test_no_damage_to_the_digest_s_der_is_overlooked(place: str) -> None:
    token, keys = RS.token(good()), of(RS)
    digest = hashlib.sha256(signed(token)).digest()
    whole = digest_info(digest)
    damaged = [(n, info) for n, info in damaged_infos(digest) if n.startswith(f"{place}:")]
    assert len(damaged) >= 50
    assert all(info != whole for _, info in damaged)
    taken = [
        name
        for name, info in damaged
        if await refusal(with_signature(token, raised(RS, padded(info))), keys)
        is not Reason.SIGNATURE
    ]
    assert taken == []


async def test_the_name_of_another_hash_is_not_taken() -> None:
    """The digest is right, and said to be of SHA-384, SHA-512, SHA-1, MD5 or SHA-224."""
    token = RS.token(good())
    digest = hashlib.sha256(signed(token)).digest()
    others = ["608648016503040202", "608648016503040203", "608648016503040204", "2b0e03021a"]
    for other in map(bytes.fromhex, (*others, "2a864886f70d0205")):
        info = digest_info(digest).replace(SHA256_OID, other)
        block = padded(info)
        assert await refusal(with_signature(token, raised(RS, block)), of(RS)) is Reason.SIGNATURE


# PSS


async def pss_refusal(key: Signer, **turns: object) -> Reason | None:
    digest = {"PS256": "sha256", "PS512": "sha512"}[key.alg]
    turns = {"salt": (SALT * 2)[: hashlib.new(digest).digest_size], "digest": digest} | turns
    token = key.token(good())
    block = pss(signed(token), **turns)  # type: ignore[arg-type]
    return await refusal(with_signature(token, raised(key, block)), of(key))


@pytest.mark.parametrize("key", [PS256, PS512], ids=lambda key: key.alg)
async def test_pss_as_it_should_be_is_taken(key: Signer) -> None:
    size = 32 if key is PS256 else 64
    for salt in (SALT * (size // 32), bytes(size), b"\xff" * size):
        assert await pss_refusal(key, salt=salt) is None


@pytest.mark.parametrize("key", [PS256, PS512], ids=lambda key: key.alg)
@pytest.mark.parametrize(
    "turn",
    [
        *({"hashed": turned(at, bits)} for at in (0, 5, 31) for bits in (1, 0x80)),
        *({"proof": turned(at, bits)} for at in (0, 7, 31) for bits in (1, 0x80)),
        *({"filled": turned(at, bits)} for at in (0, 1, 60) for bits in (1, 0x20)),
        *({"salt": bytes(size)} for size in (0, 1, 20, 31, 33, 48, 63, 65, 94)),
        *({"separator": each} for each in (b"\0", b"\2", b"\xff", b"\1\1", b"\1\0")),
        *({"last": each} for each in (b"\0", b"\xbb", b"\xbd", b"\xcc", b"\xff")),
        {"mask": "sha1"},
        {"mask": "sha384"},
        {"hashed": lambda digest: digest[::-1]},
        {"filled": lambda zeros: b"\xff" * len(zeros)},
    ],
    ids=str,
)
async def test_no_damage_to_pss_is_overlooked(key: Signer, turn: dict[str, object]) -> None:
    if "separator" in turn and len(turn["separator"]) > 1:  # type: ignore[arg-type]
        turn = turn | {"filled": lambda zeros: zeros[1:]}
    assert await pss_refusal(key, **turn) is Reason.SIGNATURE


async def test_pss_blocks_with_their_first_bit_set_or_a_bit_turned() -> None:
    token = PS256.token(good())
    block = pss(signed(token), salt=SALT)
    for at in range(0, 256, 5):
        changed = turned(at)(block)
        answer = await refusal(with_signature(token, raised(PS256, changed)), of(PS256))
        assert answer is Reason.SIGNATURE, at
    first_bit = pss(signed(token), salt=SALT, first_bit=0x80)
    if int.from_bytes(first_bit) < modulus(PS256):
        forged = with_signature(token, raised(PS256, first_bit))
        assert await refusal(forged, of(PS256)) is Reason.SIGNATURE


@pytest.mark.parametrize("key", [RS, PS256, PS512], ids=lambda key: key.alg)
async def test_an_rsa_signature_is_a_number_below_the_modulus_and_as_long_as_it(
    key: Signer,
) -> None:
    token = key.token(good())
    n, raw = modulus(key), key.signature(signed(token))
    assert await refusal(with_signature(token, raw), of(key)) is None
    forms = [bytes(256), (1).to_bytes(256), (n - 1).to_bytes(256), n.to_bytes(256)]
    forms += [b"\0\0" + raw, raw + b"\0\0", raw[:-2], raw[2:], b"\xff" * 256, b"\1", raw * 2]
    forms += [(int.from_bytes(raw) + n).to_bytes(257), (n - int.from_bytes(raw)).to_bytes(256)]
    for form in forms:
        assert await refusal(with_signature(token, form), of(key)) is Reason.SIGNATURE


@pytest.mark.parametrize("used", ["RS256", "RS384", "RS512", "PS256", "PS384"])
@pytest.mark.parametrize("said", ["PS512", ""])
async def test_another_primitive_of_the_same_key_is_not_taken(used: str, said: str) -> None:
    """Under the name of the one that is published, and under its own."""
    token = PS512.over(
        packed({"alg": said or used, "kid": PS512.kid, "typ": "at+jwt"}), packed(good()), used
    )
    expected = Reason.SIGNATURE if said else Reason.ALGORITHM
    assert await refusal(token, of(PS512)) is expected
    if not said:  # and it would be good, were the key published for it
        twin = Signer(PS512.kid, used, PS512.private)
        assert await refusal(token, of(twin)) is None


# ECDSA

ORDERS = {
    "ES256": int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16),
    "ES384": int("F" * 48 + "C7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16),
    "ES512": int(
        "01" + "F" * 64 + "FA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409", 16
    ),
}


@pytest.mark.parametrize("alg", ORDERS)
async def test_numbers_at_the_borders_are_no_ecdsa_signature(alg: str) -> None:
    key, order = signer(f"damaged-{alg}", alg), ORDERS[alg]
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    size = (key.private.key_size + 7) // 8
    token = key.token(good())
    raw = key.signature(signed(token))
    r, s = int.from_bytes(raw[:size]), int.from_bytes(raw[size:])
    assert await refusal(with_signature(token, raw), of(key)) is None
    high = with_signature(token, raw[:size] + (order - s).to_bytes(size))
    assert await refusal(high, of(key)) is None  # what every ECDSA allows, and nobody else can make
    borders = (0, 1, 2, order - 1, order, order + 1, 2 ** (8 * size) - 1)
    pairs = [(a, b) for a in borders for b in borders]
    pairs += [(r, b) for b in borders] + [(a, s) for a in borders] + [(s, r), (order - r, s)]
    pairs += [(r + order, s), (r, s + order)]
    for a, b in pairs:
        if max(a, b) < 2 ** (8 * size):
            form = a.to_bytes(size) + b.to_bytes(size)
            assert await refusal(with_signature(token, form), of(key)) is Reason.SIGNATURE, (a, b)
    for wide in (size + 1, size * 2, 200):
        for a, b in ((r, s), (r + order, s), (r, s + order), (r + 2 ** (8 * size), s)):
            form = a.to_bytes(wide) + b.to_bytes(wide)
            assert await refusal(with_signature(token, form), of(key)) is Reason.SIGNATURE


# The parts, for each kind of key


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
async def test_a_token_that_lacks_something_or_has_too_much(alg: str) -> None:
    key = signer(f"damaged-{alg}", alg)
    token, keys = key.token(good()), of(key)
    head, payload, signature = token.split(b".")
    assert await refusal(token, keys) is None
    other = packed({"alg": alg, "kid": "X" + key.kid[1:], "typ": "at+jwt"})
    first = b"X" if signature[:1] != b"X" else b"Y"
    cases = {
        "signature turned": (b".".join([head, payload, first + signature[1:]]), Reason.SIGNATURE),
        "no signature": (head + b"." + payload + b".", Reason.MALFORMED),
        "no signature, no dot": (head + b"." + payload, Reason.MALFORMED),
        "payload turned": (b".".join([head, packed(good(sub="x")), signature]), Reason.SIGNATURE),
        "no payload": (head + b".." + signature, Reason.MALFORMED),
        "no payload, no dot": (head + b"." + signature, Reason.MALFORMED),
        "header turned": (b".".join([other, payload, signature]), Reason.KEY),
        "no header": (b"." + payload + b"." + signature, Reason.MALFORMED),
        "no header, no dot": (payload + b"." + signature, Reason.MALFORMED),
        "payload alone, dots": (b"." + payload + b".", Reason.MALFORMED),
        "payload alone": (payload, Reason.MALFORMED),
        "nothing": (b"", Reason.MALFORMED),
        "one part too many, empty": (token + b".", Reason.MALFORMED),
        "one part too many": (token + b".foo", Reason.MALFORMED),
        "a JWE of five parts": (token + b".x.y", Reason.MALFORMED),
    }
    for name, (case, expected) in cases.items():
        assert await refusal(case, keys) is expected, name


async def test_a_payload_signed_as_it_is_written_and_written_wrong() -> None:
    """The signature is over the wrong text itself, so that nothing but its form is wrong."""
    head = packed({"alg": "RS256", "kid": RS.kid, "typ": "at+jwt"})
    body = packed(good())
    assert await refusal(RS.over(head, body), of(RS)) is None
    for bad in (b"    ", b"####", b"?", b"=", b"==", b"\n", b"\0", "é".encode(), b"+", b"%20"):
        for header, payload in ((head, bad + body), (head, body + bad), (head + bad, body)):
            token = RS.over(header, payload)
            assert await refusal(token, of(RS)) is Reason.MALFORMED, (bad, token[:40])
    for loose in (b64(b"{}")[:-1] + b"B", b"AB"):  # unused bits that are not zero
        assert await refusal(RS.over(head, loose), of(RS)) is Reason.MALFORMED
