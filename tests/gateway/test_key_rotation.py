"""A provider's keys at the gateway, as clients see it: rotations under load, and a provider that is
stopped, killed, started again, or answers nonsense. Over HTTP, through a gateway of its own process
and the real OpenID Provider."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import started
from tests.gateway.harness import BODIES, gateway
from tests.identity.idp_process import Idp, free_port, install
from tests.identity.minting import AUDIENCE, good, signer
from tests.identity.provider import Documents, serving

from inhouse.config.load import load_config
from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.ledger import Ledger
from inhouse.store.grants import GROUP
from inhouse.upstream.fake_engine import FakeEngine, Faults

CHAT = "/v1/chat/completions"
GRACE_S = 2
CLIENTS = 4
FIRST, SECOND, THIRD = signer("r1", "RS256"), signer("r2", "ES256"), signer("r3", "PS256")
MALLORY = signer("mallory", "RS256")


@pytest.fixture
def idp(tmp_path: Path) -> Iterator[Idp]:
    install()
    directory = tmp_path / "idp"
    directory.mkdir()
    idp = Idp(directory, free_port())
    idp.publish(FIRST)
    idp.start()
    yield idp
    idp.stop()


def oidc(issuer: str, **keys: Any) -> str:
    more = {"refresh_min_s": 1, "refresh_max_s": 1, "fetch_timeout_s": 0.5, "grace_s": GRACE_S}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in (more | keys).items())
    return f'[oidc]\nissuer = "{issuer}"\naudiences = ["{AUDIENCE}"]\n{lines}\n'


@dataclass
class Gateway:
    """A gateway's process, and what its clients are answered."""

    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    key: str
    good: list[str] = field(default_factory=list)  # none of these may ever be refused
    retired: list[str] = field(default_factory=list)  # once refused, it stays so
    refused: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    asked: Counter[int] = field(default_factory=Counter)

    async def ask(self, credential: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {credential}"}
        answer = await self.client.post(CHAT, json=BODIES[CHAT], headers=headers)
        self.asked[answer.status_code] += 1
        return answer

    async def provider(self) -> str:
        return str((await self.admin.get("/readyz")).json()["provider"])

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Several clients without a pause, each with every token in turn, until the end."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client(stop))
            try:
                yield
            finally:
                stop.set()

    async def _client(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for token in (*self.good, *self.retired):
                was_good = token in self.good
                was_refused = token in self.refused
                answer = await self.ask(token)
                if was_good and token in self.good and answer.status_code != 200:
                    self.wrong.append(f"a good token: {answer.status_code} {answer.text}")
                if answer.status_code == 401:
                    self.refused.setdefault(token, time.time())
                elif was_refused:
                    self.wrong.append(f"a refused token again: {answer.status_code}")

    async def more(self, requests: int) -> None:
        """Until so many more were answered."""
        wanted = self.asked.total() + requests
        await until(lambda: _is(self.asked.total() >= wanted))


async def _is(value: bool) -> bool:
    return value


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def running(directory: Path, idp: Idp, **keys: Any) -> AsyncIterator[Gateway]:
    async with FakeEngine(Faults(tokens=1, rate=0)) as engine:
        toml = oidc(idp.url, **keys) + "[limits]\nrequests_per_minute = 0\n"
        toml += f'[models]\nm = "openai://127.0.0.1:{engine.port}/m"\n'
        data = directory / "data"
        context = started(data, toml)
        up = await asyncio.to_thread(context.__enter__)
        try:
            grants = Grants(Ledger(load_config(data.with_suffix(".toml"), data, {})))
            give = (Actor.local(), "research", "user")
            await asyncio.to_thread(grants.give, *give, kind=GROUP, reason="the test")
            async with (
                httpx.AsyncClient(base_url=up.url, timeout=20) as client,
                httpx.AsyncClient(base_url=up.admin_url, timeout=20) as admin,
            ):
                yield Gateway(client, admin, up.key)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


async def token(idp: Idp) -> str:
    return (await asyncio.to_thread(idp.token)).decode()


async def fetched(idp: Idp) -> None:
    """Until the gateway has the keys of now: of two more fetches the first has ended."""
    wanted = idp.fetches + 2
    await until(lambda: _is(idp.fetches >= wanted))


@pytest.mark.parametrize("cached_tokens", [10_000, 0])
async def test_rotations_under_load(idp: Idp, tmp_path: Path, cached_tokens: int) -> None:
    """Published, promoted, retired, twice: no good token is refused; none of a retired key's is
    answered again once it was refused, and none is refused within its grace."""
    async with running(tmp_path, idp, cached_tokens=cached_tokens) as up:
        first = await token(idp)
        await until(lambda: _answered(up, first))
        up.good.append(first)
        up.asked.clear()
        async with up.load():
            for old, new in ((FIRST, SECOND), (SECOND, THIRD)):
                await asyncio.to_thread(idp.publish, old, new)
                await fetched(idp)
                await asyncio.to_thread(idp.publish, new, old)
                up.good.append(await token(idp))
                await up.more(200)
                up.retired.append(up.good.pop(0))
                at = time.time()
                await asyncio.to_thread(idp.publish, new)
                await until(lambda: _is(up.retired[-1] in up.refused))
                assert up.refused[up.retired[-1]] - at >= GRACE_S
                await up.more(200)
        assert up.wrong == []
        assert (await up.ask(up.key)).status_code == 200
        assert set(up.asked) == {200, 401}


async def _answered(up: Gateway, credential: str) -> bool:
    return (await up.ask(credential)).status_code == 200


async def test_a_provider_that_stops_dies_and_comes_back(idp: Idp, tmp_path: Path) -> None:
    """Under load. Its tokens are good for `stale_s` without it, then they are told to come back;
    a token of an unknown key is so at once. API keys are answered throughout."""
    async with running(tmp_path, idp, cached_tokens=0, stale_s=8) as up:
        held = await token(idp)
        await until(lambda: _answered(up, held))
        unknown = MALLORY.token(good(iss=idp.url, iat=int(time.time()), exp=int(time.time()) + 99))
        up.good += [held, up.key]
        async with up.load():
            idp.process.send_signal(signal.SIGSTOP)
            await until(lambda: _provider_is(up, "away"))
            await up.more(100)
            answer = await up.ask(unknown.decode())
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_away")
            assert int(answer.headers["retry-after"]) >= 1
            idp.process.send_signal(signal.SIGCONT)
            await until(lambda: _provider_is(up, "current"))
            answer = await up.ask(unknown.decode())
            assert answer.status_code in (401, 503)  # 503 while unknown keys have nothing fetched
            await up.more(100)
        assert up.wrong == []

        await asyncio.to_thread(idp.stop)
        await until(lambda: _provider_is(up, "away"))
        up.good = [up.key]
        async with up.load():
            assert (await up.ask(held)).status_code == 200
            await until(lambda: _says(up, held, 503))
            assert (await up.provider()).startswith("no keys")
            await up.more(50)
            await asyncio.to_thread(idp.start)
            await until(lambda: _says(up, held, 200))
            await up.more(50)
        assert up.wrong == []


async def _provider_is(up: Gateway, word: str) -> bool:
    return (await up.provider()).startswith(word)


async def _says(up: Gateway, credential: str, status: int) -> bool:
    return (await up.ask(credential)).status_code == status


# A keys URL that answers nonsense


def _redirect(documents: Documents, elsewhere: str) -> None:
    documents.status, documents.headers = 302, {"location": f"{elsewhere}/jwks"}


def _fails_with_keys(documents: Documents, _: str) -> None:
    documents.status, documents.keys = 500, [MALLORY.jwk()]


NONSENSE: dict[str, Callable[[Documents, str], None]] = {
    "not JSON": lambda d, _: setattr(d, "body", b"<html>Sign in</html>"),
    "nothing": lambda d, _: setattr(d, "body", b""),
    "a list": lambda d, _: setattr(d, "body", b"[]"),
    "names twice": lambda d, _: setattr(d, "body", b'{"keys":[],"keys":[]}'),
    "huge": lambda d, _: setattr(d, "body", b'{"keys":[' + b" " * 5_000_000 + b"]}"),
    "deep": lambda d, _: setattr(d, "body", b'{"keys":' + b"[" * 50_000),
    "many keys": lambda d, _: setattr(
        d, "body", json.dumps({"keys": [MALLORY.jwk(kid=str(n)) for n in range(101)]}).encode()
    ),
    "500": lambda d, _: setattr(d, "status", 500),
    "500 with keys": _fails_with_keys,
    "slow": lambda d, _: setattr(d, "drip_s", 0.2),
    "no answer": lambda d, _: d.wait.clear(),
    "moved": _redirect,
}


@pytest.mark.parametrize("what", NONSENSE)
async def test_nonsense_for_keys_changes_nothing(what: str, tmp_path: Path) -> None:
    """The keys from before serve on; nobody else's token is taken, and nothing else is asked."""
    documents, evil = Documents([SECOND.jwk()]), Documents([MALLORY.jwk()])
    with serving(documents), serving(evil) as elsewhere:
        toml = oidc(documents.issuer)
        async with (
            FakeEngine(Faults(tokens=1, rate=0)) as engine,
            gateway(tmp_path, engine, toml=toml) as talk,
        ):
            grants = Grants(Ledger(talk.config))
            give = (Actor.local(), "research", "user")
            await asyncio.to_thread(grants.give, *give, kind=GROUP, reason="the test")
            now = int(time.time())
            claims = good(iss=documents.issuer, iat=now, exp=now + 300, groups=["research"])
            up = Gateway(talk.client, talk.admin, talk.key)
            held, fresh = (SECOND.token(claims | {"jti": j}).decode() for j in ("1", "2"))
            theirs = MALLORY.token(claims).decode()
            await until(lambda: _answered(up, held))
            assert await _provider_is(up, "current")
            NONSENSE[what](documents, elsewhere)
            await until(lambda: _provider_is(up, "away"))
            for credential in (held, fresh, up.key):
                assert (await up.ask(credential)).status_code == 200
            answer = await up.ask(theirs)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_away")
            assert evil.asked == []
