"""Reads a request in Ollama's dialect: bounded, by name, into one Ask."""

from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.ollama_fields import (
    FIELDS,
    OPTIONS_REFUSED,
    REFUSED,
    TYPES,
    Message,
    Options,
)
from inhouse.upstream.dialects.shapes import Ask

_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}
_ANY = msgspec.json.Decoder()
_OPTION_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = msgspec.Raw(b"null")
_EMPTY = (msgspec.Raw(b'""'), msgspec.Raw(b"[]"))


def parse(
    operation: Operation, body: bytes, limits: LimitsSection, extra_fields: Collection[str]
) -> Ask:
    """One Ask, or the Refusal that says which field is wrong and what would be right.

    An empty `messages` or `prompt` is Ollama's way to have a model loaded; it is marked in
    `facts["load"]` and answered by an engine with one token, as proof that the model is there.
    """
    fields = _named_fields(operation, body, extra_fields)
    values = {name: _value(name, raw) for name, raw in fields.items()}
    ask = Ask(
        dialect=Dialect.OLLAMA,
        operation=operation,
        model=_model(values),
        stream=operation is not Operation.OLLAMA_EMBED and values.get("stream", True),
        fields=fields,
        texts=[],
    )
    _bound(ask, values, limits)
    _read_content(ask, values, limits)
    ask.texts.extend(text for name in ("tools", "format") for text in _strings(values.get(name)))
    ask.texts.extend(text for name in extra_fields for text in _strings(values.get(name)))
    return ask


def _named_fields(
    operation: Operation, body: bytes, extra_fields: Collection[str]
) -> dict[str, msgspec.Raw]:
    """The fields that were set, every one of them known. A null is as good as nothing."""
    try:
        fields = _BODY.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(Code.INVALID_JSON, 400, "the body must be a JSON object") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refusal(Code.INVALID_JSON, 400, f"the body is not valid JSON: {error}") from error
    fields = {name: raw for name, raw in fields.items() if raw != _NULL}
    known = FIELDS[operation]
    for name in fields:
        if name in extra_fields:
            continue
        if name in REFUSED and name in known:
            _refuse_unless_empty(name, fields[name])
        elif name not in known:
            raise Refusal(Code.UNKNOWN_FIELD, 400, f"'{name}' is not a known field", param=name)
    return {name: raw for name, raw in fields.items() if name not in REFUSED}


def _refuse_unless_empty(name: str, raw: msgspec.Raw) -> None:
    if raw not in _EMPTY:
        raise Refusal(Code.INVALID_FIELD, 400, f"{name}: {REFUSED[name]}", param=name)


def _value(name: str, raw: msgspec.Raw) -> Any:
    if name == "options":
        _refuse_options(raw)
    try:
        return _DECODERS.get(name, _ANY).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(Code.INVALID_FIELD, 400, _located(name, error), param=name) from error


def _refuse_options(raw: msgspec.Raw) -> None:
    try:
        names = _OPTION_NAMES.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return  # the typed decoding that follows says what is wrong
    for name in names:
        param = f"options.{name}"
        if name in OPTIONS_REFUSED:
            sentence = f"{param}: how a model is loaded is the operator's choice; leave it away"
            raise Refusal(Code.INVALID_FIELD, 400, sentence, param=param)
        if name not in Options.__struct_fields__:
            raise Refusal(Code.UNKNOWN_FIELD, 400, f"'{param}' is not a known option", param=param)


def _located(name: str, error: Exception) -> str:
    """msgspec says "Expected `str`, got `int` - at `$[0].content`": put the field's name there."""
    what, _, where = str(error).partition(" - at `$")
    what = what[:1].lower() + what[1:]
    return f"{name}{where.rstrip('`')}: {what}"


def _model(values: dict[str, Any]) -> str:
    model = values.get("model")
    if not model:
        sentence = "model: the name of a model is required"
        raise Refusal(Code.INVALID_FIELD, 400, sentence, param="model")
    return str(model)


def _bound(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    """Note the client's own bound on the answer, and refuse what passes ours."""
    options = values.get("options") or Options()
    if options.num_predict is not None and options.num_predict > 0:
        ask.max_tokens = options.num_predict  # 0, -1 and -2 are Ollama's "no bound": ours applies
    _at_most("options.stop", len(options.stop or ()), limits.max_stop_sequences, "stop sequences")
    _at_most("top_logprobs", values.get("top_logprobs", 0), limits.max_logprobs, "tokens")
    _at_most("messages", len(values.get("messages", ())), limits.max_messages, "messages")
    for name, least in (("top_logprobs", 0), ("dimensions", 1)):
        if values.get(name, least) < least:
            raise Refusal(Code.INVALID_FIELD, 400, f"{name}: must be at least {least}", param=name)


def _at_most(param: str, count: int, most: int, what: str) -> None:
    if count > most:
        sentence = f"{param}: {count} is too many; at most {most} {what} are allowed"
        raise Refusal(Code.LIMIT_EXCEEDED, 400, sentence, param=param)


def _read_content(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    if ask.operation is Operation.OLLAMA_EMBED:
        _read_input(ask, values, limits)
    elif ask.operation is Operation.OLLAMA_CHAT:
        _read_messages(ask, values.get("messages", []))
        ask.facts["load"] = not values.get("messages")
    else:
        _read_prompt(ask, values)
        ask.facts["load"] = not values.get("prompt")
    if ask.facts.get("load") and _unloads(values.get("keep_alive")):
        sentence = "keep_alive: 0 would unload the model; the operator decides what stays loaded"
        raise Refusal(Code.NOT_ALLOWED, 403, sentence, param="keep_alive")


def _unloads(keep_alive: float | str | None) -> bool:
    """Whether it is a duration of nothing: 0, "0", "0s", "0h0m"."""
    if isinstance(keep_alive, str):
        return "0" in keep_alive and not any(digit in keep_alive for digit in "123456789")
    return keep_alive == 0


def _read_messages(ask: Ask, messages: list[Message]) -> None:
    for message in messages:
        ask.texts.extend(text for text in (message.content, message.thinking) if text)
        for call in message.tool_calls or ():
            ask.texts.extend(_strings(call.function.arguments))
        if message.role == "user" and message.content:
            ask.last_text = message.content


def _read_prompt(ask: Ask, values: dict[str, Any]) -> None:
    ask.texts.extend(text for name in ("system", "prompt", "suffix") if (text := values.get(name)))
    ask.last_text = values.get("prompt", "")


def _read_input(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    given = values.get("input", [])
    texts = [given] if isinstance(given, str) else given
    _at_most("input", len(texts), limits.max_embedding_inputs, "texts")
    if not texts or not all(texts):
        sentence = "input: a text, or a list of texts, none of them empty, is required"
        raise Refusal(Code.INVALID_FIELD, 400, sentence, param="input")
    ask.texts.extend(texts)
    ask.last_text = texts[-1]


def _strings(value: object) -> Iterator[str]:
    """Every string inside a decoded value, in order. Not recursive: a body may nest deeply."""
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if item:
                yield item
        elif isinstance(item, dict):
            pending.extend(reversed(item.values()))
        elif isinstance(item, list):
            pending.extend(reversed(item))
