"""Reads a request in Ollama's dialect into one Ask, and refuses what may not go to an engine."""

import difflib
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, Operation
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.body import (
    at_most,
    decoded,
    integer,
    invalid,
    model_of,
    open_body,
    strings,
)
from inhouse.upstream.dialects.fields import MOST_NAME_CHARS, OFF
from inhouse.upstream.dialects.ollama_fields import (
    FIELDS,
    OPTIONS_REFUSED,
    REFUSED,
    TYPES,
    Message,
    Options,
)
from inhouse.upstream.dialects.shapes import Ask

_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in TYPES.items()}
_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EMPTY = OFF | {b'""', b"[]"}
MOST_DIMENSIONS = 65_536


def parse(
    operation: Operation, body: bytes, limits: LimitsSection, extra_fields: Collection[str]
) -> Ask:
    """One Ask, or the Refusal that says which field is wrong and what would be right.

    An empty `messages` or `prompt` is Ollama's way to have a model loaded. It is marked in
    `facts["load"]`; an engine answers it with one token, as proof that the model is there.
    """
    fields = _admitted(operation, open_body(body), extra_fields)
    values = {name: _value(name, raw) for name, raw in fields.items() if name in TYPES}
    ask = Ask(
        dialect=Dialect.OLLAMA,
        operation=operation,
        model=model_of(fields),
        stream=operation is not Operation.OLLAMA_EMBED and values.get("stream", True),
        fields=fields,
        texts=[],
    )
    _bound_answer(ask, values, limits)
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
        elif name not in known and name not in extra_fields:
            raise _unknown("field", name, name, known)
    return {
        name: raw
        for name, raw in fields.items()
        if (name not in REFUSED or name in extra_fields) and raw != msgspec.Raw(b"null")
    }


def _unknown(what: str, name: str, param: str, known: Collection[str]) -> Refusal:
    shown = name[:MOST_NAME_CHARS]
    near = difflib.get_close_matches(shown, sorted(known), n=1, cutoff=0.7)
    hint = f": did you mean '{near[0]}'?" if near else ""
    sentence = f"unknown {what} {shown!r}{hint}"
    return Refusal(Code.UNKNOWN_FIELD, 400, sentence, param=param[: MOST_NAME_CHARS * 2])


def _value(name: str, raw: msgspec.Raw) -> Any:
    if name == "options":
        _check_options(raw)
    return decoded(raw, _DECODERS[name], name)


def _check_options(raw: msgspec.Raw) -> None:
    for name in decoded(raw, _NAMES, "options"):
        param = f"options.{name}"
        if name in OPTIONS_REFUSED:
            sentence = f"field '{param}' is not accepted: how a model is loaded is the operator's"
            raise Refusal(Code.INVALID_FIELD, 400, f"{sentence} choice", param=param)
        if name not in Options.__struct_fields__:
            raise _unknown("option", name, param, Options.__struct_fields__)


def _bound_answer(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    """Note the client's own bound, and refuse what passes ours. 0, -1 and -2 are no bound."""
    options = values.get("options") or Options()
    if options.num_predict is not None and options.num_predict > 0:
        ask.max_tokens = options.num_predict
        most = limits.max_output_tokens
        at_most("options.num_predict", ask.max_tokens, most, "tokens", "limits.max_output_tokens")
    stops, most = len(options.stop or ()), limits.max_stop_sequences
    at_most("options.stop", stops, most, "stop sequences", "limits.max_stop_sequences")
    integer(ask.fields, "top_logprobs", 0, limits.max_logprobs, "limits.max_logprobs")
    integer(ask.fields, "dimensions", 1, MOST_DIMENSIONS, "any model")


def _read_chat(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    messages: list[Message] = values.get("messages", [])
    at_most("messages", len(messages), limits.max_messages, "messages", "limits.max_messages")
    for message in messages:
        ask.texts.extend(_texts_of(message))
        if message.role == "user" and message.content:
            ask.last_text = message.content
    _note_load(ask, values, empty=not messages)


def _texts_of(message: Message) -> Iterator[str]:
    yield from (text for text in (message.content, message.thinking) if text)
    for call in message.tool_calls or ():
        yield from strings(msgspec.Raw(msgspec.json.encode(call.function.arguments)))


def _read_generate(ask: Ask, values: dict[str, Any], limits: LimitsSection) -> None:
    ask.texts.extend(text for name in ("system", "prompt", "suffix") if (text := values.get(name)))
    ask.last_text = values.get("prompt", "")
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
    given = values.get("input", [])
    texts = [given] if isinstance(given, str) else given
    most = limits.max_embedding_inputs
    at_most("input", len(texts), most, "texts", "limits.max_embedding_inputs")
    if not texts or not all(texts):
        raise invalid("input", "a text, or a list of texts, none of them empty, is required")
    ask.facts["inputs"] = len(texts)
    ask.texts.extend(texts)
    ask.last_text = texts[-1]


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
}
