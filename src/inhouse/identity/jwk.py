"""A provider's public keys (RFC 7517), each bound to the algorithms that it may verify.

    keys[kid, alg] ──► one key, or none: a token cannot choose what its key is used for

The provider's own document is read strictly too: a key that is private, weak, symmetric, not for
signatures, or named like another one is not taken, and the log says so.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from inhouse.identity.strict import NotStrict, from_base64url
from inhouse.identity.weak import weakness_of_ed25519, weakness_of_rsa

MAX_KEYS = 100
MAX_KID_CHARS = 256
LEAST_RSA_BITS, MOST_RSA_BITS = 2048, 8192
LEAST_RSA_EXPONENT = 65_537  # FIPS 186-5
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

HASHES: dict[str, hashes.HashAlgorithm] = {
    f"{family}{digest.digest_size * 8}": digest
    for family in ("RS", "PS", "ES")
    for digest in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
}
PADDINGS: dict[str, padding.AsymmetricPadding] = {
    alg: padding.PSS(padding.MGF1(digest), digest.digest_size)
    if alg.startswith("PS")
    else padding.PKCS1v15()
    for alg, digest in HASHES.items()
    if not alg.startswith("ES")
}
CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "P-256": ("ES256", ec.SECP256R1()),
    "P-384": ("ES384", ec.SECP384R1()),
    "P-521": ("ES512", ec.SECP521R1()),
}


class Unusable(Exception):
    """A key that is not taken. `notable` where the provider should mend it."""

    def __init__(self, sentence: str, *, notable: bool = True) -> None:
        super().__init__(sentence)
        self.notable = notable


@dataclass(frozen=True, slots=True)
class RsaKey:
    public: rsa.RSAPublicKey

    def verifies(self, alg: str, signed: bytes, signature: bytes) -> bool:
        try:
            self.public.verify(signature, signed, PADDINGS[alg], HASHES[alg])
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class EcKey:
    public: ec.EllipticCurvePublicKey

    def verifies(self, alg: str, signed: bytes, signature: bytes) -> bool:
        """Of the fixed form `r || s` alone: DER, which other uses of ECDSA have, is refused."""
        size = (self.public.curve.key_size + 7) // 8
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        try:
            self.public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(HASHES[alg]))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class EdKey:
    public: ed25519.Ed25519PublicKey

    def verifies(self, alg: str, signed: bytes, signature: bytes) -> bool:
        try:
            self.public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


Verifier = RsaKey | EcKey | EdKey


class Key:
    """One key of the provider. `until` is moved when the provider withdraws the key, and all that
    was verified with it ends there too."""

    __slots__ = ("_alg", "_verifier", "until")

    def __init__(self, alg: str, verifier: Verifier) -> None:
        self._alg = alg
        self._verifier = verifier
        self.until = math.inf  # seconds since the epoch

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        return self._verifier.verifies(self._alg, signed, signature)

    def same_as(self, other: "Key") -> bool:
        return self._verifier == other._verifier


@dataclass(frozen=True, slots=True)
class Read:
    """What a document of keys held: those to use, and a sentence for each that was left out."""

    keys: dict[tuple[str, str], Key]  # by kid and alg
    complaints: list[str]


def read_keys(document: Mapping[str, Any], algorithms: Collection[str]) -> Read:
    """The keys of a JWK set that verify any of these algorithms. Raises NotStrict where it is no
    JWK set."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise NotStrict(f"has no list of at most {MAX_KEYS} 'keys'")
    keys: dict[tuple[str, str], Key] = {}
    doubtful: set[tuple[str, str]] = set()
    complaints = []
    for number, jwk in enumerate(listed):
        try:
            kid, algs, verifier = _read_key(jwk, algorithms)
        except Unusable as error:
            if error.notable:
                complaints.append(f"key {number + 1} {error}")
            continue
        for alg in algs:
            key = Key(alg, verifier)
            if not keys.setdefault((kid, alg), key).same_as(key):
                doubtful.add((kid, alg))
    for kid, alg in sorted(doubtful):
        del keys[kid, alg]
        complaints.append(f"two keys are named {kid!a} and are for {alg}; neither is used")
    return Read(keys, complaints)


def _read_key(jwk: object, algorithms: Collection[str]) -> tuple[str, list[str], Verifier]:
    if not isinstance(jwk, dict):
        raise Unusable("is no object")
    if not PRIVATE.isdisjoint(jwk):
        raise Unusable("is published with its private or secret part; replace it at the provider")
    if jwk.get("use", "sig") != "sig":
        raise Unusable("is not for signatures", notable=False)
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise Unusable("is not for verifying", notable=False)
    try:
        possible, verifier = _verifier(jwk)
    except (NotStrict, ValueError) as error:
        raise Unusable(f"is malformed: {error}") from error
    algs = _bound(jwk.get("alg"), possible, algorithms)
    kid = jwk.get("kid")
    if type(kid) is not str or not 0 < len(kid) <= MAX_KID_CHARS:
        raise Unusable("has no name ('kid')")
    return kid, algs, verifier


def _verifier(jwk: dict[str, Any]) -> tuple[list[list[str]], Verifier]:
    """A key, and the families of algorithms that its type allows."""
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", None:
            return [["RS256", "RS384", "RS512"], ["PS256", "PS384", "PS512"]], _rsa(jwk)
        case "EC", ("P-256" | "P-384" | "P-521") as name:
            alg, curve = CURVES[name]
            size = (curve.key_size + 7) // 8
            x, y = (_coordinate(jwk, axis, size) for axis in "xy")
            return [[alg]], EcKey(ec.EllipticCurvePublicNumbers(x, y, curve).public_key())
        case "OKP", "Ed25519":
            raw = _member(jwk, "x")
            key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
            _refuse(weakness_of_ed25519(raw))
            return [["EdDSA", "Ed25519"]], EdKey(key)
    raise Unusable("is of a type that is not used here", notable=False)


def _rsa(jwk: dict[str, Any]) -> RsaKey:
    n, e = (int.from_bytes(_member(jwk, name)) for name in "ne")
    if not LEAST_RSA_BITS <= n.bit_length() <= MOST_RSA_BITS:
        raise Unusable(
            f"has {n.bit_length()} bits; an RSA key has {LEAST_RSA_BITS} to {MOST_RSA_BITS}"
        )
    if e < LEAST_RSA_EXPONENT:
        raise Unusable(f"has the exponent {e}; it must be {LEAST_RSA_EXPONENT} at least")
    key = RsaKey(rsa.RSAPublicNumbers(e, n).public_key())
    _refuse(weakness_of_rsa(n))
    return key


def _refuse(weakness: str | None) -> None:
    if weakness is not None:
        raise Unusable(f"{weakness}; replace it at the provider")


def _bound(named: object, families: list[list[str]], allowed: Collection[str]) -> list[str]:
    """The algorithms that a key verifies: the one that it names, or one family of its type, the
    first that is allowed."""
    if named is not None:
        families = [[alg for alg in family if alg == named] for family in families]
    for family in families:
        if algs := [alg for alg in family if alg in allowed]:
            return algs
    raise Unusable("is for no algorithm of oidc.algorithms", notable=False)


def _coordinate(jwk: dict[str, Any], axis: str, size: int) -> int:
    raw = _member(jwk, axis)
    if len(raw) != size:
        raise NotStrict(f"'{axis}' has {len(raw)} bytes, not {size}")
    return int.from_bytes(raw)


def _member(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if type(value) is not str or not value.isascii():
        raise NotStrict(f"'{name}' is missing")
    return from_base64url(value.encode())
