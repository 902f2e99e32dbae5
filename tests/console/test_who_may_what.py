"""Every route, method, role and kind of credential: one real request each, and what is answered
follows from the table."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from tests.console.harness import WHO, WITHOUT, Admin, Answered, Wire, admin

from inhouse.audit.record import Denial, KeyChanged
from inhouse.console.routes import TABLE
from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.token import new_id, new_token
from inhouse.identity.users import Users

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "PROPFIND")
GOOD = ("key", "key, lower case scheme", "key, rotated, within its overlap")
BAD = (
    "none",
    "unknown",
    "altered",
    "expired",
    "revoked",
    "rotated away",
    "basic",
    "no scheme",
    "x-api-key",
    "both",
    "cookie",
    "query",
)
WIRES = 24
NO_KEY = "zz00zz00zz"  # has the form of an id, and nobody has it


@dataclass(frozen=True)
class Cell:
    path: str  # of the table
    method: str
    role: str
    channel: str


def cells() -> list[Cell]:
    paths = dict.fromkeys(route.path for route in TABLE.routes)
    return [Cell(*each) for each in product(paths, METHODS, WHO, (*GOOD, *BAD))]


def expected(cell: Cell) -> int | None:
    """The status that the table says; None where the route is reached and answers for itself."""
    if cell.channel in BAD:
        return 401
    route = next((r for r in TABLE.routes if _takes(r.method, r.path, cell)), None)
    if route is None:
        return 405
    wanted = TABLE.permissions if route.permission is None else {route.permission}
    return None if wanted & WHO[cell.role] else 403


def _takes(method: str, path: str, cell: Cell) -> bool:
    methods = ("GET", "HEAD") if method == "GET" else (method,)
    return path == cell.path and cell.method in methods


class Presented:
    """The credentials of all roles and channels, made ready."""

    def __init__(self, started: Admin) -> None:
        keys = Keys(started.config)
        before = Keys(started.config, clock=lambda: time.time() - 7200)
        self._of: dict[tuple[str, str], dict[str, str]] = {}
        for role, user in started.users.items():
            good = started.secrets[role]
            gone = keys.create(role, user=user)
            keys.revoke(gone.key.id)
            first = keys.create(role, user=user)
            keys.rotate(first.key.id, overlap_s=0)
            second = keys.create(role, user=user)
            old = before.create(role, user=user, expires=time.time() - 3600)
            keys.rotate(second.key.id, overlap_s=3600)
            for channel, fields in {
                "key": {"authorization": f"Bearer {good}"},
                "key, lower case scheme": {"authorization": f"bearer {good}"},
                "key, rotated, within its overlap": {
                    "authorization": f"Bearer {second.token.secret.reveal()}"
                },
                "none": {},
                "unknown": {"authorization": f"Bearer {new_token(new_id()).secret.reveal()}"},
                "altered": {"authorization": f"Bearer {_altered(good)}"},
                "expired": {"authorization": f"Bearer {old.token.secret.reveal()}"},
                "revoked": {"authorization": f"Bearer {gone.token.secret.reveal()}"},
                "rotated away": {"authorization": f"Bearer {first.token.secret.reveal()}"},
                "basic": {"authorization": f"Basic {good}"},
                "no scheme": {"authorization": good},
                "x-api-key": {"x-api-key": good},
                "both": {"authorization": f"Bearer {good}", "x-api-key": good},
                "cookie": {"cookie": f"authorization=Bearer {good}; session={good}"},
                "query": {},
            }.items():
                self._of[role, channel] = fields

    async def ask(self, wire: Wire, cell: Cell) -> Answered:
        path = cell.path.replace("{key_id}", NO_KEY)
        fields = dict(self._of[cell.role, cell.channel])
        if cell.channel == "query":
            path += "?access_token=x&authorization=Bearer"
        body = b""
        if cell.method not in ("GET", "HEAD") and _has_body(cell):
            body = b"{}"
            fields["content-type"] = "application/json"
        return await wire.ask(cell.method, path, fields, body)


def _altered(secret: str) -> str:
    return secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:]


def _has_body(cell: Cell) -> bool:
    return any(r.body is not None for r in TABLE.routes if r.path == cell.path)


async def test_every_cell(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        presented = Presented(started)
        await asyncio.to_thread(started.api._services.follow_keys)
        waiting = cells()
        assert len(waiting) > 10_000
        wrong: list[tuple[Cell, int, str | None]] = []
        statuses: Counter[int] = Counter()

        async def work(wire: Wire) -> None:
            while waiting:
                cell = waiting.pop()
                answer = await presented.ask(wire, cell)
                statuses[answer.status] += 1
                if not _as_expected(cell, answer):
                    wrong.append((cell, answer.status, answer.code))

        async with asyncio.TaskGroup() as group:
            for _ in range(WIRES):
                group.create_task(work(started.wire()))
        assert wrong == []
        denials = [record for record in started.records() if isinstance(record, Denial)]
        assert len(denials) == statuses[401] + statuses[403]
        changed = [each for each in started.records() if isinstance(each, KeyChanged)]
        assert {each.actor.partition(":")[0] for each in changed} == {"local"}  # the test's own


def _as_expected(cell: Cell, answer: Answered) -> bool:
    wanted = expected(cell)
    fields = answer.fields
    if fields["cache-control"] != "no-store" or fields["x-content-type-options"] != "nosniff":
        return False
    if any(name.startswith("access-control-") or name == "set-cookie" for name in fields):
        return False
    if cell.method == "HEAD" and answer.body:
        return False
    if wanted is None:
        return answer.status not in (401, 403, 405, 500) and answer.code != "no_such_route"
    if wanted == 405 and set(fields["allow"].upper().split(", ")) != _allowed(cell):
        return False
    if (wanted == 401) != ("www-authenticate" in fields):
        return False
    return answer.status == wanted


def _allowed(cell: Cell) -> set[str]:
    methods = {route.method for route in TABLE.routes if route.path == cell.path}
    return methods | ({"HEAD"} if "GET" in methods else set())


@pytest.mark.parametrize(
    "path",
    [
        "/admin",
        "/admin/",
        "/admin/v1",
        "/admin/v1/",
        "/admin/v1/keys/",
        "/admin/v1//keys",
        "/admin//v1/keys",
        "/admin/v1/./keys",
        "/admin/v1/models/../keys",
        "/admin/v1/%6beys",
        "/admin/v1/keys%2F",
        "/admin/v1/keys/a%2Frotate",
        "/admin/v1/keys/..",
        "/admin/v1/keys/a/rotate/",
        "/admin/v1/keys/a/rotate/b",
        "/admin/v1/keys/" + "a" * 65,
        "/admin/v1/keys/" + "a" * 4000,
        "/admin/v1/keys/a;b",
        "/admin/v1/keys;x",
        "/admin/v1/Keys",
        "/ADMIN/v1/keys",
        "/admin/v2/keys",
        "/admin/v1/users",
        "/readyz/",
        "/metrics/keys",
        "//admin/v1/keys",
        "/healthz/../admin/v1/keys",
    ],
)
async def test_what_is_not_in_the_table_is_not_there(tmp_path: Path, path: str) -> None:
    """For somebody who may do everything; and nobody else learns what is there and what is not."""
    async with admin(tmp_path) as started:
        wire = started.wire()
        for method in METHODS:
            answer = await wire.ask(method, path, started.bearer("everybody"))
            api = path.startswith("/admin/")
            assert answer.status == 404 if api else answer.status in (404, 405), (method, answer)
        there = await wire.ask("GET", "/admin/v1/keys")
        absent = await wire.ask("GET", "/admin/v1/nothing")
        assert there.status == absent.status == 401
        assert there.code == absent.code


async def test_nobody_may_without_a_grant_and_at_once_with_one(tmp_path: Path) -> None:
    """And no longer once it is revoked, or the user is deactivated."""
    async with admin(tmp_path) as started:
        wire = started.wire()
        for route in TABLE.routes:
            path = route.path.replace("{key_id}", NO_KEY)
            answer = await wire.ask(route.method, path, started.bearer(WITHOUT))
            assert (answer.status, answer.code) == (403, "not_allowed"), route.path
        ledger, local = Ledger(started.config), Actor.local()
        follow = started.api._services.follow_keys

        async def status() -> int:
            await asyncio.to_thread(follow)
            return (await wire.ask("GET", "/admin/v1/keys", started.bearer(WITHOUT))).status

        grant = Grants(ledger).give(local, started.users[WITHOUT], "auditor")
        assert await status() == 200
        Grants(ledger).revoke(local, grant.id)
        assert await status() == 403
        Grants(ledger).give(local, started.users[WITHOUT], "auditor")
        assert await status() == 200
        Users(ledger).deactivate(local, started.users[WITHOUT])
        assert await status() == 401


def test_what_changes_something_takes_more_than_reading() -> None:
    for route in TABLE.routes:
        reads = route.permission is None or route.permission.endswith(":read")
        assert reads == (route.method == "GET"), route.path
