"""Public keys that anybody can break, or that verify what nobody signed.

A provider does not mean to publish one; a token would be forged with it within minutes.
"""

import math
from functools import cache

ROCA = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
"""Modulo each of these, both factors of such a key (CVE-2017-15361), and so the key, are powers of
65537. Of other keys one in a hundred million or so is."""
FERMAT_STEPS = 100  # CVE-2022-26320: factors that are next to each other
SMALL = math.prod(n for n in range(3, 1000, 2) if all(n % d for d in range(3, 32, 2) if d < n))
P25519 = 2**255 - 19
SMALL_ORDER = frozenset(
    {
        0,
        1,
        P25519 - 1,
        int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16),
        int("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16),
    }
)
"""The `y` of the points of Ed25519 whose order is 1, 2, 4 or 8: with one of them as a key, a
signature can be made for any message."""


def weakness_of_rsa(n: int) -> str | None:
    """Why a modulus is none, or None. Costs a fraction of a millisecond."""
    if n % 2 == 0 or math.gcd(n, SMALL) != 1:
        return "has a small factor"
    if all(n % prime in _powers(prime) for prime in ROCA):
        return "is one that the broken library of CVE-2017-15361 made"
    middle = math.isqrt(n)
    for half in range(middle, middle + FERMAT_STEPS):
        rest = half * half - n
        if rest >= 0 and math.isqrt(rest) ** 2 == rest:
            return "has factors that are next to each other"
    return None


def weakness_of_ed25519(raw: bytes) -> str | None:
    """Why 32 bytes are no key, or None."""
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= P25519:
        return "is not in its one form"
    return "is a point of small order" if y in SMALL_ORDER else None


@cache
def _powers(prime: int) -> frozenset[int]:
    return frozenset(pow(65537, exponent, prime) for exponent in range(prime))
