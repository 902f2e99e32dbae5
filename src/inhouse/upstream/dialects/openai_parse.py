"""Reads a request in OpenAI's dialect into one Ask, and refuses what may not go to an engine."""

import re
from collections.abc import Callable

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.upstream.dialects.body import (
    MOST_DIMENSIONS,
    NULL,
    READ_APART,
    answer_bound,
    at_most,
    bound_depth,
    bound_stop,
    decoded,
    integer,
    invalid,
    located,
    model_of,
    open_body,
    strings,
    switch,
)
from inhouse.upstream.dialects.caps import bound_bias, bound_images, bound_schemas
from inhouse.upstream.dialects.fields import admit, speaking
from inhouse.upstream.dialects.openai_content import read_input, read_messages, straightened
from inhouse.upstream.dialects.shapes import Ask

BOUNDS = {
    Operation.CHAT: ("max_tokens", "max_completion_tokens"),
    Operation.COMPLETION: ("max_tokens",),
    Operation.RESPONSE: ("max_output_tokens",),
    Operation.EMBEDDING: (),
}
"""The fields that bound an answer; the first is the one that we set where the client set none."""

_CHOICES_BOUND = "limits.max_choices"
_LOGPROBS_BOUND = "limits.max_logprobs"


def parse(
    operation: Operation, body: bytes, limits: LimitsSection, extra_fields: frozenset[str]
) -> Ask:
    """One Ask, or the Refusal that says which field is wrong and what would be right."""
    fields = admit(operation, open_body(body), extra_fields)
    ask = Ask(
        dialect=Dialect.OPENAI,
        operation=operation,
        model=model_of(fields),
        stream=operation is not Operation.EMBEDDING and switch(fields, "stream"),
        fields=fields,
        texts=[],
    )
    _bound_answer(ask, limits)
    if len(fields) > len(_PLAIN.intersection(fields)):
        _read_odds(ask, limits)
    _READ[operation](ask, limits)
    return ask


def _bound_answer(ask: Ask, limits: LimitsSection) -> None:
    fields = ask.fields
    least = 0 if ask.operation is Operation.COMPLETION else 1  # 0: score the prompt, with echo
    for name in BOUNDS[ask.operation]:
        if name in fields:
            bound = answer_bound(fields, name, least, unset=-1)
            if bound is None:
                fields[name] = NULL
            else:
                ask.max_tokens = max(bound, ask.max_tokens or 0)  # engines differ in whom to heed
    for name in ("n", "best_of"):
        if name in fields:
            choices = integer(fields, name, 1, limits.max_choices, _CHOICES_BOUND)
            ask.choices = max(ask.choices, choices or 1)


_PLAIN = frozenset(
    {"model", "messages", "prompt", "input", "stream", "temperature", "top_p", "seed"}
    | {"n", "best_of", "max_tokens", "max_completion_tokens", "max_output_tokens"}
)
"""What is read elsewhere, or needs no reading: most requests have nothing else."""


def _read_odds(ask: Ask, limits: LimitsSection) -> None:
    fields = ask.fields
    bound_stop(fields, "stop", limits)
    _bound_logprobs(ask, limits)
    if "stream_options" in fields:
        options = decoded(fields["stream_options"], _STREAM_OPTIONS, "stream_options")
        ask.wants_usage = bool(ask.stream and options and options.include_usage)
    if "chat_template_kwargs" in fields:
        _refuse_template(fields["chat_template_kwargs"])
    bound_bias(fields, limits)
    bound_schemas(fields, limits)
    if "tools" in fields:
        _refuse_hosted(decoded(fields["tools"], _TOOLS, "tools") or [])
    for name, raw in fields.items():
        if name not in READ_APART and speaking(ask.operation, name):
            ask.texts.extend(strings(raw))


def _bound_logprobs(ask: Ask, limits: LimitsSection) -> None:
    for name in ("top_logprobs", "prompt_logprobs"):
        integer(ask.fields, name, 0, limits.max_logprobs, _LOGPROBS_BOUND)
    if ask.operation is Operation.COMPLETION:
        integer(ask.fields, "logprobs", 0, limits.max_logprobs, _LOGPROBS_BOUND)


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _TemplateOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Whether a model thinks aloud. Everything else in a template is the model's own."""

    enable_thinking: bool | None = None
    thinking: bool | None = None


class _Tool(msgspec.Struct):
    type: str


def _refuse_template(raw: msgspec.Raw) -> None:
    try:
        _TEMPLATE_OPTIONS.decode(raw)
    except msgspec.DecodeError as error:
        raise invalid(
            "chat_template_kwargs",
            f"{located(error)}; only 'enable_thinking' and 'thinking' may be set, to true or "
            "false: the rest of a template is the model's own",
        ) from error


_STREAM_OPTIONS = msgspec.json.Decoder(_StreamOptions | None)
_TEMPLATE_OPTIONS = msgspec.json.Decoder(_TemplateOptions | None)
_TOOLS = msgspec.json.Decoder(list[_Tool] | None)
_CLIENTS_TOOLS = frozenset(("function", "custom"))


def _refuse_hosted(tools: list[_Tool]) -> None:
    for place, tool in enumerate(tools):
        if tool.type not in _CLIENTS_TOOLS:
            raise invalid(
                "tools",
                f"at [{place}], type {tool.type[:60]!r} would run on the server, which has no such "
                "tool; only 'function' and 'custom' tools, which the client runs, are accepted",
            )


def _read_chat(ask: Ask, limits: LimitsSection) -> None:
    if "messages" not in ask.fields:
        raise invalid("messages", "missing: a list of messages is required")
    read = read_messages(ask.fields["messages"])
    _bound_messages("messages", read.messages, limits)
    if read.images:
        bound_images("messages", read.images, limits)
    if read.is_odd:
        ask.fields["messages"] = straightened(ask.fields["messages"])
    ask.texts.extend(read.texts)
    ask.last_text = read.last_text


def _bound_messages(name: str, count: int, limits: LimitsSection) -> None:
    at_most(name, count, limits.max_messages, "messages", "limits.max_messages")


def _read_response(ask: Ask, limits: LimitsSection) -> None:
    if "input" not in ask.fields:
        raise invalid("input", "missing: a text or a list of items is required")
    read = read_input(ask.fields["input"])
    _bound_messages("input", read.messages, limits)
    bound_images("input", read.images, limits)
    ask.texts.extend(read.texts)
    ask.last_text = read.last_text


_TEXTS = msgspec.json.Decoder(str | list[str])
_TOKENS = re.compile(rb"\s*\[[\d\s,]*\]\s*")
_TOKEN_LISTS = re.compile(rb"\s*\[[\d\s,\[\]]*\]\s*")


def _texts_of(raw: msgspec.Raw, name: str) -> tuple[list[str], int]:
    """The texts of a prompt or an embedding's input, and how many it holds, tokens included.

    Lists of token ids hold no text, and are not decoded: a body could bring millions.
    """
    data = bytes(raw)
    if _TOKENS.fullmatch(data):
        return [], int(b"," in data or data.strip(b" \t\r\n[]") != b"")
    if _TOKEN_LISTS.fullmatch(data):
        bound_depth(data)
        return [], data.count(b"[") - 1
    texts = decoded(raw, _TEXTS, name)
    return (texts, len(texts)) if isinstance(texts, list) else ([texts], 1)


def _read_prompt(ask: Ask, limits: LimitsSection) -> None:
    if "prompt" not in ask.fields:
        raise invalid("prompt", "missing: a text, or a list of texts, is required")
    texts, count = _texts_of(ask.fields["prompt"], "prompt")
    if not count:
        raise invalid("prompt", "empty: a text, or a list of texts, is required")
    ask.choices *= count
    at_most("prompt", ask.choices, limits.max_choices, "answers", _CHOICES_BOUND)
    ask.texts.extend(texts)
    ask.last_text = texts[-1] if texts else ""


def _read_embedding(ask: Ask, limits: LimitsSection) -> None:
    if "input" not in ask.fields:
        raise invalid("input", "missing: a text, or a list of texts, is required")
    texts, count = _texts_of(ask.fields["input"], "input")
    most = limits.max_embedding_inputs
    at_most("input", count, most, "texts", "limits.max_embedding_inputs")
    if not count:
        raise invalid("input", "empty: at least one text is required")
    ask.facts["inputs"] = count
    dimensions = integer(ask.fields, "dimensions", 1, MOST_DIMENSIONS, "any model")
    if dimensions is not None:
        ask.facts["dimensions"] = dimensions
    ask.texts.extend(texts)
    ask.last_text = texts[-1] if texts else ""


_READ: dict[Operation, Callable[[Ask, LimitsSection], None]] = {
    Operation.CHAT: _read_chat,
    Operation.COMPLETION: _read_prompt,
    Operation.RESPONSE: _read_response,
    Operation.EMBEDDING: _read_embedding,
}
