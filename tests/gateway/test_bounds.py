"""What a client asks for is bounded by the model, and the answer says that it was."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.harness import BODIES, gateway

from inhouse.upstream.fake_engine import FakeEngine, Faults

HIGHER: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"max_completion_tokens": 128_000},
    "/v1/completions": {"max_tokens": 1e6},
    "/v1/responses": {"max_output_tokens": -1},
    "/v1/messages": {"max_tokens": 128_000},
    "/api/chat": {"options": {"num_predict": 128_000}},
    "/api/generate": {"options": {"num_predict": -1}},
}
CUT_SHORT = {
    "/v1/chat/completions": '"finish_reason":"length"',
    "/v1/completions": '"finish_reason":"length"',
    "/v1/responses": '"reason":"max_output_tokens"',
    "/v1/messages": '"stop_reason":"max_tokens"',
    "/api/chat": '"done_reason":"length"',
    "/api/generate": '"done_reason":"length"',
}


@pytest.mark.parametrize("kind", ["openai", "vllm", "ollama"])
@pytest.mark.parametrize("path", list(BODIES))
async def test_a_higher_bound_than_the_models_is_the_models(
    path: str, kind: str, tmp_path: Path
) -> None:
    async with FakeEngine(Faults(tokens=9)) as engine:
        source = f"{kind}://127.0.0.1:{engine.port}/m"
        toml = f"[models.m]\nengines = {json.dumps([source])}\nmax_output_tokens = 3\n"
        async with gateway(tmp_path, engine, toml=toml) as talk:
            for asked in (HIGHER[path], {}):
                for stream in (True, False):
                    answer = await talk.post(path, stream=stream, **asked)
                    assert answer.status_code == 200, answer.text
                    assert CUT_SHORT[path] in answer.text
                    assert (await talk.audited_last()).completion_tokens == 3
