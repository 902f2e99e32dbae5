"""Paths: what is not there says what was meant."""

import pytest

from inhouse.errors import Code, Refusal
from inhouse.gateway.routes import find


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
