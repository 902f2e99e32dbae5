"""Paths: what is not there says what was meant."""

from pathlib import Path

import pytest
from tests.gateway.harness import gateway

from inhouse.errors import Code, Refusal
from inhouse.gateway.routes import find
from inhouse.upstream.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("path", "meant", "base"),
    [
        ("/chat/completions", "/v1/chat/completions", "OpenAI's clients is http://THIS-HOST/v1"),
        ("/v1/v1/chat/completions", "/v1/chat/completions", "http://THIS-HOST/v1"),
        ("/v1/v1/messages", "/v1/messages", "Anthropic's clients is http://THIS-HOST"),
        ("/api/v1/chat/completions", "/v1/chat/completions", "http://THIS-HOST/v1"),
        ("/v1/models/", "/v1/models", "http://THIS-HOST/v1"),
        ("/v1/chat/completions/", "/v1/chat/completions", "http://THIS-HOST/v1"),
        ("/v1/api/chat", "/api/chat", "Ollama's clients is http://THIS-HOST"),
        ("/tags", "/api/tags", "http://THIS-HOST"),
    ],
)
def test_a_wrong_base_url_is_named(path: str, meant: str, base: str) -> None:
    with pytest.raises(Refusal) as caught:
        find(b"POST", path.encode())
    assert (caught.value.code, caught.value.status) == (Code.NO_SUCH_ROUTE, 404)
    assert f"did you mean {meant}? The base URL for " in caught.value.sentence
    assert caught.value.sentence.endswith(base)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/api", "/api/pull", "/nowhere", "//", "/v1/v1"])
def test_what_is_near_nothing_has_no_hint(path: str) -> None:
    with pytest.raises(Refusal) as caught:
        find(b"GET", path.encode())
    assert caught.value.sentence == f"there is nothing at {path}"


async def test_a_wrong_method_is_told_the_right_ones(tmp_path: Path) -> None:
    async with FakeEngine() as engine, gateway(tmp_path, engine) as talk:
        for method, path, methods in (
            ("POST", "/v1/models", "GET, HEAD"),
            ("GET", "/v1/chat/completions", "POST"),
            ("DELETE", "/v1/models/m", "GET, HEAD"),
        ):
            answer = await talk.client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)
