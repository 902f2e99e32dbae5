"""What is remembered of checked tokens, and when it ends."""

import asyncio
import base64

import pytest
from tests.identity.checking import Published, of, section
from tests.identity.minting import NOW, good, signer

from inhouse.identity.claims import Identity
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.tokens import Tokens

KEY = signer("rsa", "RS256")


async def taken(tokens: Tokens, token: bytes, now: float = NOW) -> bool:
    return isinstance(await tokens.check(token, now), Identity)


async def test_a_checked_token_is_remembered() -> None:
    tokens = Tokens(section(), of(KEY))
    token = KEY.token(good())
    assert tokens.remembered(token, NOW) is None
    found = await tokens.check(token, NOW)
    assert tokens.remembered(token, NOW) is found
    assert await tokens.check(token, NOW + 1) is found


async def test_another_token_is_not_taken_for_one_that_is_remembered() -> None:
    """Whatever they share: the header and most of the claims are the same for all of a client."""
    tokens = Tokens(section(), of(KEY))
    token = KEY.token(good())
    assert await taken(tokens, token)
    for at in range(len(token)):
        other = token[:at] + (b"A" if token[at : at + 1] != b"A" else b"B") + token[at + 1 :]
        assert tokens.remembered(other, NOW) is None
    head, _, _ = token.rpartition(b".")
    assert tokens.remembered(head, NOW) is None
    boss = await tokens.check(KEY.token(good(sub="boss")), NOW)
    mine = await tokens.check(token, NOW)
    assert isinstance(boss, Identity)
    assert isinstance(mine, Identity)
    assert (boss.subject, mine.subject) == ("boss", "u-100")


async def test_what_is_remembered_ends_with_the_token() -> None:
    tokens = Tokens(section(cache_s=3600), of(KEY))
    token = KEY.token(good())
    assert await taken(tokens, token, NOW)
    assert tokens.remembered(token, NOW + 329.9) is not None
    assert tokens.remembered(token, NOW + 330) is None
    result = await tokens.check(token, NOW + 330)
    assert isinstance(result, Refused)
    assert result.reason is Reason.EXPIRED


async def test_what_is_remembered_ends_after_a_while() -> None:
    tokens = Tokens(section(cache_s=60), of(KEY))
    token = KEY.token(good())
    first = await tokens.check(token, NOW)
    assert tokens.remembered(token, NOW + 59.9) is first
    assert tokens.remembered(token, NOW + 60) is None
    assert await tokens.check(token, NOW + 60) == first
    assert tokens.remembered(token, NOW + 119) is not None


async def test_what_is_remembered_ends_with_its_key() -> None:
    keys = of(KEY)
    tokens = Tokens(section(), keys)
    token = KEY.token(good())
    assert await taken(tokens, token)
    keys.keys["rsa", "RS256"].until = NOW + 10
    assert tokens.remembered(token, NOW + 9.9) is not None
    assert tokens.remembered(token, NOW + 10) is None
    result = await tokens.check(token, NOW + 10)
    assert isinstance(result, Refused)
    assert result.reason is Reason.KEY
    assert await taken(tokens, token, NOW + 9.9)


async def test_what_is_remembered_ends_with_all_keys() -> None:
    keys = of(KEY)
    tokens = Tokens(section(), keys)
    token = KEY.token(good())
    assert await taken(tokens, token)
    keys.good_until = NOW + 10
    assert tokens.remembered(token, NOW + 10) is None
    result = await tokens.check(token, NOW + 10)
    assert isinstance(result, Refused)
    assert result.reason is Reason.PROVIDER
    assert result.retry_after_s is not None


async def test_it_is_bounded_and_the_oldest_go() -> None:
    tokens = Tokens(section(cached_tokens=3), of(KEY))
    several = [KEY.token(good(jti=f"t-{n}")) for n in range(5)]
    for token in several:
        assert await taken(tokens, token)
    assert len(tokens) == 3
    known = [tokens.remembered(token, NOW) is not None for token in several]
    assert known == [False, False, True, True, True]


async def test_it_can_be_off() -> None:
    tokens = Tokens(section(cached_tokens=0), of(KEY))
    token = KEY.token(good())
    assert await taken(tokens, token)
    assert len(tokens) == 0
    assert tokens.remembered(token, NOW) is None
    assert await taken(tokens, token)


async def test_refusals_are_not_remembered() -> None:
    tokens = Tokens(section(), of(KEY))
    for n in range(50):
        assert not await taken(tokens, KEY.token(good(exp=int(NOW) - 100, jti=f"t-{n}")))
        assert not await taken(tokens, b"junk-%d" % n)
    assert len(tokens) == 0


async def test_an_unknown_key_has_the_keys_fetched_and_no_other_refusal_does() -> None:
    keys = of(KEY)
    tokens = Tokens(section(), keys)
    other = signer("other", "RS256")
    for bad in (b"x", b"a.b.c", KEY.token(good(aud="x")), KEY.token(good(), alg="PS256")):
        assert not await taken(tokens, bad)
    assert keys.renewals == 0
    result = await tokens.check(other.token(good()), NOW)
    assert isinstance(result, Refused)
    assert (result.reason, result.retry_after_s) == (Reason.KEY, None)
    assert keys.renewals == 1


async def test_a_key_that_comes_while_a_request_waits_is_used() -> None:
    other = signer("other", "RS256")

    class Late(Published):
        async def renewed(self) -> bool:
            await asyncio.sleep(0)
            self.keys |= of(other).keys
            return True

    assert await taken(Tokens(section(), Late(KEY.jwk())), other.token(good()))


@pytest.mark.parametrize(("newest", "away"), [(False, None), (True, 1.0)])
async def test_a_key_that_nobody_knows_yet_may_be_a_good_one(
    newest: bool, away: float | None
) -> None:
    class Away(Published):
        async def renewed(self) -> bool:
            return newest

    keys = Away(KEY.jwk())
    keys.away_since = away
    result = await Tokens(section(), keys).check(signer("other", "RS256").token(good()), NOW)
    assert isinstance(result, Refused)
    assert result.reason is Reason.PROVIDER
    assert result.retry_after_s is not None
    assert await taken(Tokens(section(), keys), KEY.token(good()))


async def test_nothing_of_a_token_is_in_what_is_said() -> None:
    tokens = Tokens(section(), of(KEY))
    token = KEY.token(good(sub="very-secret-subject", aud="very-secret-audience"))
    result = await tokens.check(token, NOW)
    assert isinstance(result, Refused)
    good_one = KEY.token(good())
    found = await tokens.check(good_one, NOW)
    for said in (repr(result), repr(tokens), repr(found)):
        assert "very-secret" not in said
        for part in (*token.split(b"."), *good_one.split(b".")):
            assert part.decode() not in said
            assert base64.urlsafe_b64decode(part + b"==").hex() not in said
