"""The admin API in a whole gateway: beside requests to models; closed until somebody opens it."""

from pathlib import Path

from tests.gateway.harness import gateway

from inhouse.audit.read import records
from inhouse.audit.record import Denial
from inhouse.upstream.fake_engine import FakeEngine, Faults


async def test_the_first_key_may_use_models_and_nothing_here(tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine, gateway(tmp_path, engine) as talk:
        assert (await talk.post("/v1/chat/completions")).status_code == 200
        key = {"authorization": f"Bearer {talk.key}"}
        for path in ("keys", "audit/requests", "models", "configuration", "openapi.json"):
            refused = await talk.admin.get(f"/admin/v1/{path}", headers=key)
            assert refused.status_code == 403
            assert refused.json()["error"]["code"] == "not_allowed"
        assert (await talk.admin.get("/admin/v1/keys")).status_code == 401
        assert (await talk.admin.get("/readyz")).status_code == 200
        assert (await talk.client.get("/admin/v1/keys")).status_code == 404
        denials = [r for r in records(talk.config.audit_directory) if isinstance(r, Denial)]
        assert [r.status for r in denials] == [403] * 5 + [401, 404]
        assert talk.verify() == []
