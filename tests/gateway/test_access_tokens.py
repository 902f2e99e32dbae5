"""Access tokens of a provider at the gateway: whose they are, what they may do, when they end."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.harness import BODIES, Talk, gateway
from tests.identity.minting import AUDIENCE, good, signer
from tests.identity.provider import Documents, serving

from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.ledger import Ledger
from inhouse.identity.users import Users
from inhouse.store.grants import GROUP
from inhouse.upstream.fake_engine import FakeEngine, Faults

LOCAL = Actor.local()
CHAT = "/v1/chat/completions"
SIGNER = signer("gateway", "ES256")


@pytest.fixture
def provider() -> Iterator[Documents]:
    documents = Documents([SIGNER.jwk()])
    with serving(documents):
        yield documents


@asynccontextmanager
async def started(directory: Path, provider: Documents) -> AsyncIterator[Talk]:
    toml = f'[oidc]\nissuer = "{provider.issuer}"\naudiences = ["{AUDIENCE}"]\nkey_wait_s = 5\n'
    async with (
        FakeEngine(Faults(tokens=2)) as engine,
        gateway(directory, engine, toml=toml) as talk,
    ):
        yield talk


def token(provider: Documents, **claims: Any) -> str:
    now = int(time.time())
    whole = good(iss=provider.issuer, iat=now, exp=now + 300) | claims
    return SIGNER.token(whole).decode()


async def ask(talk: Talk, credential: str, path: str = CHAT) -> httpx.Response:
    headers = {"authorization": f"Bearer {credential}"}
    return await talk.client.post(path, json=BODIES[path], headers=headers)


async def allow(talk: Talk, holder: str, kind: str = GROUP, role: str = "user") -> None:
    grants = Grants(Ledger(talk.config))
    await asyncio.to_thread(grants.give, LOCAL, holder, role, kind=kind, reason="the test")


async def until(status: int, talk: Talk, credential: str) -> httpx.Response:
    """The answer, once it has this status: what changed is followed within a second."""
    for _ in range(100):
        answer = await ask(talk, credential)
        if answer.status_code == status:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"{answer.status_code}: {answer.text}")


async def test_a_group_of_the_token_has_what_it_was_granted(
    tmp_path: Path, provider: Documents
) -> None:
    async with started(tmp_path, provider) as talk:
        held = token(provider, groups=["ward-7"])
        refused = await ask(talk, held)
        assert refused.status_code == 404, refused.text  # nobody granted it a model
        await allow(talk, "ward-7")
        await until(200, talk, held)

        row = await talk.audited_last()
        assert (row.principal, row.outcome) == ("portal", "answered")  # as its token names it
        assert (await ask(talk, token(provider, groups=["ward-8"]))).status_code == 404
        assert (await ask(talk, talk.key)).status_code == 200  # keys serve beside tokens


async def test_a_role_of_the_token_counts_as_a_group_of_its_own_kind(
    tmp_path: Path, provider: Documents
) -> None:
    async with started(tmp_path, provider) as talk:
        await allow(talk, "role:nurse")

        await until(200, talk, token(provider, roles=["nurse"]))

        assert (await ask(talk, token(provider, groups=["nurse"]))).status_code == 404


async def test_a_person_who_was_deactivated_is_refused_whatever_the_token_says(
    tmp_path: Path, provider: Documents
) -> None:
    async with started(tmp_path, provider) as talk:
        await allow(talk, "ward-7")
        held = token(provider, groups=["ward-7"])
        await until(200, talk, held)
        users = Users(Ledger(talk.config))
        made = await asyncio.to_thread(
            users.create, LOCAL, "anna", issuer=provider.issuer, subject="u-100"
        )
        await asyncio.to_thread(users.deactivate, LOCAL, made.id, "left")

        refused = await until(401, talk, held)

        assert refused.json()["error"]["code"] == "invalid_credential"
        assert "deactivated" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"aud": "another"}, "audience"),
        ({"exp": 1_700_000_000}, "ended"),
        ({"iss": "https://evil.example"}, "issuer"),
    ],
)
async def test_a_token_that_is_not_good_is_refused(
    tmp_path: Path, provider: Documents, claims: dict[str, Any], says: str
) -> None:
    async with started(tmp_path, provider) as talk:
        await allow(talk, "ward-7")

        refused = await ask(talk, token(provider, groups=["ward-7"], **claims))

        assert refused.status_code == 401, refused.text
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert (await talk.audited_last()).code == "invalid_credential"


async def test_a_provider_that_was_never_there_is_told_as_such(
    tmp_path: Path, provider: Documents
) -> None:
    provider.status = 503
    async with started(tmp_path, provider) as talk:
        refused = await ask(talk, token(provider, groups=["ward-7"]))

        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "provider_away")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await ask(talk, talk.key)).status_code == 200
        assert (await talk.admin.get("/readyz")).json()["provider"].startswith("no keys")


async def test_without_a_provider_no_token_is_taken(tmp_path: Path, provider: Documents) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine, gateway(tmp_path, engine) as talk:
        refused = await ask(talk, token(provider, groups=["ward-7"]))

        assert refused.status_code == 401
        assert provider.asked == []
        assert "provider" not in (await talk.admin.get("/readyz")).json()
