"""What burns an engine's time is bounded in every dialect, before an engine sees it."""

import json
from typing import Any

import pytest

from inhouse.config.schema import LimitsSection
from inhouse.domain import Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.table import parse

LIMITS = LimitsSection(
    max_tools=2,
    max_schema_bytes=400,
    max_schema_depth=8,
    max_images=2,
    max_image_bytes=9,
    max_logit_bias=2,
)
SAID: Any = [{"role": "user", "content": "hi"}]
CHAT, RESPONSE = Operation.CHAT, Operation.RESPONSE
MESSAGE, COUNT = Operation.MESSAGE, Operation.COUNT_TOKENS
OLLAMA, GENERATE = Operation.OLLAMA_CHAT, Operation.OLLAMA_GENERATE
LEAST: dict[Operation, dict[str, Any]] = {
    CHAT: {"messages": SAID},
    Operation.COMPLETION: {"prompt": "hi"},
    RESPONSE: {"input": "hi"},
    MESSAGE: {"messages": SAID, "max_tokens": 5},
    COUNT: {"messages": SAID},
    OLLAMA: {"messages": SAID},
    GENERATE: {"prompt": "hi"},
}


def refusal(operation: Operation, **fields: Any) -> Refusal | None:
    body = json.dumps({"model": "m"} | LEAST[operation] | fields).encode()
    try:
        parse(operation, body, LIMITS, frozenset())
    except Refusal as refused:
        caught = refused
    else:
        return None
    assert (caught.code, caught.status) == (Code.LIMIT_EXCEEDED, 400), caught.sentence
    return caught


def tool(operation: Operation, schema: Any) -> dict[str, Any]:
    if operation in (MESSAGE, COUNT):
        return {"name": "f", "description": "d" * 500, "input_schema": schema}
    function = {"name": "f", "description": "d" * 500, "parameters": schema}
    if operation is RESPONSE:
        return {"type": "function", **function}
    return {"type": "function", "function": function}


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels > 1 else {}


WITH_TOOLS = [CHAT, RESPONSE, MESSAGE, COUNT, OLLAMA]


@pytest.mark.parametrize("operation", WITH_TOOLS)
def test_tools_are_bounded_in_number_and_in_their_schemas(operation: Operation) -> None:
    small = tool(operation, {"type": "object"})
    assert refusal(operation, tools=[small] * 2) is None, "a description is no schema"
    assert refusal(operation, tools=[]) is None
    for tools, bound in (
        ([small] * 3, "limits.max_tools"),
        ([tool(operation, {"x": "y" * 400})], "limits.max_schema_bytes"),
        ([tool(operation, {"x": "y" * 200})] * 2, "limits.max_schema_bytes"),
        ([tool(operation, nested(9))], "limits.max_schema_depth"),
    ):
        refused = refusal(operation, tools=tools)
        assert refused is not None
        assert (refused.param, bound in refused.sentence) == ("tools", True), refused.sentence
    assert refusal(operation, tools=[tool(operation, nested(8))]) is None


FORMATS = [
    (CHAT, "response_format"),
    (CHAT, "json_schema"),
    (CHAT, "guided_json"),
    (Operation.COMPLETION, "response_format"),
    (RESPONSE, "text"),
    (MESSAGE, "output_config"),
    (MESSAGE, "output_format"),
    (OLLAMA, "format"),
    (GENERATE, "format"),
]


@pytest.mark.parametrize(("operation", "name"), FORMATS)
def test_formats_are_bounded(operation: Operation, name: str) -> None:
    assert refusal(operation, **{name: nested(8)}) is None
    for value, bound in (
        (nested(9), "limits.max_schema_depth"),
        ({"x": "y" * 400}, "limits.max_schema_bytes"),
    ):
        refused = refusal(operation, **{name: value})
        assert refused is not None
        assert (refused.param, bound in refused.sentence) == (name, True)


def test_functions_of_the_older_api_are_tools() -> None:
    refused = refusal(CHAT, functions=[{"name": "f", "parameters": nested(9)}])
    assert refused is not None
    assert refused.param == "functions"


def images(operation: Operation, *sizes: int) -> dict[str, Any]:
    """A request with images of these sizes in base64 characters."""
    texts = ["A" * size for size in sizes]
    if operation is GENERATE:
        return {"images": texts}
    if operation is OLLAMA:
        return {"messages": [{"role": "user", "content": "", "images": texts}]}
    if operation in (MESSAGE, COUNT):
        blocks: list[Any] = [
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": text},
            }
            for text in texts
        ]
        result = {"type": "tool_result", "tool_use_id": "t", "content": blocks[1:]}
        return {"messages": [{"role": "user", "content": [*blocks[:1], result]}]}
    urls = [f"data:image/png;base64,{text}" for text in texts]
    if operation is RESPONSE:
        parts: list[Any] = [{"type": "input_image", "image_url": url} for url in urls]
        return {"input": [{"role": "user", "content": parts}]}
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"messages": [{"role": "user", "content": parts}]}


@pytest.mark.parametrize("operation", [CHAT, RESPONSE, MESSAGE, COUNT, OLLAMA, GENERATE])
def test_images_are_bounded_in_number_and_size(operation: Operation) -> None:
    assert refusal(operation, **images(operation, 12, 12)) is None
    for sizes, bound in (((4, 4, 4), "limits.max_images"), ((4, 16), "limits.max_image_bytes")):
        refused = refusal(operation, **images(operation, *sizes))
        assert refused is not None
        assert bound in refused.sentence


@pytest.mark.parametrize("operation", [CHAT, Operation.COMPLETION])
def test_biases_are_bounded(operation: Operation) -> None:
    for bias in (None, {}, {"1": 2, "3": 4}, [[1, 2], [3, 4]]):
        assert refusal(operation, logit_bias=bias) is None
    for bias in ({str(n): 1 for n in range(3)}, [[n, 1] for n in range(3)]):
        refused = refusal(operation, logit_bias=bias)
        assert refused is not None
        assert refused.param == "logit_bias"
