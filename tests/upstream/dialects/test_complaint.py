"""Engines' error answers: what the client is told, and what is the engine's own fault."""

import json
from typing import Any

import pytest

from inhouse.errors import Code
from inhouse.upstream.dialects.complaint import refusal_of

TOO_LONG, REFUSED = Code.CONTEXT_LENGTH_EXCEEDED, Code.ENGINE_REFUSED
BOTH = "the prompt has 9031 tokens; 'chat' takes at most 4096 with its answer"
SHORTER = (
    "the prompt has 30 tokens; 'chat' takes at most 4096 with its answer: ask for a shorter one"
)
LLAMACPP = {
    "code": 400,
    "message": "request (9031 tokens) exceeds the available context size (4096 tokens), try ...",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 9031,
    "n_ctx": 4096,
}
MOST = "This model's maximum context length is 4096 tokens"


def body(error: Any) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (LLAMACPP, BOTH),
        (LLAMACPP["message"], BOTH),
        (
            {"message": "input (9031 tokens) is larger than the max context size (4096 tokens)."},
            BOTH.removesuffix(" with its answer"),
        ),
        (
            {
                "message": f"{MOST}. However, you requested 9131 tokens (9031 in the messages, "
                "100 in the completion)."
            },
            BOTH,
        ),
        ({"message": f"{MOST}. However, your request has 9031 input tokens."}, BOTH),
        ({"message": f"{MOST}. However, your messages resulted in 9031 tokens."}, BOTH),
        (
            {
                "message": f"{MOST}. However, you requested 100 output tokens and your prompt "
                "contains at least 9031 input tokens, for a total of at least 9131 tokens."
            },
            BOTH,
        ),
        (
            {
                "message": "The decoder prompt (length 9031) is longer than the maximum model "
                "length of 4096. Make sure that `max_model_len` is no smaller"
            },
            BOTH,
        ),
        (
            {
                "message": f"'max_tokens' or 'max_completion_tokens' is too large: 9000. {MOST} "
                "and your request has 30 input tokens (9000 > 4096 - 30)."
            },
            SHORTER,
        ),
        (
            {"message": f"{MOST}."},
            "the prompt is too long: 'chat' takes at most 4096 tokens with its answer",
        ),
        (
            "the input length exceeds the context length",
            "the prompt is too long: 'chat' takes no such length with its answer",
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_a_prompt_that_is_too_long(error: Any, sentence: str, status: int) -> None:
    refusal = refusal_of(status, body(error), "chat")
    assert refusal is not None
    assert (refusal.code, refusal.status, refusal.sentence) == (TOO_LONG, 400, sentence)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "image input is not supported - hint: if this is unexpected, you may need to ...",
            "'chat' takes no image input; send text, or ask a model that does",
        ),
        (
            "audio input is not supported - hint: if this is unexpected, you may need to ...",
            "'chat' takes no audio input; send text, or ask a model that does",
        ),
        (
            "input (602 tokens) is too large to process. increase the physical batch size "
            "(current batch size: 512)",
            "the input has 602 tokens; 'chat' takes at most 512 at once: send it in parts",
        ),
        (
            "input is too large to process. increase ... (current batch size: 512)",
            "the input is too large; 'chat' takes at most 512 at once: send it in parts",
        ),
    ],
)
def test_what_llamacpp_calls_its_own_fault_and_is_the_prompts(message: str, sentence: str) -> None:
    refusal = refusal_of(500, body({"message": message, "type": "server_error"}), "chat")
    assert refusal is not None
    assert (refusal.code, refusal.status, refusal.sentence) == (REFUSED, 400, sentence)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405, 408, 429, 500, 502, 503])
def test_what_is_not_the_clients_doing(status: int) -> None:
    assert refusal_of(status, body({"message": "no"}), "chat") is None
    assert refusal_of(status, b"<html>", "chat") is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (body({"message": "temperature must be a number"}), "temperature must be a number"),
        (body("no such thing"), "no such thing"),
        (body({"message": "x" * 9000}), "x" * 500),
        (body({}), "no reason given"),
        (body(7), "no reason given"),
        (b"", "no reason given"),
        (b"\xff", "no reason given"),
        (b"[" * 9000, "no reason given"),
    ],
)
def test_the_engines_own_words(said: bytes, words: str) -> None:
    refusal = refusal_of(422, said, "chat")
    assert refusal is not None
    assert (refusal.code, refusal.status) == (REFUSED, 400)
    assert refusal.sentence == f"the engine refused the request: {words}"
