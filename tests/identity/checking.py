"""A checker of tokens over keys that are handed to it, without a provider."""

import math
from typing import Any

from tests.identity.minting import AUDIENCE, ISSUER, NOW, Signer

from inhouse.config.oidc import ALGORITHMS
from inhouse.config.people import OidcSection
from inhouse.identity.claims import Identity
from inhouse.identity.jwk import Key, read_keys
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.tokens import Tokens


def section(**changes: Any) -> OidcSection:
    """[oidc] as the tests' tokens need it, with every algorithm."""
    return OidcSection(
        **{"issuer": ISSUER, "audiences": [AUDIENCE], "algorithms": list(ALGORITHMS)} | changes
    )


class Published:
    """Keys as a provider publishes them; they are what they are until a test changes them."""

    def __init__(self, *jwks: dict[str, Any], algorithms: tuple[str, ...] = ALGORITHMS) -> None:
        read = read_keys({"keys": list(jwks)}, algorithms)
        self.keys: dict[tuple[str, str], Key] = read.keys
        self.complaints = read.complaints
        self.good_until = math.inf
        self.away_since: float | None = None
        self.renewals = 0

    async def renewed(self) -> bool:
        self.renewals += 1
        return True


def of(*signers: Signer) -> Published:
    return Published(*(signer.jwk() for signer in signers))


async def checked(
    token: bytes, keys: Published, *, now: float = NOW, **changes: Any
) -> Identity | Refused:
    return await Tokens(section(**changes), keys).check(token, now)


async def refusal(token: bytes, keys: Published, **changes: Any) -> Reason | None:
    """Why a token is refused; None where it is taken."""
    result = await checked(token, keys, **changes)
    return result.reason if isinstance(result, Refused) else None
