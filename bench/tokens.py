"""What the check of an access token costs, by CPU time: remembered ones, and new ones.

    python -m bench.tokens

Prints one JSON object: microseconds per check, and checks per second on one core, of a remembered
token, of one among as many as are remembered, and of a token that comes for the first time, by
algorithm.
"""

import asyncio
import base64
import json
import math
import time
from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from inhouse.config.people import OidcSection
from inhouse.identity.claims import Identity
from inhouse.identity.jwk import EcKey, EdKey, Key, RsaKey
from inhouse.identity.tokens import Tokens

ISSUER = "https://login.example.test/realms/main"
NOW = 1_800_000_000.0
HITS = 200_000
MISSES = 2_000
ROUNDS = 5
MANY = 10_000

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


class Published:
    """Keys that are there."""

    good_until = math.inf
    away_since = None

    def __init__(self) -> None:
        self.keys: Mapping[tuple[str, str], Key] = {
            ("k", "RS256"): Key("RS256", RsaKey(RSA.public_key())),
            ("k", "PS256"): Key("PS256", RsaKey(RSA.public_key())),
            ("k", "ES256"): Key("ES256", EcKey(EC.public_key())),
            ("k", "EdDSA"): Key("EdDSA", EdKey(ED.public_key())),
        }

    async def renewed(self) -> bool:
        return True


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(alg: str, number: int) -> bytes:
    """As large as Keycloak's are."""
    header = {"alg": alg, "typ": "JWT", "kid": "k"}
    claims = {
        "iss": ISSUER, "sub": f"9c5b5c2e-3f0a-4f8e-8f3e-{number:012}", "aud": ["inhouse", "x"],
        "exp": int(NOW) + 300, "iat": int(NOW), "jti": f"onrtac:{number}", "typ": "Bearer",
        "azp": "portal", "sid": "a3b0c7e2-0000-4000-8000-000000000000", "acr": "1",
        "allowed-origins": ["https://portal.example.test"],
        "realm_access": {"roles": ["offline_access", "uma_authorization", "llm-user"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid email profile", "email_verified": True, "name": "Anna Example",
        "groups": ["/research", "/research/nlp"], "preferred_username": "anna",
        "email": "anna@example.test",
    }  # fmt: skip
    signed = b64(json.dumps(header).encode()) + b"." + b64(json.dumps(claims).encode())
    return signed + b"." + b64(_signature(alg, signed))


def _signature(alg: str, signed: bytes) -> bytes:
    if alg == "RS256":
        return RSA.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    if alg == "PS256":
        return RSA.sign(signed, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    if alg == "EdDSA":
        return ED.sign(signed)
    r, s = decode_dss_signature(EC.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


async def remembered(checker: Tokens, tokens: list[bytes]) -> float:
    """CPU microseconds per check of tokens that were checked before; the best of some rounds."""
    for each in tokens:
        assert isinstance(await checker.check(each, NOW), Identity)
    best = math.inf
    for _ in range(ROUNDS):
        turns = HITS // len(tokens)
        began = time.process_time()
        for _ in range(turns):
            for each in tokens:
                if checker.remembered(each, NOW) is None:
                    raise AssertionError
        best = min(best, (time.process_time() - began) / (turns * len(tokens)) * 1e6)
    return best


async def new(alg: str) -> float:
    """CPU microseconds per check of tokens that come for the first time."""
    tokens = [token(alg, number) for number in range(MISSES)]
    best = math.inf
    for _ in range(ROUNDS):
        checker = Tokens(section(), Published())
        began = time.process_time()
        for each in tokens:
            assert isinstance(await checker.check(each, NOW), Identity)
        best = min(best, (time.process_time() - began) / MISSES * 1e6)
    return best


def section() -> OidcSection:
    return OidcSection(
        issuer=ISSUER,
        audiences=["inhouse"],
        roles_claims=["realm_access.roles"],
        cached_tokens=MANY,
    )


async def main() -> None:
    one = [token("RS256", 0)]
    many = [token("EdDSA", number) for number in range(MANY)]
    costs = {
        "remembered": await remembered(Tokens(section(), Published()), one),
        f"remembered, one of {MANY}": await remembered(Tokens(section(), Published()), many),
    } | {f"new, {alg}": await new(alg) for alg in ("RS256", "PS256", "ES256", "EdDSA")}
    print(
        json.dumps(
            {
                "token_bytes": len(one[0]),
                "checks": {
                    name: {"us": round(us, 2), "per_s": round(1e6 / us)}
                    for name, us in costs.items()
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
