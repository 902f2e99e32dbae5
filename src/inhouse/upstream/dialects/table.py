"""The one place that says who speaks what: of each operation and kind of engine, native or not.

    operation \\ kind    embedded, llamacpp  vllm        ollama   openai
    chat                native              native      native   native
    completion          native              native      native   native
    embedding           native              native      native   native
    response            chat                native      chat     chat
    message             native, chat        native      chat     chat
    count-tokens        native, -           native      -        -
    ollama-chat         chat                chat        native   chat
    ollama-generate     chat, completion    the same    native   the same
    ollama-embed        embedding           embedding   native   embedding
    ollama-embedding    embedding           embedding   native   embedding

Anything but "native" names the operation of the OpenAI API into which it is translated. llama.cpp
is asked for a message in its own words unless it would pass over a part of it. "-" is refused.
"""

from collections.abc import Callable

from inhouse.config.schema import LimitsSection
from inhouse.domain import Dialect, EngineKind, Operation
from inhouse.upstream.dialects import (
    anthropic,
    ollama,
    ollama_parse,
    openai,
    translate_anthropic,
    translate_ollama,
    translate_responses,
)
from inhouse.upstream.dialects.shapes import LLAMACPP_KINDS, Ask, ErrorShape, Rendered

Parse = Callable[[Operation, bytes, LimitsSection, frozenset[str]], Ask]
Native = Callable[[Ask, str, int | None], Rendered]
Translate = Callable[[Ask, EngineKind, str, int | None, Callable[[], float]], Rendered]

_OPENAI = frozenset(EngineKind)  # every kind has these three of the OpenAI API
_FULL = LLAMACPP_KINDS | {EngineKind.VLLM}
_OLLAMA = frozenset({EngineKind.OLLAMA})

DIALECT = {
    Operation.CHAT: Dialect.OPENAI,
    Operation.COMPLETION: Dialect.OPENAI,
    Operation.RESPONSE: Dialect.OPENAI,
    Operation.EMBEDDING: Dialect.OPENAI,
    Operation.MESSAGE: Dialect.ANTHROPIC,
    Operation.COUNT_TOKENS: Dialect.ANTHROPIC,
    Operation.OLLAMA_CHAT: Dialect.OLLAMA,
    Operation.OLLAMA_GENERATE: Dialect.OLLAMA,
    Operation.OLLAMA_EMBED: Dialect.OLLAMA,
    Operation.OLLAMA_EMBEDDING: Dialect.OLLAMA,
}

SPOKEN_BY: dict[Operation, frozenset[EngineKind]] = {
    Operation.CHAT: _OPENAI,
    Operation.COMPLETION: _OPENAI,
    Operation.EMBEDDING: _OPENAI,
    Operation.RESPONSE: frozenset({EngineKind.VLLM}),  # llama.cpp's: docs/design/005
    Operation.MESSAGE: _FULL,
    Operation.COUNT_TOKENS: _FULL,
    Operation.OLLAMA_CHAT: _OLLAMA,
    Operation.OLLAMA_GENERATE: _OLLAMA,
    Operation.OLLAMA_EMBED: _OLLAMA,
    Operation.OLLAMA_EMBEDDING: _OLLAMA,
}
"""The kinds of engine that speak an operation themselves."""

_PARSE: dict[Dialect, Parse] = {
    Dialect.OPENAI: openai.parse,
    Dialect.ANTHROPIC: anthropic.parse,
    Dialect.OLLAMA: ollama_parse.parse,
}
_NATIVE: dict[Dialect, Native] = {
    Dialect.OPENAI: openai.render,
    Dialect.ANTHROPIC: anthropic.render,
    Dialect.OLLAMA: ollama.render,
}
_TRANSLATE: dict[Operation, Translate] = {
    Operation.RESPONSE: translate_responses.render,
    Operation.MESSAGE: translate_anthropic.render,
    Operation.COUNT_TOKENS: anthropic.count_elsewhere,
    Operation.OLLAMA_CHAT: translate_ollama.render,
    Operation.OLLAMA_GENERATE: translate_ollama.render,
    Operation.OLLAMA_EMBED: translate_ollama.render,
    Operation.OLLAMA_EMBEDDING: translate_ollama.render,
}
_ERRORS: dict[Dialect, ErrorShape] = {
    Dialect.OPENAI: openai.ERRORS,
    Dialect.ANTHROPIC: anthropic.ERRORS,
    Dialect.OLLAMA: ollama.ERRORS,
}


def parse(
    operation: Operation, body: bytes, limits: LimitsSection, extra_fields: frozenset[str]
) -> Ask:
    """A request's body as one Ask. Raises Refusal for what is malformed, unknown or too much.

    `extra_fields` are names of top-level fields that the operator lets through besides; they
    reach engines that speak the client's dialect.
    """
    return _PARSE[DIALECT[operation]](operation, body, limits, extra_fields)


def render(
    ask: Ask,
    kind: EngineKind,
    engine_model: str,
    max_tokens: int | None,
    now: Callable[[], float],
) -> Rendered:
    """What an engine of this kind is sent, and the reader of its answer.

    `max_tokens` bounds the answer where it can be bounded; `now` is the time of day in seconds.
    Raises Refusal (not_spoken) for what this kind of engine cannot be asked.
    """
    if kind in SPOKEN_BY[ask.operation] and not _dropped(ask, kind):
        return _NATIVE[ask.dialect](ask, engine_model, max_tokens)
    return _TRANSLATE[ask.operation](ask, kind, engine_model, max_tokens, now)


def _dropped(ask: Ask, kind: EngineKind) -> bool:
    """Whether an engine that speaks the dialect would pass over a part of this request."""
    return (
        ask.dialect is Dialect.ANTHROPIC
        and kind in LLAMACPP_KINDS
        and anthropic.dropped_by_llamacpp(ask)
    )


def error_shape(dialect: Dialect, operation: Operation | None = None) -> ErrorShape:
    """How a dialect says no, to an operation that has a way of its own for that."""
    return openai.RESPONSE_ERRORS if operation is Operation.RESPONSE else _ERRORS[dialect]
