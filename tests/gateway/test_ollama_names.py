"""Ollama's clients add a tag to names; the log and the answers hold what is true for each."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.harness import BODIES, gateway

from inhouse.upstream.fake_engine import FakeEngine, Faults


def toml(engine: FakeEngine, kind: str, *names: str) -> str:
    source = json.dumps(f"{kind}://127.0.0.1:{engine.port}/served")
    return "[models]\n" + "".join(f"{json.dumps(name)} = {source}\n" for name in names)


async def test_a_name_without_a_tag_is_listed_with_one(tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        names = ("m", "org/m", "m:1b", "n", "n:latest")
        async with gateway(tmp_path, engine, toml=toml(engine, "openai", *names)) as talk:
            for path in ("/api/tags", "/api/ps"):
                listed = (await talk.client.get(path)).json()["models"]
                shown = {"m:latest", "org/m:latest", "m:1b", "n", "n:latest"}
                assert {model["name"] for model in listed} == shown
                assert [model["name"] for model in listed] == [model["model"] for model in listed]
            ids = [each["id"] for each in (await talk.client.get("/v1/models")).json()["data"]]
            assert ids == list(names)
            for name, status in (("m:latest", 200), ("m:1b", 200), ("m:2b", 404), ("m", 200)):
                answer = await talk.client.post("/api/show", json={"model": name})
                assert answer.status_code == status


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_an_answer_goes_by_the_name_that_was_asked_for(
    path: str, kind: str, tmp_path: Path
) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine:
        models = toml(engine, kind, "m", "m:1b")
        async with gateway(tmp_path, engine, toml=models) as talk:
            for asked, alias in (("m:latest", "m"), ("m", "m"), ("m:1b", "m:1b")):
                for stream in (True, False):
                    answer = await talk.post(path, model=asked, stream=stream)
                    said: list[Any] = [json.loads(line) for line in answer.text.splitlines()]
                    assert {line["model"] for line in said} == {asked}
                    assert json.loads(engine.requests[-1].body)["model"] == "served"
                    assert (await talk.audited_last()).model == alias
            assert (await talk.post(path, model="m:1b:latest")).status_code == 404
            assert (await talk.post("/v1/chat/completions", model="m:latest")).status_code == 404
            metrics = (await talk.admin.get("/metrics")).text
            assert 'model="m"' in metrics
            assert 'model="m:latest"' not in metrics


@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_embeddings_in_both_forms(kind: str, tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        source = json.dumps(f"{kind}://127.0.0.1:{engine.port}/served")
        models = f'[models.e]\nengines = [{source}]\ntask = "embedding"\n'
        async with gateway(tmp_path, engine, toml=models) as talk:
            one = await talk.client.post("/api/embeddings", json={"model": "e", "prompt": "hi"})
            many = await talk.client.post("/api/embed", json={"model": "e", "input": ["a", "b"]})
            assert one.json()["embedding"] == many.json()["embeddings"][1]
            assert one.json().keys() == {"embedding"}
            row = await talk.audited_last()
            assert (row.outcome, row.route) == ("answered", "/api/embed")


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_an_invented_end_of_a_native_stream_is_not_believed(
    path: str, tmp_path: Path
) -> None:
    faults = Faults(tokens=8, rate=200, invented_done=True)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, kind="ollama") as talk:
        answer = await talk.client.post(path, json=BODIES[path])
        assert b'"done":true' not in answer.content
        assert b"answer_truncated" in answer.content
        assert (await talk.audited_last()).outcome == "truncated"
