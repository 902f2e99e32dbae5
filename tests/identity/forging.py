"""Signatures that are nearly right: RSA's own operation on blocks of the test's making, every
damage that DER can suffer, and PSS with each of its parts turned.

Wycheproof's classes, over keys that the tests make.
"""

import hashlib
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric import rsa
from tests.identity.minting import Signer, b64

SEQUENCE, OID, NULL, OCTETS = 0x30, 0x06, 0x05, 0x04
SHA256_OID = bytes.fromhex("608648016503040201")


def with_signature(token: bytes, signature: bytes) -> bytes:
    return token.rpartition(b".")[0] + b"." + b64(signature)


def raised(key: Signer, block: bytes) -> bytes:
    """RSA's operation with the private key, on any block as long as the key."""
    assert isinstance(key.private, rsa.RSAPrivateKey)
    secret = key.private.private_numbers()
    p, q, number = secret.p, secret.q, int.from_bytes(block)
    first, second = pow(number, secret.dmp1, p), pow(number, secret.dmq1, q)
    return (second + (first - second) * secret.iqmp % p * q).to_bytes(len(block))


def padded(block: bytes, size: int = 256) -> bytes:
    """As PKCS #1 pads."""
    return b"\x00\x01" + b"\xff" * (size - 3 - len(block)) + b"\x00" + block


# DER


def tlv(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


def _lengths(tag: int, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The same content, with a length that is written otherwise or is another."""
    size = len(content)
    written = {
        "long form": b"\x81" + bytes([size]),
        "long form with a zero": b"\x82\x00" + bytes([size]),
        "one more": bytes([size + 1]),
        "one less": bytes([size - 1]) if size else b"\x7f",
        "uint32 overflow": b"\x85\x01\x00\x00\x00" + bytes([size]),
        "uint64 overflow": b"\x89\x01" + bytes(7) + bytes([size]),
        "2**31 - 1": b"\x84\x7f\xff\xff\xff",
        "2**31": b"\x84\x80\x00\x00\x00",
        "2**32 - 1": b"\x84\xff\xff\xff\xff",
        "2**40 - 1": b"\x85" + b"\xff" * 5,
        "2**64 - 1": b"\x88" + b"\xff" * 8,
        "255": b"\xff",
        "indefinite": b"\x80",
        "cut": b"\x81",
    }
    for name, length in written.items():
        yield f"length: {name}", bytes([tag]) + length + content
    ends = {"": b"\0\0", " cut": b"\0", " with more": b"\5\0\0\0", " not empty": b"\0\1\0"}
    for name, end in ends.items():
        yield f"length: indefinite, end{name}", bytes([tag | 0x20, 0x80]) + content + end
    yield "length: indefinite, garbage", bytes([tag | 0x20, 0x80]) + b"\x02\x00" + content + b"\0\0"


def _contents(tag: int, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Another content, with a length that fits."""
    null = b"\x05\x00"
    changed = {
        "zeros after": content + b"\0\0",
        "zeros before": b"\0\0" + content,
        "null after": content + null,
        "null before": null + content,
        "garbage before": b"\x49\x77" + content,
        "garbage after": content + b"\x49\x77",
        "undefined tags before": b"\xaa\xbb\xcd\x00" + content,
        "undefined tags, closed": b"\xaa\x02\xbb\x00" + content,
        "empty sequence before": b"\x30\x00" + content,
        "empty sequence after": content + b"\x30\x00",
        "zero after": content + b"\0",
        "zero before": b"\0" + content,
        "high tag after": content + b"\xbf\x7f\x00",
        "explicit null after": content + b"\xa0\x02\x05\x00",
        "implicit null after": content + b"\xa0\x00",
        "last byte gone": content[:-1],
        "first byte gone": content[1:],
        "empty": b"",
        "first byte turned": bytes([content[0] ^ 1]) + content[1:] if content else b"\1",
        "last byte turned": content[:-1] + bytes([content[-1] ^ 1]) if content else b"\2",
        "twice": content * 2 or b"\5\0\5\0",
        "in itself": tlv(tag, content),
        "composition": tlv(tag, content[:1]) + tlv(tag, content[1:]),
    }
    for name, each in changed.items():
        if each != content:
            yield f"content: {name}", tlv(tag, each)
    yield "composition, its tag", tlv(tag ^ 0x20, tlv(tag, content))
    yield "composition, another tag", tlv(tag ^ 0x20, tlv(0x0C, content))
    yield "composition, indefinite", bytes([tag ^ 0x20, 0x80]) + tlv(tag, content) + b"\0\0"


def damages(tag: int, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Everything that one element of DER may be in its place, and is not itself."""
    whole = tlv(tag, content)
    yield "gone", b""
    yield "a lonely tag", bytes([tag])
    if whole != b"\x05\x00":
        yield "null in its place", b"\x05\x00"
    for other in (tag ^ 1, tag ^ 2, tag ^ 0x20, tag | 0x80, 0xFF, 0x02, 0x31):
        yield f"tag {other:02x}", bytes([other]) + whole[1:]
    yield "unused zeros after", whole + b"\0\0"
    yield "undefined tags before it", b"\xaa\x00\xbb\x00\xcd\x00" + whole
    yield "a null after it", whole + b"\x05\x00"
    yield "itself again", whole * 2
    yield from _lengths(tag, content)
    yield from _contents(tag, content)


def digest_info(digest: bytes) -> bytes:
    algorithm = tlv(SEQUENCE, tlv(OID, SHA256_OID) + tlv(NULL, b""))
    return tlv(SEQUENCE, algorithm + tlv(OCTETS, digest))


def damaged_infos(digest: bytes) -> Iterator[tuple[str, bytes]]:
    """A digest's DER with each of its five elements damaged in every way."""
    oid, null, octets = tlv(OID, SHA256_OID), tlv(NULL, b""), tlv(OCTETS, digest)
    algorithm = tlv(SEQUENCE, oid + null)
    places: dict[str, tuple[int, bytes, Callable[[bytes], bytes]]] = {
        "all of it": (SEQUENCE, algorithm + octets, lambda it: it),
        "algorithm": (SEQUENCE, oid + null, lambda it: tlv(SEQUENCE, it + octets)),
        "oid": (OID, SHA256_OID, lambda it: tlv(SEQUENCE, tlv(SEQUENCE, it + null) + octets)),
        "null": (NULL, b"", lambda it: tlv(SEQUENCE, tlv(SEQUENCE, oid + it) + octets)),
        "digest": (OCTETS, digest, lambda it: tlv(SEQUENCE, algorithm + it)),
    }
    for place, (tag, content, around) in places.items():
        for name, element in damages(tag, content):
            yield f"{place}: {name}", around(element)


# PSS


def _mask(seed: bytes, size: int, digest: str) -> bytes:
    found = b"".join(
        hashlib.new(digest, seed + number.to_bytes(4)).digest() for number in range(size // 20 + 1)
    )
    return found[:size]


def _xor(first: bytes, second: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(first, second, strict=True))


def pss(
    message: bytes,
    *,
    salt: bytes,
    digest: str = "sha256",
    mask: str = "",
    hashed: Callable[[bytes], bytes] = bytes,
    proof: Callable[[bytes], bytes] = bytes,
    filled: Callable[[bytes], bytes] = bytes,
    separator: bytes = b"\1",
    last: bytes = b"\xbc",
    first_bit: int = 0,
    size: int = 256,
) -> bytes:
    """A block as RFC 8017 (9.1.1) makes it; each argument turns one part of it.

    `hashed` the digest of the message, `proof` the digest H, `filled` the padding of zeros.
    """
    inner = hashed(hashlib.new(digest, message).digest())
    true = hashlib.new(digest, bytes(8) + inner + salt).digest()
    told = proof(true)
    data = filled(bytes(size - len(true) - len(salt) - 2)) + separator + salt
    masked = _xor(data, _mask(told, len(data), mask or digest))
    return bytes([masked[0] & 0x7F | first_bit]) + masked[1:] + told + last


def turned(at: int, bits: int = 1) -> Callable[[bytes], bytes]:
    """Bytes with one of them changed."""
    return lambda data: data[:at] + bytes([data[at] ^ bits]) + data[at:][1:]
