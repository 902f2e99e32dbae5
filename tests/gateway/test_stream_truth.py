"""What clients are shown is what engines finished; what they leave is let go, and counted."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.gateway.faults import PATHS, ROUTES, run
from tests.gateway.harness import gateway

from inhouse.audit.read import records
from inhouse.audit.record import Outcome
from inhouse.upstream.fake_engine import FakeEngine, Faults


async def test_no_fault_makes_a_lie(tmp_path: Path) -> None:
    tally = await run(800, 7)
    assert tally.violations == []
    assert tally.trials == 800
    assert len(tally.kinds) == 10
    assert tally.complete >= tally.kinds["none"] > 50


@pytest.mark.parametrize("route", list(ROUTES))
async def test_a_client_may_leave_at_every_event(tmp_path: Path, route: str) -> None:
    kind, body = ROUTES[route]
    path = PATHS[route.partition(",")[0]]
    faults = Faults(tokens=40, rate=100)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, kind=kind) as talk:
        for events in range(1, 9):
            left = len(engine.abandoned)
            content = json.dumps({**body, "model": "m", "stream": True, "max_tokens": 40})
            if path.startswith("/api"):
                content = json.dumps({**body, "model": "m", "options": {"num_predict": 40}})
            elif "response" in route:
                content = content.replace("max_tokens", "max_output_tokens")
            async with talk.client.stream(
                "POST", path, content=content, headers={"content-type": "application/json"}
            ) as answer:
                assert answer.status_code == 200, await answer.aread()
                seen = 0
                async for _ in answer.aiter_lines():
                    seen += 1
                    if seen == events * 2:
                        break
            async with asyncio.timeout(1):
                while len(engine.abandoned) == left:
                    await asyncio.sleep(0.005)
        await talk.audited_last()
        ended = [each for each in records(talk.config.audit_directory) if isinstance(each, Outcome)]
        assert {each.outcome for each in ended} == {"cancelled"}
        assert all(each.estimated and each.completion_tokens for each in ended)
        metrics = (await talk.admin.get("/metrics")).text
        spared = next(
            float(line.rpartition(" ")[2])
            for line in metrics.splitlines()
            if line.startswith("inhouse_spared_tokens_total")
        )
        made = sum(each.completion_tokens or 0 for each in ended)
        assert spared == 8 * 40 - made
