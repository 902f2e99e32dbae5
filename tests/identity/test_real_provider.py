"""Against a real OpenID Provider: its tokens, its rotations under load, its absence."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.identity.idp_process import HERE, ROOT, Idp, free_port, install
from tests.identity.minting import AUDIENCE, Signer, good, signer

from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.identity.claims import Identity
from inhouse.identity.jwks import ProviderKeys
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.tokens import Tokens

FIRST, SECOND, THIRD = signer("1", "RS256"), signer("2", "ES256"), signer("3", "PS256")


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    install()


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    directory = tmp_path / "idp"
    directory.mkdir()
    idp = Idp(directory, free_port())
    idp.publish(FIRST)
    idp.start()
    yield idp
    idp.stop()


def config(idp: Idp, tmp_path: Path, **oidc: Any) -> Config:
    loaded = load_config(None, tmp_path / "data", {})
    quick: dict[str, Any] = {"refresh_min_s": 1, "refresh_max_s": 1, "fetch_timeout_s": 0.5}
    quick |= {"issuer": idp.url, "audiences": [AUDIENCE], "grace_s": 1}
    section = replace(loaded.settings.oidc, **quick | oidc)
    return replace(loaded, settings=replace(loaded.settings, oidc=section))


@contextmanager
def checking(loaded: Config) -> Iterator[tuple[Tokens, ProviderKeys]]:
    keys = ProviderKeys(loaded)
    keys.start()
    try:
        yield Tokens(loaded.settings.oidc, keys), keys
    finally:
        keys.stop()


def names(keys: ProviderKeys) -> set[str]:
    return {kid for kid, _ in keys.keys}


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_its_access_token_is_taken(idp: Idp, tmp_path: Path) -> None:
    with checking(config(idp, tmp_path)) as (tokens, _):
        token = await asyncio.to_thread(idp.token)
        found = await tokens.check(token, time.time())
        assert isinstance(found, Identity), found
        assert (found.issuer, found.subject, found.client) == (idp.url, "batch", "batch")
        assert (*found.roles, *found.groups, *found.scopes) == ("batch", "research", "chat")
        assert found.token_id
        assert tokens.remembered(token, time.time()) is found
        forged = Signer(FIRST.kid, FIRST.alg, signer("mallory", "RS256").private)
        claims = good(iss=idp.url, iat=int(time.time()), exp=int(time.time()) + 60)
        refused = await tokens.check(forged.token(claims), time.time())
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.SIGNATURE


async def test_a_token_for_another_audience_is_refused(idp: Idp, tmp_path: Path) -> None:
    with checking(config(idp, tmp_path, audiences=["another"])) as (tokens, _):
        refused = await tokens.check(await asyncio.to_thread(idp.token), time.time())
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.AUDIENCE


class Load:
    """Checks without a pause, each token in turn, with and without what is remembered of it."""

    def __init__(self, tokens: Tokens, fresh: Tokens) -> None:
        self._checkers = (tokens, fresh)
        self.good: list[bytes] = []  # none of them may be refused, ever
        self.retired: list[bytes] = []  # once one of them is refused, it stays so
        self.refused: set[tuple[int, bytes]] = set()
        self.revived = 0
        self.wrong: list[Refused] = []
        self.checks = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for number, checker in enumerate(self._checkers):
                for token in (*self.good, *self.retired):
                    result = await checker.check(token, time.time())
                    self.checks += 1
                    self._note(number, token, result)
            await asyncio.sleep(0)

    def _note(self, number: int, token: bytes, result: Identity | Refused) -> None:
        if token in self.good and isinstance(result, Refused):
            self.wrong.append(result)
        if token in self.retired:
            if isinstance(result, Refused):
                self.refused.add((number, token))
            elif (number, token) in self.refused:
                self.revived += 1


async def test_rotations_under_load(idp: Idp, tmp_path: Path) -> None:
    """Published, promoted, retired, twice: no good token is refused, and none of a retired key's
    is taken again after its grace."""
    loaded = config(idp, tmp_path)
    with checking(loaded) as (tokens, keys):
        unremembering = Tokens(replace(loaded.settings.oidc, cached_tokens=0), keys)
        load, stop = Load(tokens, unremembering), asyncio.Event()
        load.good.append(await asyncio.to_thread(idp.token))
        running = asyncio.create_task(load.run(stop))
        for old, new in ((FIRST, SECOND), (SECOND, THIRD)):
            await asyncio.to_thread(idp.publish, old, new)
            await until(lambda new=new: new.kid in names(keys))  # type: ignore[misc]
            await asyncio.to_thread(idp.publish, new, old)
            load.good.append(await asyncio.to_thread(idp.token))
            before = load.checks
            await until(lambda before=before: load.checks > before + 500)  # type: ignore[misc]
            load.retired.append(load.good.pop(0))
            await asyncio.to_thread(idp.publish, new)
            at = time.time()
            await until(lambda: all((n, load.retired[-1]) in load.refused for n in (0, 1)))
            assert time.time() - at >= loaded.settings.oidc.grace_s
            before = load.checks
            await until(lambda before=before: load.checks > before + 500)  # type: ignore[misc]
        stop.set()
        await running
        assert load.wrong == []
        assert load.revived == 0
        assert names(keys) == {THIRD.kid}


async def test_a_key_that_signs_as_soon_as_it_is_published(idp: Idp, tmp_path: Path) -> None:
    """Its first token has the keys fetched, and waits; many unknown keys do so once."""
    with checking(config(idp, tmp_path, refresh_min_s=600, refresh_max_s=600)) as (tokens, keys):
        await until(lambda: names(keys) == {FIRST.kid})
        assert idp.fetches == 1
        await asyncio.to_thread(idp.publish, SECOND, FIRST)
        token = await asyncio.to_thread(idp.token)
        unknown = [signer("mallory", "RS256").token(good(), kid=f"k{n}") for n in range(300)]
        results = await asyncio.gather(
            *(tokens.check(each, time.time()) for each in (*unknown, token))
        )
        assert isinstance(results[-1], Identity), results[-1]
        refused = [each.reason for each in results[:-1] if isinstance(each, Refused)]
        assert refused == [Reason.KEY] * 300
        assert idp.fetches == 2


async def test_a_provider_that_is_stopped_and_goes_on(
    idp: Idp, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with checking(config(idp, tmp_path, stale_s=600)) as (tokens, keys):
        token = await asyncio.to_thread(idp.token)
        assert isinstance(await tokens.check(token, time.time()), Identity)
        idp.process.send_signal(signal.SIGSTOP)
        await until(lambda: keys.away_since is not None)
        assert "is away" in caplog.text
        assert isinstance(await tokens.check(token, time.time()), Identity)
        unknown = signer("mallory", "RS256").token(good())
        refused = await tokens.check(unknown, time.time())
        assert isinstance(refused, Refused)
        assert (refused.reason, refused.retry_after_s is None) == (Reason.PROVIDER, False)
        idp.process.send_signal(signal.SIGCONT)
        await until(lambda: keys.away_since is None)
        assert "is back" in caplog.text
        assert isinstance(await tokens.check(token, time.time()), Identity)


async def test_a_provider_that_dies_is_survived_for_the_configured_time(
    idp: Idp, tmp_path: Path
) -> None:
    loaded = config(idp, tmp_path, stale_s=4)
    with checking(loaded) as (tokens, keys):
        token = await asyncio.to_thread(idp.token)
        assert isinstance(await tokens.check(token, time.time()), Identity)
        await asyncio.to_thread(idp.stop)
        await until(lambda: keys.away_since is not None)
        assert isinstance(await tokens.check(token, keys.good_until - 0.01), Identity)
        await until(lambda: time.time() >= keys.good_until)
        refused = await tokens.check(token, time.time())
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.PROVIDER
        await asyncio.to_thread(idp.start)
        await until(lambda: keys.away_since is None)
        assert isinstance(await tokens.check(token, time.time()), Identity)


async def test_a_gateway_that_starts_while_the_provider_is_dead(idp: Idp, tmp_path: Path) -> None:
    loaded = config(idp, tmp_path)
    token = await asyncio.to_thread(idp.token)
    with checking(loaded) as (tokens, keys):
        assert isinstance(await tokens.check(token, time.time()), Identity)
        await until(lambda: keys.away_since is None)
    await asyncio.to_thread(idp.stop)
    with checking(loaded) as (tokens, keys):
        assert isinstance(await tokens.check(token, time.time()), Identity)
        await until(lambda: keys.away_since is not None)
        assert isinstance(await tokens.check(token, time.time()), Identity)
    with checking(replace(loaded, data=tmp_path / "new")) as (tokens, _):
        refused = await tokens.check(token, time.time())
        assert isinstance(refused, Refused)
        assert refused.reason is Reason.PROVIDER
    await asyncio.to_thread(idp.start)


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert not any("resolved" in each for each in packages.values())
    assert os.access(ROOT / "scripts" / "node-packages", os.X_OK)
