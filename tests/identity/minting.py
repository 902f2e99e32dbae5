"""Keys of a provider and tokens signed with them, good ones and bad ones, over plain
cryptography: nothing of the product's own is used to make what it is to judge."""

import base64
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ISSUER = "https://login.example.test/realms/main"
AUDIENCE = "inhouse"
NOW = 1_800_000_000.0

HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def packed(value: object) -> bytes:
    return b64(json.dumps(value, separators=(",", ":")).encode())


def whole(number: int, size: int | None = None) -> str:
    return b64(number.to_bytes(size or (number.bit_length() + 7) // 8)).decode()


@dataclass(frozen=True)
class Signer:
    """A private key with the name and the algorithm under which the provider publishes it."""

    kid: str
    alg: str
    private: Private

    def jwk(self, *, private: bool = False, **more: Any) -> dict[str, Any]:
        return {"kid": self.kid, "use": "sig", "alg": self.alg, **self._material(private)} | more

    def _material(self, private: bool) -> dict[str, Any]:
        key = self.private
        if isinstance(key, rsa.RSAPrivateKey):
            secret = key.private_numbers()
            public = {"kty": "RSA", "n": whole(secret.public_numbers.n), "e": "AQAB"}
            names = {"p": secret.p, "q": secret.q, "d": secret.d, "dp": secret.dmp1}
            names |= {"dq": secret.dmq1, "qi": secret.iqmp}
            return public | {n: whole(v) for n, v in names.items()} if private else public
        if isinstance(key, ec.EllipticCurvePrivateKey):
            name, size = key.curve.name, (key.curve.key_size + 7) // 8
            crv = next(crv for crv, curve in CURVES.values() if curve.name == name)
            point = key.public_key().public_numbers()
            ends = {"d": whole(key.private_numbers().private_value, size)} if private else {}
            return {
                "kty": "EC",
                "crv": crv,
                "x": whole(point.x, size),
                "y": whole(point.y, size),
            } | ends
        ends = {"d": b64(key.private_bytes_raw()).decode()} if private else {}
        x = b64(key.public_key().public_bytes_raw()).decode()
        return {"kty": "OKP", "crv": "Ed25519", "x": x} | ends

    def signature(self, signed: bytes, alg: str = "") -> bytes:
        """Over these bytes, by this algorithm whatever the key is published for."""
        alg = alg or self.alg
        key = self.private
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(signed)
        digest = HASHES[alg[2:]]
        if isinstance(key, ec.EllipticCurvePrivateKey):
            size = (key.curve.key_size + 7) // 8
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
            return r.to_bytes(size) + s.to_bytes(size)
        if alg.startswith("PS"):
            return key.sign(signed, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return key.sign(signed, padding.PKCS1v15(), digest)

    def over(self, header: bytes, payload: bytes, alg: str = "") -> bytes:
        """A token of these two parts, as they are."""
        signed = header + b"." + payload
        return signed + b"." + b64(self.signature(signed, alg))

    def token(
        self, claims: object, *, alg: str = "", without: tuple[str, ...] = (), **header: Any
    ) -> bytes:
        """A token with this payload; header members as given, beside alg, kid and typ."""
        head = {"alg": alg or self.alg, "kid": self.kid, "typ": "at+jwt"} | header
        for name in without:
            del head[name]
        return self.over(packed(head), packed(claims), alg)


@cache
def signer(kid: str, alg: str) -> Signer:
    """The same key for the same name, in all of a run."""
    if alg.startswith("ES"):
        return Signer(kid, alg, ec.generate_private_key(CURVES[alg][1]))
    if alg.startswith("Ed"):
        return Signer(kid, alg, ed25519.Ed25519PrivateKey.generate())
    return Signer(kid, alg, rsa.generate_private_key(65537, 2048))


def good(**changes: Any) -> dict[str, Any]:
    """The claims of a good access token at NOW; None takes one out."""
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "sub": "u-100",
        "aud": AUDIENCE,
        "iat": int(NOW) - 10,
        "exp": int(NOW) + 300,
        "jti": "t-1",
        "client_id": "portal",
        "scope": "chat embeddings",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}
