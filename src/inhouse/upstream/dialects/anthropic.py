"""Anthropic's dialect, for engines that speak it: parsed, rendered, and its errors.

What is inside messages is in anthropic_content.py, the reading of answers in anthropic_read.py.
"""

from typing import Any

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.anthropic_content import read_messages, read_system
from inhouse.upstream.dialects.anthropic_read import reader
from inhouse.upstream.dialects.body import (
    READ_APART,
    answer_bound,
    at_most,
    bound_stop,
    decoded,
    invalid,
    model_of,
    open_body,
    strings,
    switch,
)
from inhouse.upstream.dialects.caps import bound_images, bound_schemas
from inhouse.upstream.dialects.fields import OFF, admit, speaking
from inhouse.upstream.dialects.shapes import Ask, Rendered

PATHS = {
    Operation.MESSAGE: "/v1/messages",
    Operation.COUNT_TOKENS: "/v1/messages/count_tokens",
}


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None


_TOOLS = msgspec.json.Decoder(list[_Tool] | None)


def parse(
    operation: Operation, body: bytes, limits: LimitsSection, extra_fields: frozenset[str]
) -> Ask:
    """One Ask, or the Refusal that says which field is wrong and what would be right."""
    fields = admit(operation, open_body(body), extra_fields)
    ask = Ask(
        dialect=Dialect.ANTHROPIC,
        operation=operation,
        model=model_of(fields),
        stream=switch(fields, "stream"),
        fields=fields,
        texts=read_system(fields["system"]) if "system" in fields else [],
        max_tokens=_bound(fields) if operation is Operation.MESSAGE else None,
    )
    bound_stop(fields, "stop_sequences", limits)
    bound_schemas(fields, limits)
    if "tools" in fields:
        _refuse_hosted(decoded(fields["tools"], _TOOLS, "tools") or [])
    _read_messages(ask, limits)
    for name, raw in fields.items():
        if name not in READ_APART and speaking(operation, name):
            ask.texts.extend(strings(raw))
    return ask


def _bound(fields: dict[str, msgspec.Raw]) -> int:
    bound = answer_bound(fields, "max_tokens", 1)
    if bound is None:
        raise invalid("max_tokens", "missing: the most tokens that the answer may have is required")
    return bound


def _refuse_hosted(tools: list[_Tool]) -> None:
    for place, tool in enumerate(tools):
        if tool.type not in (None, "custom"):
            raise invalid(
                "tools",
                f"at [{place}], type {tool.type[:60]!r} is one of Anthropic's own tools, which no "
                "engine here has; only tools with a name and an input_schema are accepted",
            )


def _read_messages(ask: Ask, limits: LimitsSection) -> None:
    if "messages" not in ask.fields:
        raise invalid("messages", "missing: a list of messages is required")
    read = read_messages(ask.fields["messages"])
    at_most("messages", read.messages, limits.max_messages, "messages", "limits.max_messages")
    bound_images("messages", read.images, limits)
    ask.texts.extend(read.texts)
    ask.last_text = read.last_text
    ask.facts["blocks"] = read.types


class _Output(msgspec.Struct):
    format: Any = None


_OUTPUT = msgspec.json.Decoder(_Output | None)
_DROPPED_BLOCKS = frozenset({"document", "search_result"})


def dropped_by_llamacpp(ask: Ask) -> bool:
    """Whether a request holds what llama.cpp's own API passes over in silence: documents,
    search results, and the format of the answer."""
    blocks = ask.facts["blocks"]
    assert isinstance(blocks, frozenset)  # set by parse
    if blocks & _DROPPED_BLOCKS or ask.operation is Operation.COUNT_TOKENS:
        return bool(blocks & _DROPPED_BLOCKS)
    if bytes(ask.fields.get("output_format", msgspec.Raw(b"null"))) not in OFF:
        return True
    raw = ask.fields.get("output_config")
    output = decoded(raw, _OUTPUT, "output_config") if raw is not None else None
    return output is not None and output.format is not None


def render(ask: Ask, engine_model: str, max_tokens: int | None) -> Rendered:
    """The request for an engine: the client's values as they came, under the engine's name.

    `max_tokens` bounds the answer where the client set a higher bound.
    """
    members = {**ask.fields, "model": msgspec.Raw(msgspec.json.encode(engine_model))}
    if max_tokens is not None and ask.max_tokens is not None and ask.max_tokens > max_tokens:
        members["max_tokens"] = msgspec.Raw(b"%d" % max_tokens)
    return Rendered(PATHS[ask.operation], msgspec.json.encode(members), reader(ask))


def count_elsewhere(ask: Ask, *_: object) -> Rendered:
    """To count tokens needs the engine's own tokenizer, behind Anthropic's form of a request."""
    given = dropped_by_llamacpp(ask)
    what = "count the tokens of documents and search results" if given else "count tokens"
    sentence = f"this model's engine cannot {what}; a message's own `usage` tells what it took"
    raise Refusal(Code.NOT_SPOKEN, 400, sentence)


_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def _type(status: int) -> str:
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


class AnthropicErrors:
    """Anthropic's shape of errors, with the stable code as a further member."""

    def body(self, refusal: Refusal, request_id: str) -> bytes:
        error = {
            "type": _type(refusal.status),
            "message": refusal.sentence,
            "code": refusal.code.value,
        }
        if refusal.param is not None:
            error["param"] = refusal.param
        return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})

    def event(self, refusal: Refusal, request_id: str) -> bytes:
        return b"event: error\ndata: %b\n\n" % self.body(refusal, request_id)


ERRORS = AnthropicErrors()
