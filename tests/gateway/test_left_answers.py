"""What a client leaves behind: the engine let go, the tokens made so far in the record, and what
was spared in the metric; for answers in one piece as for streams."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.faults import PATHS, ROUTES
from tests.gateway.harness import Talk, gateway
from tests.gateway.test_slow_readers import SMALL, Client, Trial

from inhouse.audit.read import records
from inhouse.audit.record import Outcome
from inhouse.upstream.fake_engine import FakeEngine, Faults

BOUND = 40
ASKED_BOUND: dict[str, dict[str, Any]] = {
    "/api/chat": {"options": {"num_predict": BOUND}},
    "/api/generate": {"options": {"num_predict": BOUND}},
    "/v1/responses": {"max_output_tokens": BOUND},
}


async def spared(talk: Talk) -> float:
    lines = (await talk.admin.get("/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith("inhouse_spared_tokens_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in found)


async def last_outcome(talk: Talk) -> Outcome:
    await talk.audited_last()
    found = [each for each in records(talk.config.audit_directory) if isinstance(each, Outcome)]
    return found[-1]


async def leave(talk: Talk, engine: FakeEngine, path: str, body: dict[str, Any]) -> None:
    """Ask, wait until the engine works, go; the engine sees it within a second."""
    left, asked = len(engine.abandoned), len(engine.requests)
    asking = asyncio.create_task(talk.client.post(path, json=body))
    async with asyncio.timeout(5):
        while len(engine.requests) == asked or not engine.open_streams:
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.1)
    asking.cancel()
    async with asyncio.timeout(1):
        while len(engine.abandoned) == left:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", list(ROUTES))
async def test_who_leaves_before_an_answer_begins_or_before_it_is_whole(
    tmp_path: Path, route: str, stream: bool
) -> None:
    kind, body = ROUTES[route]
    path = PATHS[route.partition(",")[0]]
    asked = {"max_tokens": BOUND, **body, **ASKED_BOUND.get(path, {})}
    if path in ASKED_BOUND:
        del asked["max_tokens"]
    elif "max_tokens" in body:
        asked["max_tokens"] = BOUND
    # Not one token yet, where it streams; in one piece, nobody outside sees them
    faults = Faults(tokens=BOUND, rate=100, first_token_s=10 if stream else 0.3)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, kind=kind) as talk:
        await leave(talk, engine, path, {**asked, "model": "m", "stream": stream})
        outcome = await last_outcome(talk)
        assert (outcome.outcome, outcome.completion_tokens) == ("cancelled", None)
        assert await spared(talk) == BOUND
        assert talk.verify() == []


async def test_every_choice_of_an_answer_is_spared(tmp_path: Path) -> None:
    faults = Faults(tokens=BOUND, first_token_s=10)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine) as talk:
        body = {**ROUTES["chat"][1], "model": "m", "n": 3, "max_tokens": BOUND}
        await leave(talk, engine, "/v1/chat/completions", body)
        await last_outcome(talk)
        assert await spared(talk) == 3 * BOUND


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/embeddings", {"input": "hi"}), ("/api/embed", {"input": "hi"})],
)
async def test_an_embedding_spares_no_tokens(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    async with FakeEngine(Faults(first_token_s=10)) as engine:
        source = json.dumps([f"openai://127.0.0.1:{engine.port}/m"])
        toml = f'[models.m]\nengines = {source}\ntask = "embedding"\n'
        async with gateway(tmp_path, toml=toml) as talk:
            await leave(talk, engine, path, {**body, "model": "m"})
            assert (await last_outcome(talk)).outcome == "cancelled"
            assert await spared(talk) == 0


async def test_an_answer_that_had_ended_spares_nothing(tmp_path: Path) -> None:
    """The engine is through; the client has not read all, and goes. How much the buffers on the
    way take is the system's affair: answers grow until one is held up by its client."""
    async with (
        FakeEngine() as engine,
        gateway(tmp_path, engine, send_buffer_bytes=SMALL) as talk,
    ):
        trial = Trial(0, "chat", "none", "leaves", b"", b"")
        for words in range(20, 200, 4):
            engine.faults = Faults(answer=" ".join(["w" * 1000] * words))
            client = Client(talk)
            await client.ask(trial, {**trial.body, "model": "m"})
            await asyncio.sleep(0.2)
            held_up = talk.audited()[-1].outcome == "running"
            client.close()
            outcome = await last_outcome(talk)
            if held_up:
                break
        assert (outcome.outcome, outcome.estimated) == ("cancelled", False)
        assert outcome.completion_tokens == words
        assert await spared(talk) == 0
