"""A request's way, from the socket to the log, over engines that behave and engines that do not."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.harness import BODIES, ENDS, gateway

from inhouse.upstream.fake_engine import FakeEngine, Faults

ROUTES = list(BODIES)


@pytest.mark.parametrize("path", ROUTES)
async def test_whole_answers(path: str, tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=3)) as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post(path, stream=False)
        assert answer.status_code == 200, answer.text
        assert "hello hello hello" in answer.text
        row = await talk.audited_last()
        assert (row.outcome, row.completion_tokens, row.engine) == (
            "answered",
            3,
            f"m@127.0.0.1:{engine.port}",
        )
        assert talk.verify() == []


@pytest.mark.parametrize("path", ROUTES)
async def test_streamed_answers(path: str, tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=3)) as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post(path, stream=True)
        assert answer.status_code == 200, answer.text
        assert answer.text.count("hello") >= 3
        assert ENDS[path] in answer.content.rstrip().splitlines()[-1] + answer.content
        row = await talk.audited_last()
        assert (row.outcome, row.completion_tokens) == ("answered", 3)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize("stream", [True, False])
async def test_what_the_engine_speaks_is_passed_on_byte_for_byte(
    path: str, stream: bool, tmp_path: Path
) -> None:
    async with FakeEngine(Faults(tokens=5)) as engine, gateway(tmp_path, engine) as talk:
        through = await talk.post(path, stream=stream, stream_options={"include_usage": True})
        direct = await talk.client.post(engine.url + path, content=engine.requests[-1].body)
        assert through.content == direct.content


async def test_a_client_that_asked_for_no_usage_gets_none(tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post("/v1/chat/completions", stream=True)
        assert "usage" not in answer.text
        row = await talk.audited_last()
        assert row.completion_tokens == 2


async def test_clients_see_the_alias_and_engines_their_own_name(tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine:
        toml = f'[models.m]\nengines = ["vllm://127.0.0.1:{engine.port}/meta/llama"]\n'
        async with gateway(tmp_path, engine, toml=toml) as talk:
            for path in ROUTES:
                for stream in (True, False):
                    answer = await talk.post(path, stream=stream)
                    assert answer.status_code == 200
                    assert "meta/llama" not in answer.text
                    assert '"model":"m"' in answer.text
                    assert json.loads(engine.requests[-1].body)["model"] == "meta/llama"


async def test_nothing_of_the_client_reaches_the_engine_but_what_was_parsed(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.client.post(
            "/v1/chat/completions",
            headers={"x-forwarded-for": "1.2.3.4", "x_user": "root", "cookie": "a=b"},
            content=b'{"model":"other","messages":[{"role":"user","content":"hi"}],"model":"m",'
            b'"user":"me"}',
        )
        assert answer.status_code == 415
        answer = await talk.client.post(
            "/v1/chat/completions",
            headers={
                "x-forwarded-for": "1.2.3.4",
                "x_user": "root",
                "cookie": "a=b",
                "content-type": "application/json",
            },
            content=b'{"model":"other","messages":[{"role":"user","content":"hi"}],"model":"m",'
            b'"user":"me"}',
        )
        assert answer.status_code == 200
        seen = engine.requests[-1]
        assert set(seen.headers) == {"host", "content-type", "content-length", "x-request-id"}
        assert seen.headers["x-request-id"] == answer.headers["x-request-id"]
        assert seen.body.count(b'"model"') == 1
        assert json.loads(seen.body)["model"] == "m"
        assert b"me" not in seen.body.replace(b"messages", b"")


async def every_cut(
    tmp_path: Path, path: str, step: int, reset: bool
) -> list[tuple[int, int, bytes]]:
    """(cut, status, body) for a stream cut at every `step`-th byte, and for the whole one."""
    toml = "[limits]\nrequests_per_minute = 0\n"
    async with FakeEngine(Faults(tokens=2)) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        whole = await talk.post(path, stream=True)
        assert ENDS[path] in whole.content
        direct = await talk.client.post(
            engine.url + engine.requests[-1].path, content=engine.requests[-1].body
        )
        size = len(direct.content)
        results = []
        for cut in range(0, size, step):
            engine.faults = Faults(tokens=2, cut_at=cut, reset=reset)
            answer = await talk.post(path, stream=True)
            results.append((cut, answer.status_code, answer.content))
        outcomes = {row.outcome for row in talk.audited()[1:]}
        assert outcomes <= {"truncated", "failed"}, outcomes
        assert talk.verify() == []
    return results


@pytest.mark.parametrize(
    ("path", "step", "reset"),
    [
        ("/v1/chat/completions", 1, False),
        ("/v1/chat/completions", 13, True),
        ("/v1/completions", 7, False),
        ("/v1/responses", 11, False),
        ("/v1/messages", 7, False),
        ("/api/chat", 7, False),
        ("/api/generate", 11, True),
    ],
)
async def test_a_cut_stream_is_never_shown_as_complete(
    path: str, step: int, reset: bool, tmp_path: Path
) -> None:
    for cut, status, body in await every_cut(tmp_path, path, step, reset):
        assert ENDS[path] not in body, f"cut at byte {cut}"
        if status == 200:
            last = body.rstrip().splitlines()[-1]
            assert b"answer_truncated" in last, f"cut at byte {cut}: {last!r}"
        else:
            assert status == 502
            assert b"engine_failed" in body


@pytest.mark.parametrize("path", ROUTES)
async def test_native_anthropic_and_responses_streams_are_not_completed_either(
    path: str, tmp_path: Path
) -> None:
    faults = Faults(tokens=3, cut_at=400)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, kind="vllm") as talk:
        answer = await talk.post(path, stream=True)
        assert ENDS[path] not in answer.content
        assert b"answer_truncated" in answer.content or answer.status_code == 502


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "faults",
    [
        Faults(status=500),
        Faults(status=401),
        Faults(status=429),
        Faults(garbage=True),
        Faults(empty=True),
        Faults(tokens=3, cut_at=50),
        Faults(tokens=3, cut_at=0, reset=True),
    ],
    ids=str,
)
async def test_whole_answers_of_a_bad_engine_are_502(
    path: str, faults: Faults, tmp_path: Path
) -> None:
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post(path, stream=False)
        assert answer.status_code == 502
        assert answer.json()
        assert "engine_failed" in answer.text or path == "/v1/messages"
        assert answer.headers["retry-after"]
        row = await talk.audited_last()
        assert (row.outcome, row.code) == ("failed", "engine_failed")


@pytest.mark.parametrize(
    "faults",
    [Faults(tokens=8, rate=200, invented_done=True), Faults(tokens=8, rate=200, error_event_at=2)],
    ids=["invented", "error"],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/api/chat"])
async def test_an_end_that_the_engine_did_not_reach_is_not_believed(
    path: str, faults: Faults, tmp_path: Path
) -> None:
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post(path, stream=True)
        assert ENDS[path] not in answer.content
        assert b"answer_truncated" in answer.content
        row = await talk.audited_last()
        assert row.outcome == "truncated"


def clients_of(engine: FakeEngine) -> set[object]:
    """The addresses from which an engine is connected to."""
    return {each.transport.get_extra_info("peername") for each in engine.connections}


async def test_connections_to_engines_are_kept(tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=2)) as engine, gateway(tmp_path, engine) as talk:
        for stream in (True, False):
            await talk.post("/v1/chat/completions", stream=stream)
            ports = clients_of(engine)
            for _ in range(5):
                await talk.post("/v1/chat/completions", stream=stream)
            assert clients_of(engine) <= ports


async def test_another_engine_takes_over_before_the_first_byte(tmp_path: Path) -> None:
    bad = [Faults(status=500), Faults(garbage=True), Faults(empty=True), Faults(cut_at=0)]
    async with (
        FakeEngine() as first,
        FakeEngine() as second,
        gateway(tmp_path, first, second) as talk,
    ):
        for faults in bad:
            for broken, sound in ((first, second), (second, first)):
                broken.faults, sound.faults = faults, Faults(tokens=2)
                for stream in (True, False):
                    answers = await asyncio.gather(
                        *(talk.post("/v1/chat/completions", stream=stream) for _ in range(4))
                    )
                    assert [answer.status_code for answer in answers] == [200] * 4
        metrics = (await talk.admin.get("/metrics")).text
        assert "inhouse_failovers_total" in metrics
        assert {row.outcome for row in talk.audited()} == {"answered"}


async def test_an_engine_that_goes_away_is_noticed_and_one_that_comes_back_too(
    tmp_path: Path,
) -> None:
    async with FakeEngine() as first:
        port = first.port
        async with gateway(tmp_path, first) as talk:
            await first.__aexit__()
            answer = await talk.post("/v1/chat/completions")
            assert answer.status_code in {502, 503}
            for _ in range(100):
                if (await talk.admin.get("/readyz")).status_code == 503:
                    break
                await asyncio.sleep(0.05)
            answer = await talk.post("/v1/chat/completions")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_engine")
            async with FakeEngine(port=port):
                for _ in range(100):
                    if (await talk.admin.get("/readyz")).status_code == 200:
                        break
                    await asyncio.sleep(0.05)
                assert (await talk.post("/v1/chat/completions")).status_code == 200


async def test_a_wrong_model_behind_the_name_takes_no_traffic(tmp_path: Path) -> None:
    faults = Faults(wrong_model=True, spare_probes=False)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, wait=False) as talk:
        await asyncio.sleep(0.3)
        state = (await talk.admin.get("/readyz")).json()["models"]["m"][0]
        assert (state["state"], "another-model" in state["reason"]) == ("down", True)
        assert (await talk.post("/v1/chat/completions")).status_code == 503


@pytest.mark.parametrize("stall_at", [0, 300])
async def test_an_engine_that_goes_silent_is_given_up(stall_at: int, tmp_path: Path) -> None:
    toml = "[upstream]\nprobe_interval_s = 0.2\nstall_timeout_s = 0.3\nfirst_byte_timeout_s = 0.3\n"
    faults = Faults(tokens=9, stall_at=stall_at)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        answer = await talk.post("/v1/chat/completions", stream=True)
        if stall_at:
            assert b"answer_truncated" in answer.content
        else:
            assert answer.status_code == 502
        assert engine.abandoned


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_the_engine_at_once(stream: bool, tmp_path: Path) -> None:
    faults = Faults(tokens=500, rate=50, first_token_s=0.0 if stream else 20.0)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine) as talk:
        reader, writer = await talk.raw(talk.request("/v1/chat/completions", stream=stream))
        if stream:
            await reader.readuntil(b"hello")
        else:
            while not engine.open_streams:
                await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        left = loop.time()
        writer.close()
        while engine.open_streams and loop.time() < left + 5:
            await asyncio.sleep(0.005)
        assert len(engine.abandoned) == 1
        row = await talk.audited_last()
        assert row.outcome == "cancelled"
        metrics = (await talk.admin.get("/metrics")).text
        assert 'inhouse_abandoned_requests_total{model="m"} 1.0' in metrics
        assert 'inhouse_requests_running{model="m"} 0.0' in metrics


async def test_the_request_deadline_ends_a_stream_with_an_error(tmp_path: Path) -> None:
    toml = "[gateway]\nrequest_timeout_s = 1\n"
    faults = Faults(tokens=500, rate=20)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        answer = await talk.post("/v1/chat/completions", stream=True)
        assert b"deadline_exceeded" in answer.content
        assert b"[DONE]" not in answer.content
        assert engine.open_streams == 0
        row = await talk.audited_last()
        assert (row.outcome, row.code) == ("truncated", "deadline_exceeded")


def deep(levels: int) -> bytes:
    return b'{"model":"m","messages":' + b"[" * levels + b"]" * levels + b"}"


CHAT = BODIES["/v1/chat/completions"]
JSON = {"content-type": "application/json"}
BAD: list[tuple[str, dict[str, str], Any, int, str]] = [
    ("malformed", JSON, b'{"model":', 400, "invalid_json"),
    ("no object", JSON, b"[1]", 400, "invalid_json"),
    ("empty", JSON, b"", 400, "invalid_json"),
    ("deep", JSON, deep(100_000), 400, "invalid_json"),
    ("not utf-8", JSON, b'{"model":"\xff"}', 400, "invalid_json"),
    ("too large", JSON, b" " * 9_000_000, 413, "body_too_large"),
    ("wrong type", {"content-type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
    ("no type", {}, b"{}", 415, "unsupported_media_type"),
    ("unknown field", JSON, CHAT | {"max_token": 3}, 400, "unknown_field"),
    ("unknown model", JSON, CHAT | {"model": "nope"}, 404, "no_such_model"),
    ("n", JSON, CHAT | {"n": 1_000_000}, 400, "limit_exceeded"),
    ("negative", JSON, CHAT | {"max_tokens": -2}, 400, "invalid_field"),
    ("no model", JSON, {"messages": []}, 400, "invalid_field"),
    ("model is a number", JSON, CHAT | {"model": 3}, 400, "invalid_field"),
    ("messages is text", JSON, CHAT | {"messages": "hi"}, 400, "invalid_field"),
    ("template", JSON, CHAT | {"chat_template": "{{ 1 }}"}, 400, "invalid_field"),
]


async def test_bad_input_gets_one_clear_sentence(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        before = len([seen for seen in engine.requests if seen.headers["x-request-id"] != "probe"])
        for name, headers, body, status, code in BAD:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            answer = await talk.client.post(
                "/v1/chat/completions", headers=headers, content=content
            )
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (status, code), (name, answer.text)
            assert error["message"]
            assert error["request_id"] == answer.headers["x-request-id"]
        asked = [seen for seen in engine.requests if seen.headers["x-request-id"] != "probe"]
        assert len(asked) == before
        refused = [row for row in talk.audited() if row.outcome == "refused"]
        assert len(refused) == len(BAD)
        assert talk.verify() == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_credential"),
        ({"authorization": "Bearer wrong"}, "invalid_credential"),
        ({"authorization": "Basic abc"}, "invalid_credential"),
        ({"authorization": "Bearer"}, "invalid_credential"),
        ({"x-api-key": ""}, "invalid_credential"),
        ({"authorization": "Bearer a", "x-api-key": "b"}, "several_credentials"),
    ],
)
@pytest.mark.parametrize("path", [*ROUTES, "/v1/models", "/api/tags", "/v1/models/m"])
async def test_no_way_in_without_one_good_key(
    path: str, headers: dict[str, str], code: str, tmp_path: Path
) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        del talk.client.headers["authorization"]
        method = "POST" if path in BODIES else "GET"
        answer = await talk.client.request(
            method, path, headers=headers, json=BODIES.get(path) if method == "POST" else None
        )
        assert answer.status_code == 401
        assert code in answer.text or path == "/v1/messages"
        row = await talk.audited_last()
        assert (row.outcome, row.code) == ("denied", code)


@pytest.mark.parametrize(
    "path",
    ["/api/pull", "/api/delete", "/api/create", "/api/copy", "/api/push", "/api/blobs/x", "/v1",
     "/v1/chat/completions/", "//v1/chat/completions", "/V1/chat/completions", "/metrics",
     "/v1/chat/completions;x", "/v1/%63hat/completions", "/admin/v1/keys", "/slots", "/props"],
)  # fmt: skip
async def test_what_is_not_listed_does_not_exist(path: str, tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        before = len(engine.requests)
        for method in ("GET", "POST", "DELETE", "PUT"):
            answer = await talk.client.request(method, path)
            assert answer.status_code == 404
        assert all(s.headers["x-request-id"] == "probe" for s in engine.requests[before:])


async def test_rates_are_kept_and_say_when_to_come_again(tmp_path: Path) -> None:
    toml = "[limits]\nrequests_per_minute = 3\n"
    async with FakeEngine() as engine, gateway(tmp_path, engine, toml=toml) as talk:
        answers = [await talk.post("/v1/chat/completions") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 20


async def test_more_than_the_engine_serves_waits_its_turn(tmp_path: Path) -> None:
    async with FakeEngine(Faults(tokens=5, rate=50)) as engine:
        toml = (
            f'[engines.e]\nkind = "openai"\nurl = "{engine.url}"\nconcurrency = 2\n'
            '[models.m]\nengines = ["e"]\n'
        )
        async with gateway(tmp_path, engine, toml=toml) as talk:
            most = 0

            async def watch() -> None:
                nonlocal most
                while True:
                    most = max(most, engine.open_streams)
                    await asyncio.sleep(0.002)

            watcher = asyncio.create_task(watch())
            answers = await asyncio.gather(
                *(talk.post("/v1/chat/completions", stream=True) for _ in range(10))
            )
            watcher.cancel()
            assert [answer.status_code for answer in answers] == [200] * 10
            assert most == 2


async def test_sensitive_prompts_are_noted_or_blocked(tmp_path: Path) -> None:
    card = [{"role": "user", "content": "my card is 4111 1111 1111 1111"}]
    for mode, status in (("log", 200), ("block", 403), ("off", 200)):
        directory = tmp_path / mode
        directory.mkdir()
        toml = f'[dlp]\nprompt = "{mode}"\n'
        async with FakeEngine() as engine, gateway(directory, engine, toml=toml) as talk:
            answer = await talk.post("/v1/chat/completions", messages=card)
            assert answer.status_code == status
            assert "4111" not in answer.text
            row = await talk.audited_last()
            assert row.verdicts == (() if mode == "off" else ("payment-card",))


@pytest.mark.parametrize("path", ROUTES)
async def test_sensitive_answers_do_not_go_out(path: str, tmp_path: Path) -> None:
    said = "x " * 400 + "the card is 4111 1111 1111 1111 and more " + "y " * 400
    toml = '[dlp]\nanswer = "block"\n'
    faults = Faults(answer=said)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        for stream in (True, False):
            bound = {"max_tokens": 4000} if path == "/v1/messages" else {}
            answer = await talk.post(path, stream=stream, **bound)
            words = answer.text.replace('"', " ")
            assert "4111" not in words
            assert ENDS[path] not in answer.content
            assert "content_blocked" in answer.text or path == "/v1/messages"
            row = await talk.audited_last()
            assert row.verdicts == ("payment-card",)


async def test_harmless_answers_are_whole_behind_the_screen(tmp_path: Path) -> None:
    toml = '[dlp]\nanswer = "block"\n'
    faults = Faults(answer="word " * 600)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine, toml=toml) as talk:
        for path in ROUTES:
            bound = {"max_tokens": 4000} if path == "/v1/messages" else {}
            screened = await talk.post(path, stream=True, **bound)
            assert ENDS[path] in screened.content
            assert screened.text.count("word") >= 600


async def test_prompts_are_found_by_their_text_and_never_written(tmp_path: Path) -> None:
    secret = "the quarterly figures of the northern branch"
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post(
            "/v1/chat/completions", messages=[{"role": "user", "content": secret}]
        )
        assert answer.status_code == 200
        row = await talk.audited_last()
        assert len(row.fingerprint_last) == 64
        for file in (tmp_path / "data").rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes()


async def test_a_revoked_key_is_refused_within_a_second(tmp_path: Path) -> None:
    from inhouse.identity.keys import Keys

    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        assert (await talk.post("/v1/chat/completions")).status_code == 200
        await asyncio.to_thread(lambda: Keys(talk.config).revoke("first key"))
        await asyncio.sleep(1.0)
        assert (await talk.post("/v1/chat/completions")).status_code == 401


async def test_a_key_sees_and_uses_only_its_models(tmp_path: Path) -> None:
    from inhouse.identity.keys import Keys

    async with FakeEngine() as engine:
        source = f"openai://127.0.0.1:{engine.port}/m"
        toml = f'[models]\nm = "{source}"\nother = "{source}"\n'
        async with gateway(tmp_path, engine, toml=toml) as talk:
            made = await asyncio.to_thread(
                lambda: Keys(talk.config).create("anna", models=("other",))
            )
            talk.client.headers["authorization"] = f"Bearer {made.token.secret.reveal()}"
            await asyncio.sleep(1.0)
            listed = (await talk.client.get("/v1/models")).json()["data"]
            assert [model["id"] for model in listed] == ["other"]
            assert (await talk.post("/v1/chat/completions", model="other")).status_code == 200
            answer = await talk.post("/v1/chat/completions", model="m")
            assert answer.status_code == 404
            assert "there is: other" in answer.text


async def test_no_log_repeats_what_an_engine_quotes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A complaint may hold the prompt: the client sees it, the operator's log does not."""
    async with FakeEngine(Faults(status=500)) as engine, gateway(tmp_path, engine) as talk:
        for faults in (Faults(status=500), Faults(status=400), Faults(error_event_at=0)):
            engine.faults = faults
            await talk.post("/v1/chat/completions", stream=True)
    assert "answered with status 500" in caplog.text
    assert "this engine answers" not in caplog.text
    assert "the engine failed" not in caplog.text
