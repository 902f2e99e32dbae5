"""Anthropic's dialect, for engines that speak it: parsed, rendered, and its errors.

What is inside messages is in anthropic_content.py, the reading of answers in anthropic_read.py.
"""

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Refusal
from inhouse.upstream.dialects.anthropic_content import read_messages, read_system
from inhouse.upstream.dialects.anthropic_read import reader
from inhouse.upstream.dialects.body import (
    READ_APART,
    at_most,
    bound_stop,
    decoded,
    integer,
    invalid,
    model_of,
    open_body,
    strings,
    switch,
)
from inhouse.upstream.dialects.fields import admit, speaking
from inhouse.upstream.dialects.shapes import Ask, Rendered

PATH = "/v1/messages"


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
        max_tokens=_bound(fields, limits),
    )
    bound_stop(fields, "stop_sequences", limits)
    if "tools" in fields:
        _refuse_hosted(decoded(fields["tools"], _TOOLS, "tools") or [])
    _read_messages(ask, limits)
    for name, raw in fields.items():
        if name not in READ_APART and speaking(operation, name):
            ask.texts.extend(strings(raw))
    return ask


def _bound(fields: dict[str, msgspec.Raw], limits: LimitsSection) -> int:
    bound = integer(fields, "max_tokens", 1, limits.max_output_tokens, "limits.max_output_tokens")
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
    texts, ask.last_text, count = read_messages(ask.fields["messages"])
    at_most("messages", count, limits.max_messages, "messages", "limits.max_messages")
    ask.texts.extend(texts)


def render(ask: Ask, engine_model: str, max_tokens: int | None) -> Rendered:
    """The request for an engine: the client's values as they came, under the engine's name.

    `max_tokens` is not needed: a message cannot come without a bound.
    """
    members = {**ask.fields, "model": msgspec.Raw(msgspec.json.encode(engine_model))}
    return Rendered(PATH, msgspec.json.encode(members), reader(ask))


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
