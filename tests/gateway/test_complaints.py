"""An engine's complaint about a prompt ends there: no other engine is asked, none is blamed."""

import json
from pathlib import Path

import pytest
from tests.gateway.harness import BODIES, ENDS, gateway

from inhouse.upstream.fake_engine import PROBE, FakeEngine, Faults, Seen, _Connection


class Complaining(FakeEngine):
    """Answers probes, and everything else with an error of llama.cpp's."""

    status = 500
    error: object = None
    asked = 0

    def answer(self, connection: _Connection, method: bytes, seen: Seen) -> None:
        if method != b"POST" or seen.headers.get("x-request-id") == PROBE.decode():
            super().answer(connection, method, seen)
            return
        self.asked += 1
        connection.whole(self.status, json.dumps({"error": self.error}).encode())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", list(BODIES))
async def test_a_prompts_own_fault_is_refused_and_nobody_else_is_asked(
    path: str, stream: bool, tmp_path: Path
) -> None:
    async with (
        Complaining() as first,
        Complaining() as second,
        gateway(tmp_path, first, second) as talk,
    ):
        for engine in (first, second):
            engine.error = {"message": "image input is not supported - hint: ..."}
        for _ in range(5):
            answer = await talk.post(path, stream=stream)
            assert answer.status_code == 400
            assert "'m' takes no image input" in answer.text
            assert "engine_refused" in answer.text
        assert first.asked + second.asked == 5
        for engine in (first, second):
            engine.status = 400
            engine.error = {
                "message": "request (9031 tokens) exceeds the available context size (4096 tokens)",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9031,
                "n_ctx": 4096,
            }
        answer = await talk.post(path, stream=stream)
        assert answer.status_code == 400
        assert "the prompt has 9031 tokens; 'm' takes at most 4096 with its answer" in answer.text
        assert "context_length_exceeded" in answer.text
        assert ENDS[path] not in answer.content
        row = await talk.audited_last()
        assert (row.outcome, row.code) == ("refused", "context_length_exceeded")
        assert (await talk.admin.get("/readyz")).status_code == 200
        metrics = (await talk.admin.get("/metrics")).text
        assert "inhouse_failovers_total{" not in metrics


async def test_a_broken_response_ends_with_an_error_event(tmp_path: Path) -> None:
    faults = Faults(tokens=9, rate=100, cut_at=900)
    async with FakeEngine(faults) as engine, gateway(tmp_path, engine) as talk:
        answer = await talk.post("/v1/responses", stream=True)
        *_, name, data = answer.text.rstrip().splitlines()
        assert name == "event: error"
        said = json.loads(data.removeprefix("data: "))
        assert (said["type"], said["code"]) == ("error", "answer_truncated")


class Short(FakeEngine):
    """An engine of 2,048 tokens of context, that says so as vLLM does."""

    def answer(self, connection: _Connection, method: bytes, seen: Seen) -> None:
        asked = json.loads(seen.body or b"{}").get("max_tokens", 1)
        if method == b"POST" and asked + 48 > 2048:
            message = (
                "'max_tokens' or 'max_completion_tokens' is too large: "
                f"{asked}. This model's maximum context length is 2048 tokens and your request "
                f"has 48 input tokens ({asked} > 2048 - 48)."
            )
            error = {"message": message, "type": "BadRequestError", "code": 400}
            connection.whole(400, json.dumps({"error": error}).encode())
            return
        super().answer(connection, method, seen)


async def test_a_client_that_set_no_bound_gets_the_room_that_there_is(tmp_path: Path) -> None:
    path = "/v1/chat/completions"
    async with Short(Faults(tokens=2)) as engine, gateway(tmp_path, engine, kind="vllm") as talk:
        for stream in (True, False):
            assert (await talk.post(path, stream=stream)).status_code == 200
            assert json.loads(engine.requests[-1].body)["max_tokens"] == 2000
        answer = await talk.post(path, max_tokens=3000)
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        assert {row.outcome for row in talk.audited()[:2]} == {"answered"}


class Fickle(Short):
    """Says what room there is, and hangs up on who takes it."""

    def answer(self, connection: _Connection, method: bytes, seen: Seen) -> None:
        if method == b"POST" and json.loads(seen.body or b"{}").get("max_tokens") == 2000:
            connection.transport.abort()
            return
        super().answer(connection, method, seen)


async def test_an_engine_that_fails_on_the_room_it_named_is_followed_by_another(
    tmp_path: Path,
) -> None:
    async with (
        Fickle() as first,
        FakeEngine(Faults(tokens=2)) as second,
        gateway(tmp_path, first, second, kind="vllm") as talk,
    ):
        for _ in range(4):
            assert (await talk.post("/v1/chat/completions")).status_code == 200
