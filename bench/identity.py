"""What it costs to know who asks and to decide what they may, by CPU time, beside what it may cost.

    python -m bench.identity        # make bench-identity

API keys among as many as a company has, access tokens that were checked before, decisions; and,
for information, tokens that come for the first time, by algorithm. Ends with 1 where one of them
costs too much. The best of some rounds counts: others' work on the machine only ever adds.
"""

import asyncio
import hmac
import math
import sys
import time
from collections.abc import Callable

from bench.tokens import NOW, Published, new, remembered, section, token

from inhouse.domain import Principal
from inhouse.gateway.authenticate import authenticate
from inhouse.gateway.http1 import Head
from inhouse.identity.directory import Directory
from inhouse.identity.policy import USE, Denied, decide
from inhouse.identity.token import new_id, new_token
from inhouse.identity.tokens import Tokens
from inhouse.store.grants import GROUP, USER, StoredGrant
from inhouse.store.keys import StoredKey, StoredSecret
from inhouse.store.state import State
from inhouse.store.users import StoredUser

PEPPER = bytes(range(32))
KEYS = 10_000  # of as many users, each with a grant
TURNS = 100_000
ROUNDS = 5
KEY_US, REMEMBERED_US, CHECKS_PER_S = 5.0, 10.0, 20_000


class Company:
    """As many users as keys, and what each was granted."""

    def __init__(self) -> None:
        secrets, keys, users, grants = [], [], [], []
        for number in range(KEYS):
            secret = new_token(new_id()).secret.reveal()
            user = f"usr_{number}"
            digest = StoredSecret(hmac.digest(PEPPER, secret.encode(), "sha256"), 0.0)
            owned = {"secrets": (digest,), "owner_id": user}
            keys.append(StoredKey(secret[4:14], user, None, 0.0, NOW + 1e6, **owned))  # type: ignore[arg-type]
            users.append(StoredUser(user, "service", "", "", user, None, True, 0.0))
            grants.append(_grant(number, USER, user))
            secrets.append(secret.encode())
        grants += [_grant(-1, GROUP, "/research")]
        self.secrets = secrets
        self.directory = Directory(PEPPER)
        self.directory.replace(State(keys=tuple(keys), users=tuple(users), grants=tuple(grants)))


def _grant(number: int, kind: str, holder: str) -> StoredGrant:
    return StoredGrant(f"grt_{number}", kind, holder, "service", 0.0, "bench", models=("m",))


def best(turn: Callable[[int], object]) -> float:
    """CPU microseconds of one turn; the best of some rounds."""
    found = math.inf
    for _ in range(ROUNDS):
        began = time.process_time()
        for number in range(TURNS):
            turn(number)
        found = min(found, (time.process_time() - began) / TURNS * 1e6)
    return found


def keys_and_decisions(company: Company) -> dict[str, float]:
    directory, secrets = company.directory, company.secrets
    unknown = [new_token(new_id()).secret.reveal().encode() for _ in range(1000)]
    principals = [directory.check(secret, NOW) for secret in secrets]

    def known(number: int) -> None:
        if directory.check(secrets[number % KEYS], NOW) is None:
            raise AssertionError

    def decided(number: int) -> None:
        principal = principals[number % KEYS]
        assert principal is not None
        rights = directory.rights(principal, NOW)
        if isinstance(decide(rights, USE, "m", "openai", "", principal.ceiling), Denied):
            raise AssertionError  # noqa: TRY004 - it is an answer, and not the one to expect

    person = Principal("oidc:x", "x", groups=frozenset({"/research", "/research/nlp"}))
    return {
        f"API key, one of {KEYS}": best(known),
        "API key, unknown": best(lambda number: directory.check(unknown[number % 1000], NOW)),
        f"decision, one of {KEYS} users": best(decided),
        "decision, by a token's groups": best(
            lambda _: decide(directory.rights(person, NOW), USE, "m", "openai", "")
        ),
    }


async def requests(company: Company) -> dict[str, float]:
    """From a request's head to who asks, as the gateway does it."""
    checker = Tokens(section(), Published())
    held = [token("ES256", number) for number in range(200)]
    for each in held:
        await checker.check(each, NOW)
    found: dict[str, float] = {}
    for name, credentials in (("API key", company.secrets), ("token, remembered", held)):
        heads = [
            Head(b"POST", b"/", b"", {b"authorization": b"Bearer " + each}, 0, True, True)
            for each in credentials
        ]
        least = math.inf
        for _ in range(ROUNDS):
            began = time.process_time()
            for number in range(TURNS):
                await authenticate(heads[number % len(heads)], company.directory, checker, NOW)
            least = min(least, (time.process_time() - began) / TURNS * 1e6)
        found[f"whole check of a request: {name}"] = least
    return found


async def main() -> int:
    company = Company()
    one = [token("RS256", 0)]
    many = [token("EdDSA", number) for number in range(10_000)]
    rows = keys_and_decisions(company)
    rows["token, remembered"] = await remembered(Tokens(section(), Published()), one)
    rows["token, remembered, one of 10000"] = await remembered(Tokens(section(), Published()), many)
    rows |= await requests(company)
    for alg in ("RS256", "PS256", "ES256", "EdDSA"):
        rows[f"token, new, {alg}"] = await new(alg)
    missed = 0
    print(f"{'what':<44}{'µs':>9}{'per s, one core':>18}{'at most, µs':>13}")
    for name, us in rows.items():
        target = _target(name)
        is_missed = target is not None and us > target
        missed += is_missed
        at_most = "" if target is None else f"{target:.0f}{' MISSED' if is_missed else ''}"
        print(f"{name:<44}{us:>9.2f}{1e6 / us:>18,.0f}{at_most:>13}")
    return 1 if missed else 0


def _target(name: str) -> float | None:
    if name.startswith("API key"):
        return KEY_US
    if name.startswith("token, remembered"):
        return REMEMBERED_US
    return 1e6 / CHECKS_PER_S if name.startswith("whole check") else None


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
