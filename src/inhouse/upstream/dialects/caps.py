"""Bounds on what burns an engine's time however short the prompt is.

Engines compile the schemas of tools and formats into grammars, and turn images into thousands of
tokens, before they look at any bound of ours.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.upstream.dialects.body import NULL, at_most, decoded, deeper_than, exceeded

_FORMATS = (
    *("response_format", "json_schema", "guided_json"),  # OpenAI's chat and completions, llama.cpp
    *("text", "output_config", "output_format", "format"),  # Responses, Anthropic, Ollama
)


class _Function(msgspec.Struct):
    parameters: msgspec.Raw = NULL


class _Tool(msgspec.Struct):
    """Where the dialects keep a tool's schema."""

    function: _Function | None = None
    parameters: msgspec.Raw = NULL
    input_schema: msgspec.Raw = NULL


_TOOLS = msgspec.json.Decoder(list[_Tool] | None)
_BIAS = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw] | None)


def bound_schemas(fields: Mapping[str, msgspec.Raw], limits: LimitsSection) -> None:
    """Raise a Refusal where there are too many tools, or their schemas are too much."""
    schemas = list(_schemas(fields, limits))
    size = 0
    for name, schema in schemas:
        size += len(schema)
        if size > limits.max_schema_bytes:
            most = limits.max_schema_bytes
            at_most(name, size, most, "bytes of schemas", "limits.max_schema_bytes")
        if deeper_than(bytes(schema), limits.max_schema_depth):
            sentence = f"a schema is nested in more than the {limits.max_schema_depth} levels"
            raise exceeded(name, sentence, "limits.max_schema_depth")


def _schemas(
    fields: Mapping[str, msgspec.Raw], limits: LimitsSection
) -> Iterator[tuple[str, msgspec.Raw]]:
    for name in ("tools", "functions"):
        if name not in fields:
            continue
        tools = decoded(fields[name], _TOOLS, name) or []
        at_most(name, len(tools), limits.max_tools, "tools", "limits.max_tools")
        for tool in tools:
            parameters = tool.function.parameters if tool.function else tool.parameters
            yield from ((name, it) for it in (parameters, tool.input_schema) if it != NULL)
    for name in _FORMATS:
        if name in fields:
            yield name, fields[name]


def bound_images(name: str, images: Iterable[int], limits: LimitsSection) -> None:
    """Raise a Refusal where there are too many images. Each is a number of base64 characters."""
    sizes = [3 * chars // 4 for chars in images]
    at_most(name, len(sizes), limits.max_images, "images", "limits.max_images")
    largest, most = max(sizes, default=0), limits.max_image_bytes
    at_most(name, largest, most, "bytes of one image", "limits.max_image_bytes")


def bound_bias(fields: Mapping[str, msgspec.Raw], limits: LimitsSection) -> None:
    raw = fields.get("logit_bias")
    bias = decoded(raw, _BIAS, "logit_bias") if raw is not None else None
    most = limits.max_logit_bias
    at_most("logit_bias", len(bias or ()), most, "entries", "limits.max_logit_bias")
