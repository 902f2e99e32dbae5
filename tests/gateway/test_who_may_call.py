"""Every route of the clients' listener, by role, kind of credential and method: one real request
each; and what is answered follows from the one table that docs/access.md shows."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.console.harness import WHO, WITHOUT, Answered, Wire
from tests.gateway.harness import BODIES, MESSAGES, Talk, gateway
from tests.identity.minting import AUDIENCE, good, signer
from tests.identity.provider import Documents, serving

from inhouse.gateway.routes import EVERY, Listing, Needs, Route
from inhouse.gateway.who_may import rows
from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.permissions import PERMISSIONS, ROLES
from inhouse.identity.policy import USE
from inhouse.identity.token import new_id, new_token
from inhouse.identity.users import Users
from inhouse.upstream.fake_engine import FakeEngine, Faults

LOCAL = Actor.local()
METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "post",
)  # fmt: skip
GOOD = ("key", "x-api-key", "both, the same", "token", "token, oddly spelt", "key, and a proxy")
BAD = (
    "none", "unknown", "altered", "revoked", "expired", "basic", "no scheme", "two different",
    "cookie", "query", "proxy", "proxy, of another", "forged token", "id token", "gone",
)  # fmt: skip
"""`gone`: a key of somebody who was deactivated."""
SIGNER = signer("who-may-call", "ES256")
WIRES = 16
EVERYBODY = "everybody"
PATHS = {route.path: route for route in EVERY}
MORE: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": "e", "input": "hi"},
    "/v1/messages/count_tokens": {"model": "m", "messages": MESSAGES},
    "/api/embed": {"model": "e", "input": "hi"},
    "/api/embeddings": {"model": "e", "prompt": "hi"},
    "/api/show": {"model": "m"},
}
ASKED = {path: json.dumps({"stream": False} | b).encode() for path, b in BODIES.items()}
ASKED |= {path: json.dumps(body).encode() for path, body in MORE.items()}


@dataclass(frozen=True)
class Cell:
    path: str  # of the table
    method: str
    role: str
    channel: str


def cells() -> list[Cell]:
    whoever = [*product(WHO, GOOD), *product((EVERYBODY, WITHOUT), BAD)]
    return [Cell(path, m, *who) for path, m, who in product(PATHS, METHODS, whoever)]


def expected(cell: Cell) -> int:
    """The status that the table says."""
    route = PATHS[cell.path]
    if cell.method.encode() not in route.methods:
        return 405
    if route.needs is Needs.NOTHING:
        return 200
    if cell.channel in BAD:
        return 401
    uses = USE in WHO[cell.role]
    shows_one = route.does in (Listing.OPENAI_MODEL, Listing.OLLAMA_SHOW)
    return 200 if uses or (route.needs is Needs.CREDENTIAL and not shows_one) else 404


class Presented:
    """The credentials of all roles and kinds, made ready."""

    def __init__(self, talk: Talk, issuer: str) -> None:
        ledger = Ledger(talk.config)
        users, grants, keys = Users(ledger), Grants(ledger), Keys(talk.config, ledger=ledger)
        before = Keys(talk.config, ledger=ledger, clock=lambda: time.time() - 7200)
        now = int(time.time())
        self._of: dict[tuple[str, str], dict[str, str]] = {}
        for role in WHO:
            user = users.create(LOCAL, role, issuer=issuer, subject=role).id
            for each in ROLES if role == EVERYBODY else {role} & ROLES.keys():
                grants.give(LOCAL, user, each)
            key = keys.create(role, user=user).token.secret.reveal()
            claims = good(iss=issuer, sub=role, iat=now, exp=now + 600)
            token = SIGNER.token(claims).decode()
            proxy = {
                f"{family}{name}": EVERYBODY
                for family in ("x-forwarded-", "x-auth-request-", "x-remote-", "remote-")
                for name in ("user", "email", "preferred-username", "groups")
            } | {"x-forwarded-access-token": token, "x-auth-request-access-token": token}
            self._add(
                role,
                {
                    "key": _bearer(key),
                    "x-api-key": {"x-api-key": key},
                    "both, the same": _bearer(key) | {"x-api-key": key},
                    "token": _bearer(token),
                    "token, oddly spelt": {"authorization": f"bEaReR {token}"},
                    "key, and a proxy": _bearer(key) | proxy,
                },
            )
            if role not in (EVERYBODY, WITHOUT):
                continue
            other, revoked = (keys.create(role, user=user).token.secret.reveal() for _ in range(2))
            keys.revoke(revoked[4:14])
            expired = before.create(role, user=user, expires=time.time() - 3600)
            left = users.create(LOCAL, f"left-{role}").id
            grants.give(LOCAL, left, "user")
            gone = keys.create(f"left-{role}", user=left).token.secret.reveal()
            users.deactivate(LOCAL, left)
            forged = signer("mallory", "ES256").token(claims, kid=SIGNER.kid).decode()
            id_token = SIGNER.token(claims | {"at_hash": "x"}, typ="JWT").decode()
            altered = key[:20] + ("a" if key[20] != "a" else "b") + key[21:]
            self._add(
                role,
                {
                    "none": {},
                    "unknown": _bearer(new_token(new_id()).secret.reveal()),
                    "altered": _bearer(altered),
                    "revoked": _bearer(revoked),
                    "expired": _bearer(expired.token.secret.reveal()),
                    "basic": {"authorization": f"Basic {key}"},
                    "no scheme": {"authorization": key},
                    "two different": _bearer(key) | {"x-api-key": other},
                    "cookie": {"cookie": f"__Host-inhouse-session={key}; inhouse-session={token}"},
                    "query": {},
                    "proxy": proxy,
                    "proxy, of another": proxy | _bearer(altered),
                    "forged token": _bearer(forged),
                    "id token": _bearer(id_token),
                    "gone": _bearer(gone),
                },
            )

    def _add(self, role: str, channels: dict[str, dict[str, str]]) -> None:
        self._of |= {(role, channel): fields for channel, fields in channels.items()}

    def request(self, cell: Cell) -> tuple[str, dict[str, str], bytes]:
        path = cell.path.replace("{model}", "m")
        fields = dict(self._of[cell.role, cell.channel])
        if cell.channel == "query":
            secret = self._of[cell.role, "key"]["authorization"].removeprefix("Bearer ")
            path += f"?access_token={secret}&api_key={secret}&key={secret}"
        body = ASKED.get(cell.path, b"") if cell.method.upper() == "POST" else b""
        return path, fields | ({"content-type": "application/json"} if body else {}), body


def _bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture
def provider() -> Iterator[Documents]:
    documents = Documents([SIGNER.jwk()])
    with serving(documents):
        yield documents


TOML = """
[oidc]
issuer = "{issuer}"
audiences = ["{audience}"]
key_wait_s = 5
[access]
separate = []
[limits]
requests_per_minute = 0
[models.m]
engines = ["vllm://127.0.0.1:{port}/m"]
[models.e]
engines = ["openai://127.0.0.1:{port}/e"]
task = "embedding"
"""


@asynccontextmanager
async def started(directory: Path, provider: Documents) -> AsyncIterator[tuple[Talk, Presented]]:
    async with FakeEngine(Faults(tokens=1, rate=0)) as engine:
        toml = TOML.format(issuer=provider.issuer, audience=AUDIENCE, port=engine.port)
        async with gateway(directory, toml=toml) as talk:
            presented = await asyncio.to_thread(Presented, talk, provider.issuer)
            async with asyncio.timeout(20):  # the gateway follows the store within a second
                while (await _listed(talk, presented)).count('"id"') != 2:
                    await asyncio.sleep(0.05)
            yield talk, presented


async def _listed(talk: Talk, presented: Presented) -> str:
    _, fields, _ = presented.request(Cell("/v1/models", "GET", [*WHO][-2], "key"))
    return (await talk.client.get("/v1/models", headers=fields)).text


def test_the_table_says_of_every_role_what_its_permissions_do() -> None:
    assert PERMISSIONS.keys() >= {each.value for each in Needs} - {"nothing", "a credential"}
    assert [row.path for row in rows()] == list(PATHS)
    for row in rows():
        wanted = [Cell(row.path, row.method.split()[0], r, "key") for r in (WITHOUT, *ROLES)]
        alone = PATHS[row.path].does in (Listing.OPENAI_MODEL, Listing.OLLAMA_SHOW)
        if not alone:  # which are shown or are not there, by what may be used
            assert row.cells[1:] == [expected(cell) == 200 for cell in wanted], row.path
        assert row.cells[0] == (PATHS[row.path].needs is Needs.NOTHING)


async def test_every_cell(tmp_path: Path, provider: Documents) -> None:
    async with started(tmp_path, provider) as (talk, presented):
        waiting = cells()
        assert len(waiting) > 15_000
        wrong: list[tuple[Cell, int, bytes]] = []
        statuses: Counter[int] = Counter()

        async def work(wire: Wire) -> None:
            while waiting:
                cell = waiting.pop()
                path, fields, body = presented.request(cell)
                answer = await wire.ask(cell.method, path, fields, body)
                statuses[answer.status] += 1
                if not _as_expected(cell, answer):
                    wrong.append((cell, answer.status, answer.body[:200]))
            await wire.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(WIRES):
                group.create_task(work(_wire(talk)))
        assert wrong[:5] == []
        assert set(statuses) == {200, 401, 404, 405}
        assert min(statuses.values()) > 100


def _as_expected(cell: Cell, answer: Answered) -> bool:
    fields, wanted = answer.fields, expected(cell)
    if answer.status != wanted or fields["cache-control"] != "no-store":
        return False
    if any(name.startswith("access-control-") or name == "set-cookie" for name in fields):
        return False
    if ("www-authenticate" in fields) != (wanted == 401):
        return False
    if wanted == 200 and cell.method == "GET" and PATHS[cell.path].needs is Needs.CREDENTIAL:
        return _shows(answer) == (USE in WHO[cell.role] and cell.path != "/api/version")
    return True


def _shows(answer: Answered) -> bool:
    """Whether a list, or what is said of one model, names one."""
    said = json.loads(answer.body)
    listed = said.get("data", said.get("models", [said] if "id" in said else []))
    return bool(listed)


# Paths that are written otherwise

ODD = (
    "//v1/models", "/v1//models", "/v1/models/", "/v1/./models", "/v1/x/../models", "/V1/models",
    "/v1/Models", "/v1/%6dodels", "/v1%2fmodels", "/%76%31/models", "/v1/models;x=1", "/v1;/models",
    "/v1/models%00", "/v1/models%20", "/v1/models.json", "/v1\\models", "/./v1/models",
    "/../v1/models", "/v1/models/..", "/v1/models/../models", "/v1/models/%2e%2e/models",
    "/v1/chat/completions/", "/v1/chat//completions", "/v1/chat/%63ompletions",
    "/v1/chat/completions;a", "/API/chat", "/api/Chat", "/api/chat/", "/api/%63hat", "//api/chat",
    "/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/sha256:0",
    "/admin/v1/keys", "/admin/v1/models", "/admin", "/healthz", "/readyz", "/metrics", "/scim/v2",
    "/login", "/favicon.ico", "/.env", "/v1/files", "/v1/models/m/x", "/v1/models/M",
    "/v1/models/m;x", "/v1/models/%6D%00", "/v1/models/m%2f..%2fe",
)  # fmt: skip


async def test_no_other_way_to_write_a_path_leads_anywhere(
    tmp_path: Path, provider: Documents
) -> None:
    """For whoever may do everything it does not exist; for anybody else neither, and never more."""
    async with started(tmp_path, provider) as (talk, presented):
        wire = _wire(talk)
        who = [(EVERYBODY, c) for c in ("key", "token", "none", "proxy")]
        for role, channel in [*who, ("auditor", "key"), (WITHOUT, "key")]:
            fields = presented.request(Cell("/v1/models", "GET", role, channel))[1]
            assert (await wire.ask("GET", "/v1/models", fields)).status == (
                200 if channel in GOOD else 401
            )
            for path, method in product(ODD, ("GET", "HEAD", "POST", "DELETE")):
                answer = await wire.ask(method, path, fields)
                assert answer.status in (400, 401, 404, 405), (method, path, answer)
                assert (answer.status == 401) <= (channel not in GOOD), (method, path)
                assert b"inhouse_" not in answer.body
        await wire.close()


def _wire(talk: Talk) -> Wire:
    port = talk.client.base_url.port
    assert port is not None
    return Wire(port)


HOSTS = [
    ("http://localhost/v1/models", "localhost", 200),
    ("http://LOCALHOST/v1/models", "localhost", 200),
    ("http://localhost:80/v1/models", "localhost", 200),
    ("http://localhost/v1//models", "localhost", 404),
    ("http://localhost", "localhost", 200),  # that is "/"
    ("http://admin.internal/v1/models", "localhost", 400),
    ("http://127.0.0.1:8081/v1/models", "localhost", 400),
    ("https://localhost/v1/models", "localhost", 400),
    ("http://a@localhost/v1/models", "localhost", 400),
    ("file:///etc/passwd", "localhost", 400),
    ("*", "localhost", 400),
    ("localhost:80", "localhost", 400),
    ("/v1/models", "admin.internal", 200),
    ("/v1/models", "127.0.0.1:8081", 200),
    ("/v1/models", "inhouse.test/admin", 400),
    ("/v1/models", "a@b", 400),
    ("/v1/models", "a, b", 400),
    ("/admin/v1/keys", "127.0.0.1:8081", 404),
    ("http://127.0.0.1:8081/admin/v1/keys", "127.0.0.1:8081", 404),
    ("/metrics", "admin.internal", 404),
]


async def test_no_name_of_a_host_gives_a_right(tmp_path: Path, provider: Documents) -> None:
    """Nothing is decided by Host: what one name is answered, any other is; 401 without a key."""
    async with started(tmp_path, provider) as (talk, presented):
        wire = _wire(talk)
        fields = presented.request(Cell("/v1/models", "GET", EVERYBODY, "key"))[1]
        for target, host, status in HOSTS:
            answer = await wire.ask("GET", target, fields | {"host": host})
            assert answer.status == status, (target, host)
            if status != 200 or "/v1/models" not in target:
                continue
            assert (await wire.ask("GET", target, {"host": host})).status == 401
            for name in ("x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded"):
                answer = await wire.ask("GET", target, {"host": host, name: "/"})
                assert answer.status == 401, (target, name)
                answer = await wire.ask("GET", "/admin/v1/keys", fields | {name: "/v1/models"})
                assert answer.status == 404
        await wire.close()


def test_every_route_is_of_one_need_and_the_table_names_each_once() -> None:
    def need(route: Route) -> Needs:
        if route.does is Listing.GREETING:
            return Needs.NOTHING
        return Needs.CREDENTIAL if isinstance(route.does, Listing) else Needs.USE

    assert [route.needs for route in EVERY] == [need(route) for route in EVERY]
    assert len(PATHS) == len(EVERY)
