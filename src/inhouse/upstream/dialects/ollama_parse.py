"""Reads a request in Ollama's dialect into one Ask, and refuses what may not go to an engine."""

import difflib
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.body import (
    MOST_DIMENSIONS,
    MOST_TOKENS,
    NULL,
    as_integer,
    at_most,
    decoded,
    integer,
    model_of,
    open_body,
    strings,
)
from inhouse.upstream.dialects.caps import bound_images, bound_schemas
from inhouse.upstream.dialects.fields import MOST_NAME_CHARS, OFF
from inhouse.upstream.dialects.ollama_fields import (
    DROPPED,
    FIELDS,
    INTEGER_OPTIONS,
    OPTIONS_KEPT_BACK,
    REFUSED,
    TYPES,
    Message,
    Options,
)
from inhouse.upstream.dialects.shapes import Ask

_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EMPTY = OFF | {b'""', b"[]"}
_INTEGERS = ("num_predict", "top_logprobs", "dimensions")
EMBEDS = frozenset({Operation.OLLAMA_EMBED, Operation.OLLAMA_EMBEDDING})


def parse(
    operation: Operation, body: bytes, limits: LimitsSection, extra_fields: Collection[str]
) -> Ask:
    """One Ask, or the Refusal that says which field is wrong and what would be right.

    An empty `messages` or `prompt` is Ollama's way to have a model loaded. It is marked in
    `facts["load"]`; an engine answers it with one token, as proof that the model is there.
    """
    fields = _admitted(operation, open_body(body), extra_fields)
    for name in fields.keys() & _INTEGERS:
        fields[name] = as_integer(fields[name])
    if "options" in fields:
        fields["options"] = _options(fields["options"])
    values = {name: _value(name, raw) for name, raw in fields.items() if name in TYPES}
    ask = Ask(
        dialect=Dialect.OLLAMA,
        operation=operation,
        model=model_of(fields),
        stream=operation not in EMBEDS and values.get("stream", True),
        fields=fields,
        texts=[],
    )
    _bound_answer(ask, values, limits)
    bound_schemas(fields, limits)
    _READ[operation](ask, values, limits)
    ask.texts.extend(_other_texts(ask, values, extra_fields))
    return ask


def _admitted(
    operation: Operation, fields: dict[str, msgspec.Raw], extra_fields: Collection[str]
) -> dict[str, msgspec.Raw]:
    """The fields that were set, every one of them known. A null is as good as nothing."""
    known = FIELDS[operation]
    for name, raw in fields.items():
        if name in REFUSED and name in known and name not in extra_fields:
            if bytes(raw) not in _EMPTY:
                sentence = f"field '{name}' is not accepted: {REFUSED[name]}"
                raise Refusal(Code.INVALID_FIELD, 400, sentence, param=name)
        elif name not in known | DROPPED[operation] and name not in extra_fields:
            raise _unknown("field", name, name, known)
    left_out = (DROPPED[operation] | REFUSED.keys()) - frozenset(extra_fields)
    return {
        name: raw
        for name, raw in fields.items()
        if name not in left_out and raw != NULL and (name, bytes(raw)) != ("think", b'""')
    }


def _unknown(what: str, name: str, param: str, known: Collection[str]) -> Refusal:
    shown = name[:MOST_NAME_CHARS]
    near = difflib.get_close_matches(shown, sorted(known), n=1, cutoff=0.7)
    hint = f": did you mean '{near[0]}'?" if near else ""
    sentence = f"unknown {what} {shown!r}{hint}"
    return Refusal(Code.UNKNOWN_FIELD, 400, sentence, param=param[: MOST_NAME_CHARS * 2])


def _value(name: str, raw: msgspec.Raw) -> Any:
    return decoded(raw, _DECODERS[name], name)


def _options(raw: msgspec.Raw) -> msgspec.Raw:
    """The options that were set and are looked at, every one of them known."""
    given = decoded(raw, _NAMES, "options")
    kept = {}
    for name, value in given.items():
        if value == NULL or name in OPTIONS_KEPT_BACK:
            continue
        if name not in Options.__struct_fields__:
            raise _unknown("option", name, f"options.{name}", Options.__struct_fields__)
        kept[name] = as_integer(value) if name in INTEGER_OPTIONS else value
    return raw if kept == given else msgspec.Raw(msgspec.json.encode(kept))


def _bound_answer(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    """Note the client's own bound, and refuse what passes ours. 0, -1 and -2 are no bound."""
    options = values.get("options") or Options()
    wanted = values.get("num_predict") if options.num_predict is None else options.num_predict
    if wanted is not None and wanted > 0:
        ask.max_tokens = min(wanted, MOST_TOKENS)
    stops, most = len(options.stop or ()), limits.max_stop_sequences
    at_most("options.stop", stops, most, "stop sequences", "limits.max_stop_sequences")
    integer(ask.fields, "top_logprobs", 0, limits.max_logprobs, "limits.max_logprobs")
    integer(ask.fields, "dimensions", 1, MOST_DIMENSIONS, "any model")


def _read_chat(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    messages: list[Message] = values.get("messages", [])
    at_most("messages", len(messages), limits.max_messages, "messages", "limits.max_messages")
    images = [len(image) for message in messages for image in message.images or ()]
    bound_images("messages", images, limits)
    if any(_is_odd(message) for message in messages):
        for message in messages:
            _straighten(message)
        ask.fields["messages"] = msgspec.Raw(msgspec.json.encode(messages))
    for message in messages:
        ask.texts.extend(_texts_of(message))
        if message.role == "user" and message.content:
            ask.last_text = message.content
    _note_load(ask, values, empty=not messages)


def _is_odd(message: Message) -> bool:
    """Whether a message has members that Ollama itself has elsewhere, or not at all."""
    indexed = any(call.index is not None for call in message.tool_calls or ())
    return indexed or message.name is not None or message.id is not None


def _straighten(message: Message) -> None:
    if message.role == "tool" and message.tool_name is None:
        message.tool_name = message.name
    message.name = message.id = None
    for call in message.tool_calls or ():
        call.index = None


def _texts_of(message: Message) -> Iterator[str]:
    yield from filter(None, (message.content, message.thinking, message.tool_name))
    for call in message.tool_calls or ():
        yield from strings(msgspec.Raw(msgspec.json.encode(call.function.arguments)))


def _read_generate(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    ask.texts.extend(text for name in ("system", "prompt", "suffix") if (text := values.get(name)))
    ask.last_text = values.get("prompt", "")
    bound_images("images", [len(image) for image in values.get("images", ())], limits)
    _note_load(ask, values, empty=not ask.last_text)


def _note_load(ask: Ask, values: dict[str, Any], *, empty: bool) -> None:
    if empty and _unloads(values.get("keep_alive")):
        sentence = "'keep_alive' 0 would unload the model; the operator decides what stays loaded"
        raise Refusal(Code.NOT_ALLOWED, 403, sentence, param="keep_alive")
    ask.facts["load"] = empty


def _unloads(keep_alive: float | str | None) -> bool:
    """Whether it is a duration of nothing: 0, "0", "0s", "0h0m"."""
    if isinstance(keep_alive, str):
        return "0" in keep_alive and not any(digit in keep_alive for digit in "123456789")
    return keep_alive == 0


def _read_embed(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    """An empty text or list is no mistake: Ollama answers it with no vectors."""
    given = values.get("input", [])
    texts = ([given] if given else []) if isinstance(given, str) else given
    most = limits.max_embedding_inputs
    at_most("input", len(texts), most, "texts", "limits.max_embedding_inputs")
    _note_inputs(ask, texts)


def _read_embedding(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    _note_inputs(ask, [values["prompt"]] if values.get("prompt") else [])


def _note_inputs(ask: Ask, texts: list[str]) -> None:
    ask.facts["inputs"] = len(texts)
    ask.texts.extend(texts)
    ask.last_text = texts[-1] if texts else ""


def _other_texts(ask: Ask, values: dict[str, Any], extra_fields: Collection[str]) -> Iterator[str]:
    """The texts in whatever else goes to an engine: nothing goes there unseen."""
    if options := values.get("options"):
        yield from options.stop or ()
    for name in ("tools", "format", *extra_fields):
        if name in ask.fields:
            yield from strings(ask.fields[name])


_READ = {
    Operation.OLLAMA_CHAT: _read_chat,
    Operation.OLLAMA_GENERATE: _read_generate,
    Operation.OLLAMA_EMBED: _read_embed,
    Operation.OLLAMA_EMBEDDING: _read_embedding,
}
