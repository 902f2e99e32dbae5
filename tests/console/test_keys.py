"""Keys through the admin API: what comes back is what the commands show, and records say who."""

import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.console.harness import Admin, admin

from inhouse.audit.record import KeyChanged
from inhouse.audit.verify import verify
from inhouse.config.keyfile import read_existing
from inhouse.config.load import load_config
from inhouse.identity.actor import Actor
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.users import Users


def changes(started: Admin) -> list[KeyChanged]:
    found = [each for each in started.records() if isinstance(each, KeyChanged)]
    return [each for each in found if not each.actor.startswith("local:")]


async def opens(started: Admin, secret: str) -> bool:
    """Whether a key is known here: without a role it is 403, unknown it is 401."""
    answer = await started.client.get(
        "/admin/v1/keys", headers={"authorization": f"Bearer {secret}"}
    )
    assert answer.status_code in (401, 403)
    return answer.status_code == 403


async def test_a_key_from_its_making_to_its_end(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
        made = await started.post(
            "keys", json={"owner": "anna", "models": ["m", "other"], "expires": ends.isoformat()}
        )
        assert made.status_code == 201
        key, secret = made.json()["key"], made.json()["secret"]
        assert made.json()["notes"] == ["there is no model 'other' in the configuration"]
        assert (key["owner"], key["models"], key["state"]) == ("anna", ["m", "other"], "active")
        assert datetime.fromisoformat(key["expires"]) == ends
        assert await opens(started, secret)

        rotated = await started.post(f"keys/{key['id']}/rotate", json={"overlap_s": 0})
        assert rotated.status_code == 200
        assert not await opens(started, secret)
        assert await opens(started, rotated.json()["secret"])

        again = await started.post(f"keys/{key['id']}/rotate", json={})
        assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
        assert "overlap_s" in again.json()["error"]["message"]

        shown = await started.get(f"keys/{key['id']}")
        assert shown.json() == rotated.json()["key"]
        revoked = await started.post(f"keys/{key['id']}/revoke")
        assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
        assert not await opens(started, rotated.json()["secret"])
        for verb in ("revoke", "rotate"):
            body: dict[str, Any] = {} if verb == "revoke" else {"json": {}}
            late = await started.post(f"keys/{key['id']}/{verb}", **body)
            assert (late.status_code, late.json()["error"]["code"]) == (409, "conflict")

        said = [(each.action, each.owner, each.actor) for each in changes(started)]
        actor = started.users["everybody"]
        assert said == [(action, "anna", actor) for action in ("created", "rotated", "revoked")]
        log = b"".join(p.read_bytes() for p in started.config.audit_directory.glob("*.jsonl"))
        assert secret.encode() not in log
        chain = read_existing(started.config.secrets_directory / "audit.key")
        assert verify(started.config.audit_directory, chain).findings == []


async def test_a_key_is_named_by_its_id_alone(tmp_path: Path) -> None:
    """Commands take an owner's name, too; an address does not."""
    async with admin(tmp_path) as started:
        made = await started.post("keys", json={"owner": "bruno"})
        for path in ("keys/bruno", "keys/0000000000"):
            answer = await started.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        gone = await started.post("keys/bruno/revoke")
        assert gone.status_code == 404
        assert await opens(started, made.json()["secret"])


async def test_pages_hold_every_key_once(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        keys = Keys(started.config)
        for _ in range(7):
            await asyncio.to_thread(keys.create, "carla")
        ids = [key.id for key in keys.list()]
        seen: list[str] = []
        query = {"limit": "5"}
        while True:
            answer = (await started.get("keys", params=query)).json()
            seen += [key["id"] for key in answer["data"]]
            if answer["next"] is None:
                break
            query["after"] = answer["next"]
        assert seen == ids
        carlas = (await started.get("keys", params={"owner": "carla", "state": "active"})).json()
        assert len(carlas["data"]) == 7
        wrong = await started.get("keys", params={"after": "nobody"})
        assert wrong.status_code == 400


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        (b"", "invalid_json", "one JSON object"),
        (b"[]", "invalid_json", "one JSON object"),
        (b'{"owner": "a"', "invalid_json", "one JSON object"),
        (b'{"owner": "\xff"}', "invalid_json", "one JSON object"),
        (b"[" * 60_000, "invalid_json", "one JSON object"),
        (b'{"owner": ' + b"[" * 60_000, "invalid_json", "one JSON object"),
        (b'{"owner": "a", "owner": "b"}', "invalid_field", "'owner' twice"),
        (b"{}", "invalid_field", "owner"),
        (b'{"owner": null}', "invalid_field", "'owner' in the body"),
        (b'{"owner": 3}', "invalid_field", "'owner' in the body"),
        (b'{"owner": ""}', "invalid_field", "'owner' in the body"),
        (b'{"owner": "a\\u0000b"}', "invalid_field", "printable"),
        (b'{"owner": "\\ud800"}', "invalid_field", "body"),
        (b'{"owner": "' + b"a" * 201 + b'"}', "invalid_field", "'owner' in the body"),
        (b'{"owner": "a", "models": []}', "invalid_field", "'models' in the body"),
        (b'{"owner": "a", "models": "m"}', "invalid_field", "'models' in the body"),
        (b'{"owner": "a", "expires": "2020-01-01T00:00:00Z"}', "invalid_field", "future"),
        (b'{"owner": "a", "expires": "2999-01-01T00:00:00Z"}', "invalid_field", "at most"),
        (b'{"owner": "a", "expires": "2030-01-01T00:00:00"}', "invalid_field", "expires"),
        (b'{"owner": "a", "expires": 99999999999}', "invalid_field", "expires"),
        (b'{"owner": "a", "NaN": NaN}', "unknown_field", "'NaN'"),
        (b'{"owner": "a", "model": ["m"]}', "unknown_field", "did you mean 'models'?"),
        (b'{"owner": "a", "role": "admin"}', "unknown_field", "'owner', 'user', 'models'"),
    ],
)
async def test_a_body_is_read_strictly(
    tmp_path: Path, body: bytes, code: str, sentence: str
) -> None:
    async with admin(tmp_path) as started:
        before = len(Keys(started.config).list())
        answer = await started.client.post(
            "/admin/v1/keys",
            content=body,
            headers=started.bearer("everybody") | {"content-type": "application/json"},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert sentence in answer.json()["error"]["message"]
        assert set(answer.json()["error"]) == {"code", "message", "request_id"}
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
        assert len(Keys(started.config).list()) == before


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "'limit' in the query"),
        ("limit=1001", "'limit' in the query"),
        ("limit=a", "'limit' in the query"),
        ("limit=", "'limit' in the query"),
        ("limit", "name=value"),
        ("limit=5&limit=6", "twice"),
        ("limits=5", "did you mean 'limit'?"),
        ("state=dead", "'state' in the query"),
        ("owner=%ff", "UTF-8"),
        ("&", "name=value"),
        ("a-b=1", "name=value"),
    ],
)
async def test_a_query_is_read_strictly(tmp_path: Path, query: str, sentence: str) -> None:
    async with admin(tmp_path) as started:
        answer = await started.wire().ask(
            "GET", f"/admin/v1/keys?{query}", started.bearer("everybody")
        )
        assert answer.status == 400
        assert sentence.encode() in answer.body
        none = await started.wire().ask(
            "GET", f"/admin/v1/models?{query}", started.bearer("everybody")
        )
        assert none.status == 400


async def test_bodies_have_a_type_and_a_bound(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        headers = started.bearer("everybody")
        form = headers | {"content-type": "text/plain"}
        answer = await started.client.post("/admin/v1/keys", content=b"{}", headers=form)
        assert answer.status_code == 415
        json = headers | {"content-type": "application/json; charset=utf-8"}
        large = b'{"owner": "' + b"a" * 65_536 + b'"}'
        answer = await started.client.post("/admin/v1/keys", content=large, headers=json)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
        unasked = await started.post("audit/verify", json={})
        assert unasked.status_code == 400
        unasked = await started.client.request("GET", "/admin/v1/keys", content=b"{}", headers=json)
        assert unasked.status_code == 400


async def test_a_store_that_is_away_is_said_so(tmp_path: Path) -> None:
    toml = '[store]\nurl = "postgresql://nobody@127.0.0.1:9/none"\n'
    async with admin(tmp_path) as started:
        away = tmp_path / "away"
        away.mkdir()
        (away / "inhouse.toml").write_text(toml)
        # The ring goes on; the service meets a server that is not there
        config = load_config(away / "inhouse.toml", started.config.data, {})
        started.api._services = replace(started.api._services, config=config)
        answer = await started.get("keys")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"] == "5"


async def test_a_store_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        path = started.config.data / "inhouse.db"
        path.rename(path.with_suffix(".away"))
        for answer in (
            await started.get("keys"),
            await started.post("keys", json={"owner": "anna"}),
        ):
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "store_unavailable"
        assert not path.exists()
        path.with_suffix(".away").rename(path)


async def test_a_store_that_cannot_be_written_is_not_the_callers_fault(tmp_path: Path) -> None:
    """Somebody else writes to it, and does not end."""
    async with admin(tmp_path) as started:
        with contextlib.closing(sqlite3.connect(started.config.data / "inhouse.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await started.post("keys", json={"owner": "anna"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (
                503,
                "store_unavailable",
            )
        assert "anna" not in (await started.get("keys")).text


async def test_a_key_for_whom_and_for_what(tmp_path: Path) -> None:
    async with admin(tmp_path) as started:
        bounds = {"dialects": ["openai"], "purposes": ["x"]}
        made = await started.post("keys", json={"owner": "mine", "user": "everybody"} | bounds)
        key = made.json()["key"]
        assert key["user"] == started.users["everybody"]
        assert (key["models"], key["dialects"], key["purposes"]) == (None, ["openai"], ["x"])
        for body, status, code in (
            ({"user": "dora"}, 404, "not_found"),
            ({"user": "auditor"}, 403, "not_allowed"),  # another person's
            ({"dialects": ["latin"]}, 400, "invalid_field"),
        ):
            answer = await started.post("keys", json={"owner": "a"} | body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert (await started.post("keys", json={"owner": "svc"})).status_code == 201
        Users(Ledger(started.config)).deactivate(Actor.local(), "svc")
        inactive = await started.post("keys", json={"owner": "svc"})
        assert (inactive.status_code, inactive.json()["error"]["code"]) == (409, "conflict")
        theirs = (await started.get("keys", params={"owner": "auditor"})).json()["data"][0]["id"]
        rotated = await started.post(f"keys/{theirs}/rotate", json={})
        assert (rotated.status_code, rotated.json()["error"]["code"]) == (403, "not_allowed")
        revoked = await started.post(f"keys/{theirs}/revoke")
        assert revoked.status_code == 200
