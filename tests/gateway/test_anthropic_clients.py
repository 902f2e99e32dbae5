"""What Anthropic's clients need besides messages: counting, listing, and how they say who asks."""

import json
from pathlib import Path

import pytest
from tests.gateway.harness import BODIES, MESSAGES, gateway

from inhouse.upstream.fake_engine import FakeEngine

COUNT = "/v1/messages/count_tokens"
VERSION = {"anthropic-version": "2023-06-01"}


async def test_tokens_are_counted_and_the_count_is_recorded(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine, kind="vllm") as talk:
        answer = await talk.client.post(COUNT, json={"model": "m", "messages": MESSAGES})
        assert answer.status_code == 200
        count = answer.json()["input_tokens"]
        assert answer.json() == {"input_tokens": count}
        row = await talk.audited_last()
        assert (row.outcome, row.route, row.prompt_tokens) == ("answered", COUNT, count)
        assert not row.completion_tokens
        assert "max_tokens" not in json.loads(engine.requests[-1].body)
        refused = await talk.client.post(COUNT, json={"model": "m", "message": []})
        assert refused.json()["error"]["code"] == "unknown_field"


async def test_what_cannot_count_says_so(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.client.post(COUNT, json={"model": "m", "messages": MESSAGES})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "not_spoken")
        assert (await talk.audited_last()).outcome == "refused"


@pytest.mark.parametrize(
    ("bearer", "api_key", "status"),
    [
        ("Bearer {key}", "{key}", 200),
        ("bearer  {key}", "{key}", 200),
        ("Bearer {key}", "{key}x", 401),
        ("Bearer {key}", "", 401),
        ("Basic {key}", "{key}", 401),
        ("{key}", "{key}", 401),
    ],
)
async def test_one_key_in_both_headers_is_one_credential(
    bearer: str, api_key: str, status: int, tmp_path: Path
) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        headers = {
            "authorization": bearer.format(key=talk.key),
            "x-api-key": api_key.format(key=talk.key),
        }
        answer = await talk.client.get("/v1/models", headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert "several_credentials" in answer.text


async def test_every_answer_has_its_id_where_each_client_looks(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        answers = [
            *[await talk.post(path, stream=False) for path in BODIES],
            await talk.post("/v1/messages", stream=True),
            await talk.post("/v1/messages", model="nope"),
            await talk.client.get("/"),
            await talk.client.get("/v1/models"),
            await talk.client.get("/nowhere"),
        ]
        for answer in answers:
            assert answer.headers["request-id"] == answer.headers["x-request-id"]


async def test_models_are_listed_in_the_form_of_who_asks(tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        source = json.dumps(f"openai://127.0.0.1:{engine.port}/m")
        toml = f'[models]\nm = {source}\n"org/a:1b" = {source}\n'
        async with gateway(tmp_path, engine, toml=toml) as talk:
            openais = (await talk.client.get("/v1/models")).json()
            assert [each["id"] for each in openais["data"]] == ["m", "org/a:1b"]
            assert openais["data"][0]["created"] > 1_600_000_000
            theirs = (await talk.client.get("/v1/models", headers=VERSION)).json()
            assert theirs["data"][0].keys() == {"type", "id", "display_name", "created_at"}
            assert theirs["data"][0]["created_at"].startswith("20")
            ends = (theirs["has_more"], theirs["first_id"], theirs["last_id"])
            assert ends == (False, "m", "org/a:1b")
            for path in ("/v1/models/org/a:1b", "/v1/models/org%2Fa%3A1b"):
                one = await talk.client.get(path, headers=VERSION)
                assert one.json() == theirs["data"][1]
                assert (await talk.client.get(path)).json() == openais["data"][1]


@pytest.mark.parametrize(
    "name", ["%2e%2e%2fm", "../m", "org%252Fa:1b", "m%00", "%ff", "%2Fm", "m%2F..%2Fm", "%25"]
)
async def test_a_name_in_a_path_is_decoded_once_and_only_looked_up(
    name: str, tmp_path: Path
) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        head = f"GET /v1/models/{name} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {talk.key}\r\n"
        reader, writer = await talk.raw(head.encode() + b"connection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"no_such_model" in answer
