"""Who may ask which model, over which dialect, for which purpose; and which grant is recorded."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.harness import BODIES, Talk, gateway

from inhouse.audit.read import records
from inhouse.audit.record import Denial, Intent
from inhouse.identity.actor import Actor
from inhouse.identity.bounds import Bounds
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.users import Users
from inhouse.upstream.fake_engine import FakeEngine

LOCAL = Actor.local()
OPENAI, ANTHROPIC, OLLAMA = "/v1/chat/completions", "/v1/messages", "/api/chat"
FOLLOWED_S = 1.0


class Desk:
    """Whoever decides who may do what, beside a running gateway."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.ledger = Ledger(talk.config)
        self.grants, self.users = Grants(self.ledger), Users(self.ledger)
        self.keys = Keys(talk.config)

    def key(self, name: str, bounds: Bounds | None = None, **ceiling: tuple[str, ...]) -> str:
        """A key of a service whose only grant has these bounds; none, where it has none."""
        made = self.keys.create(name, **ceiling)  # type: ignore[arg-type]
        for grant in self.grants.list(LOCAL, user=name):
            self.grants.revoke(LOCAL, grant.id)
        if bounds is not None:
            self.grants.give(LOCAL, name, "service", bounds=bounds)
        return made.token.secret.reveal()

    async def ask(
        self, key: str, path: str = OPENAI, model: str = "m", purpose: str = ""
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        if purpose:
            headers["x-inhouse-purpose"] = purpose
        body = BODIES[path] | {"model": model, "stream": False}
        return await self.talk.client.post(path, json=body, headers=headers)

    async def models(self, key: str, path: str = "/v1/models", **headers: str) -> list[str]:
        answer = await self.talk.client.get(
            path, headers={"authorization": f"Bearer {key}", **headers}
        )
        listed: dict[str, Any] = answer.json()
        found = listed["data"] if "data" in listed else listed["models"]
        return [each.get("id") or each["name"] for each in found]

    async def follows(self, condition: Callable[[], Any]) -> None:
        """Within a second, and what it takes a busy machine to notice."""
        async with asyncio.timeout(FOLLOWED_S + 2):
            while not await condition():
                await asyncio.sleep(0.02)

    def recorded(self) -> list[Intent | Denial]:
        found = records(self.talk.config.audit_directory)
        return [each for each in found if isinstance(each, Intent | Denial)]


@asynccontextmanager
async def desk(directory: Path) -> AsyncIterator[Desk]:
    """A gateway with the models `m` and `n`."""
    async with FakeEngine() as engine:
        source = json.dumps([f"openai://127.0.0.1:{engine.port}/m"])
        toml = f"[models.m]\nengines = {source}\n[models.n]\nengines = {source}\n"
        async with gateway(directory, engine, toml=toml) as talk:
            yield Desk(talk)


async def test_the_grant_that_allows_it_is_recorded(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot", Bounds(models=("m",)))
        (grant,) = found.grants.list(LOCAL, user="bot")
        (bot,) = (user for user in found.users.list(LOCAL) if user.name == "bot")
        await found.follows(lambda: allowed(found.ask(key)))
        answer = await found.ask(key, purpose="support-1")
        assert answer.status_code == 200, answer.text
        intent = found.recorded()[-1]
        assert isinstance(intent, Intent)
        assert (intent.authorized_by, intent.user_id) == (grant.id, bot.id)
        assert (intent.principal_name, intent.purpose) == ("bot", "support-1")


async def allowed(asked: Any) -> bool:
    answer = await asked
    assert answer.status_code in (200, 401, 404), answer.text
    return bool(answer.status_code == 200)


async def test_a_model_that_may_not_be_used_is_like_one_that_is_not_there(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot", Bounds(models=("n",)))
        nothing = found.key("nobody")
        await found.follows(lambda: allowed(found.ask(key, model="n")))

        async def followed() -> bool:
            return (await found.ask(nothing)).status_code == 404

        await found.follows(followed)
        hidden, absent = await found.ask(key), await found.ask(key, model="x")
        assert (hidden.status_code, absent.status_code) == (404, 404)
        said = absent.json()["error"]["message"].replace("'x'", "'m'")
        without_hints = hidden.json()["error"]["message"].replace("did you mean 'n'? ", "")
        assert without_hints == said == "there is no model 'm' for this key; there is: n"
        for path in ("/v1/models", "/api/tags", "/api/ps"):
            assert [name.removesuffix(":latest") for name in await found.models(key, path)] == ["n"]
            assert await found.models(nothing, path) == []
        one = await found.talk.client.get(
            "/v1/models/m", headers={"authorization": f"Bearer {key}"}
        )
        assert one.status_code == 404
        refused = await found.ask(nothing)
        assert refused.status_code == 404
        assert refused.json()["error"]["message"].endswith("there is: none")


async def test_a_dialect_that_the_grant_does_not_have(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot", Bounds(dialects=("openai",)))
        await found.follows(lambda: allowed(found.ask(key)))
        for path, dialect in ((ANTHROPIC, "anthropic"), (OLLAMA, "ollama")):
            answer = await found.ask(key, path)
            assert answer.status_code == 403
            assert f"may not be used over the API of {dialect} without a purpose" in answer.text
            denial = found.recorded()[-1]
            assert isinstance(denial, Denial)
            assert (denial.outcome, denial.code, denial.status) == ("denied", "not_allowed", 403)
        assert await found.models(key) == ["m", "n"]
        assert await found.models(key, "/api/tags") == []
        assert await found.models(key, **{"anthropic-version": "2023-06-01"}) == []


async def test_a_purpose_is_said_or_the_keys(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot", Bounds(models=("m",), purposes=("support",)))
        own = found.key("desk", Bounds(purposes=("support",)), purposes=("support",))
        two = found.key("two", Bounds(), purposes=("support", "coding"))
        await found.follows(lambda: allowed(found.ask(own)))
        assert found.recorded()[-1].purpose == "support"
        answers = [
            (await found.ask(key, purpose="support")).status_code,
            (await found.ask(key)).status_code,
            (await found.ask(key, purpose="coding")).status_code,
            (await found.ask(own, purpose="coding")).status_code,
            (await found.ask(two)).status_code,
            (await found.ask(two, purpose="coding")).status_code,
            (await found.ask(two, purpose="other")).status_code,
        ]
        assert answers == [200, 403, 403, 403, 403, 200, 403]
        refused = await found.ask(key, purpose="coding")
        assert "for the purpose 'coding'; a purpose is said in the header" in refused.text
        assert found.recorded()[-1].purpose == "coding"
        assert await found.models(key) == ["m"]
        assert await found.models(key, **{"x-inhouse-purpose": "coding"}) == []


@pytest.mark.parametrize("purpose", ["Support", "a b", "x" * 65, "\xe9", "a,b"])
async def test_a_purpose_that_is_none_is_refused(purpose: str, tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        for path in ("/v1/models", "/api/tags"):
            answer = await found.talk.client.get(
                path, headers={b"x-inhouse-purpose": purpose.encode("latin-1")}
            )
            assert answer.status_code == 400
            assert "x-inhouse-purpose has 1 to 64 of a-z" in answer.text
        assert {each.purpose for each in found.recorded()} <= {""}


async def test_a_ceiling_is_looked_at_whatever_the_grant_allows(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot", Bounds(), models=("m",), dialects=("ollama",))
        await found.follows(lambda: allowed(found.ask(key, OLLAMA)))
        assert (await found.ask(key, OLLAMA, model="n")).status_code == 404
        assert (await found.ask(key)).status_code == 403
        names = await found.models(key, "/api/tags")
        assert [name.removesuffix(":latest") for name in names] == ["m"]
        assert await found.models(key) == []


async def test_what_is_taken_away_is_taken_away_within_a_second(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot", Bounds())
        loop = asyncio.get_running_loop()

        async def says(status: int) -> bool:
            return (await found.ask(key)).status_code == status

        await found.follows(lambda: says(200))
        steps: list[tuple[int, Callable[[], object]]] = [
            (401, lambda: found.users.deactivate(LOCAL, "bot")),
            (200, lambda: found.users.reactivate(LOCAL, "bot")),
            (404, lambda: revoke_all(found)),
            (200, lambda: found.grants.give(LOCAL, "bot", "service")),
            (401, lambda: found.users.remove(LOCAL, "bot")),
        ]
        for status, step in steps:
            await asyncio.to_thread(step)
            began = loop.time()
            await found.follows(lambda status=status: says(status))  # type: ignore[misc]
            assert loop.time() - began < FOLLOWED_S + 2


def revoke_all(found: Desk) -> None:
    for grant in found.grants.list(LOCAL, user="bot"):
        found.grants.revoke(LOCAL, grant.id)


async def test_a_grant_ends_by_itself(tmp_path: Path) -> None:
    async with desk(tmp_path) as found:
        key = found.key("bot")
        now = found.ledger.clock()
        found.grants.give(LOCAL, "bot", "service", expires=now + 3)
        await found.follows(lambda: allowed(found.ask(key)))

        async def over() -> bool:
            return (await found.ask(key)).status_code == 404

        async with asyncio.timeout(10):
            while not await over():
                await asyncio.sleep(0.05)
        assert found.ledger.clock() >= now + 3
