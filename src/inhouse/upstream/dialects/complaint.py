"""What an engine's error answer means: whose doing it is, and in which words the client is told.

An engine's status is not to be trusted alone: llama.cpp says 500 for an image that its model has
no eyes for, and another engine would only say the same.
"""

import re

import msgspec

from inhouse.errors import Code, Refusal

MOST_CHARS = 500
_OUR_DOING = frozenset({401, 403, 404, 405, 408, 429})  # of a 4xx: not the client's

_TOO_LONG = re.compile(
    "exceed_context_size_error|available context size|max context size"
    "|maximum context length|maximum model length|exceeds the context length"
)
_LIMIT = re.compile(
    r"(?:context length is|model length of|context size \(|context length of) ?(\d+)"
)
_PROMPT = re.compile(
    r"(?:request|input|\(length) \(?(\d+)(?: tokens)?\)"
    r"|(?:has|contains at least|contains|resulted in) (\d+) (?:input )?tokens"
    r"|(\d+) in the (?:messages|prompt)"
)
_NO_SENSE = re.compile(r"(image|audio|video) input is not supported")
_TOO_LARGE = re.compile(r"input(?: \((\d+) tokens\))? is too large to process.*?size: (\d+)")


class TooLong(Refusal):
    """A prompt and the bound on its answer do not fit into the engine's context together.

    `room` is what the prompt leaves of it, in tokens; 0 where that is not known.
    """

    def __init__(self, sentence: str, room: int) -> None:
        super().__init__(Code.CONTEXT_LENGTH_EXCEEDED, 400, sentence)
        self.room = room


class _Complaint(msgspec.Struct):
    """The error bodies of OpenAI's, Anthropic's and Ollama's dialects, as far as all agree."""

    error: msgspec.Raw = msgspec.Raw(b"null")


class _Detail(msgspec.Struct):
    message: str = ""
    type: str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


def refusal_of(status: int, body: bytes, model: str) -> Refusal | None:
    """The refusal of a request that is itself at fault; None where the engine is.

    The engine's own words go to the client, who may have caused them, and to no log: they may
    quote the prompt. `model` is the name that the client knows.
    """
    detail = _detail(body)
    if status < 400 or status in _OUR_DOING:
        return None
    if _TOO_LONG.search(f"{detail.type} {detail.message}"):
        return _too_long(detail, model)
    own = _own_words(detail.message, model)
    if own is None and status >= 500:
        return None
    words = own or f"the engine refused the request: {detail.message[:MOST_CHARS]}"
    return Refusal(Code.ENGINE_REFUSED, 400, words)


def _detail(body: bytes) -> _Detail:
    try:
        raw = msgspec.json.decode(body, type=_Complaint).error
        given = msgspec.json.decode(raw, type=_Detail | str)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Detail("no reason given")
    detail = _Detail(given) if isinstance(given, str) else given
    return detail if detail.message else _Detail("no reason given", detail.type)


def _too_long(detail: _Detail, model: str) -> TooLong:
    most = detail.n_ctx or _number(_LIMIT, detail.message)
    prompt = detail.n_prompt_tokens or _number(_PROMPT, detail.message)
    if most is None or prompt is None:
        bound = f"at most {most} tokens" if most else "no such length"
        said = f"the prompt is too long: '{model}' takes {bound}{_with_answer(detail)}"
        return TooLong(said, 0)
    said = f"the prompt has {prompt} tokens; '{model}' takes at most {most}{_with_answer(detail)}"
    said = said if prompt >= most else f"{said}: ask for a shorter one"
    return TooLong(said, max(0, most - prompt))


def _with_answer(detail: _Detail) -> str:
    """llama.cpp calls `input` what it embeds, and answers with no tokens."""
    return "" if detail.message.startswith("input (") else " with its answer"


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(next(filter(None, found.groups()))[:18]) if found is not None else None


def _own_words(message: str, model: str) -> str | None:
    """What llama.cpp calls its own fault, and is the prompt's."""
    if sense := _NO_SENSE.search(message):
        return f"'{model}' takes no {sense[1]} input; send text, or ask a model that does"
    if large := _TOO_LARGE.search(message):
        size = f"has {large[1]} tokens" if large[1] else "is too large"
        return f"the input {size}; '{model}' takes at most {large[2]} at once: send it in parts"
    return None
