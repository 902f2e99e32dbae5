"""What an answer says: the texts in an event or a whole body, for whoever must look at them.

Every string is a text, whatever its name, but for those names that are known to hold none. What
an engine sends in pieces comes with the key of its text: the same for all pieces that a client
puts together, and for no others. What is complete in itself has no key.

    {"choices":[{"index":1,"delta":{"content":"he"}}]}    ("choices", 1, "content")
    {"type":"content_block_delta","index":2,"delta":{"text":"he"}}    ("content", 2, "text")
    {"type":"response.output_text.delta","output_index":0,"content_index":1,"delta":"he"}
                                              ("output", 0, "content", 1, "text")
"""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from inhouse.errors import EngineError
from inhouse.upstream.dialects.sse import event as by_the_rules
from inhouse.upstream.dialects.sse import lone, split

Key = tuple[str | int, ...] | None
Text = tuple[Key, str]


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_KINDS = _names("object type role status finish_reason stop_reason done_reason model created_at")
_HANDLES = _names("id call_id item_id response_id tool_call_id system_fingerprint service_tier")
_OPAQUE = _names("signature encrypted_content obfuscation")
_COUNTS = _names("usage timings token_ids prompt_token_ids context embedding embeddings")
_ASKED = _names("instructions metadata tools tool_choice user safety_identifier prompt_cache_key")
_AGAIN = _names("logprobs top_logprobs prompt_logprobs")  # the same words, in tokens
_NO_TEXTS = _KINDS | _HANDLES | _OPAQUE | _COUNTS | _ASKED | _AGAIN
"""Members that hold nothing of a model's own making. What a request said is screened with it."""

_ARGUMENTS = frozenset(("arguments", "input"))
"""Of tool calls, where they are values rather than a text: a model made all of it up."""

_PLACES = (
    ("output_index", "output"),
    ("index", "content"),  # Anthropic's blocks
    ("content_index", "content"),
    ("summary_index", "summary"),
)
"""Members by which an event says where in the answer its text belongs."""

_REPEATS = re.compile(r".*\.done|response\.(?:created|queued|in_progress|completed|incomplete)")
"""Types of events that repeat what came in pieces, or will."""

_SILENT = (b"[DONE]", b"null")
_LINES = re.compile(rb"[^\n]*\n|[^\n]+")


class Unreadable(Exception):
    """An event or a body of which nobody can say what it says."""


def events(block: bytes) -> list[bytes]:
    """The whole events of a block: server-sent events by blank line, or lines of NDJSON."""
    if _is_json(block):
        return _LINES.findall(block)
    if block.find(b"\n") == len(block) - 2:
        return [block]  # nearly always: one line, for an engine sends each token as it comes
    found = list(split(block))
    rest = block[sum(map(len, found)) :]
    return [*found, rest] if rest else found


def spoken(event: bytes) -> list[Text] | None:
    """The texts in one event, in order; None where it is only a comment.

    Raises Unreadable.
    """
    if _is_json(event):
        return _texts(event, whole=False)
    read = lone(event)
    if read is not None:
        return [] if read[1] in _SILENT else _texts(read[1], whole=False)
    data = _data(event)
    if data is None:
        return None
    found = [] if data in _SILENT else _texts(data, whole=False)
    return [*found, (None, _beside_data(event))]


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str
    role: str | None = None


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None
    logprobs: None = None


class _Token(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What OpenAI's engines send for a token: nothing in it speaks but the delta's content."""

    choices: tuple[_Choice]
    id: str | None = None
    object: str | None = None
    created: int | None = None
    model: str | None = None
    system_fingerprint: str | None = None
    usage: None = None


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    text: str
    type: Literal["text_delta"]


class _BlockDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The same of Anthropic's."""

    type: Literal["content_block_delta"]
    index: int
    delta: _TextDelta


_TOKEN = msgspec.json.Decoder(_Token)
_BLOCK_DELTA = msgspec.json.Decoder(_BlockDelta)
_BLOCK_DELTA_LINES = b"event: content_block_delta\ndata: "


def token(event: bytes) -> Text | None:
    """The one text of an event that brings a token, as nearly every event does. None for any
    other, and then `spoken` knows: this is the same, at a third of the cost."""
    if b"\r" in event:
        return None
    try:
        if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
            choice = _TOKEN.decode(event[6:]).choices[0]
            text = choice.delta.content
            return (("choices", choice.index, "content"), text) if text else None
        if event.startswith(_BLOCK_DELTA_LINES):
            data = event[len(_BLOCK_DELTA_LINES) :]
            if data.find(b"\n") == len(data) - 2:
                block = _BLOCK_DELTA.decode(data)
                text = block.delta.text
                return (("content", block.index, "text"), text) if text else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return None


def spoken_whole(body: bytes) -> list[str]:
    """The texts in an answer of one piece. Raises Unreadable."""
    return [text for _, text in _texts(body, whole=True)]


def _is_json(block: bytes) -> bool:
    return not block.startswith((b"data", b"event")) and block.lstrip()[:1] == b"{"


def _data(event: bytes) -> bytes | None:
    try:
        return by_the_rules(event).data
    except EngineError as error:
        raise Unreadable from error


def _beside_data(event: bytes) -> str:
    """Whatever else an event holds, a comment or an id, goes out with it."""
    lines = (line for line in event.splitlines() if not line.startswith(b"data"))
    return b"\n".join(lines).decode("utf-8", "replace")


def _texts(data: bytes, *, whole: bool) -> list[Text]:
    found: list[Text] = []
    try:
        value = msgspec.json.decode(data)
        key: Key = None if whole else ()
        if type(value) is dict and "type" in value:
            key = _typed(value, key, found)
        _gather(value, key, found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable from error
    return found


def _typed(value: dict[str, Any], key: Key, found: list[Text]) -> Key:
    """The key of an event that says what it is, and where in the answer it belongs."""
    kind = value["type"]
    if key is None or type(kind) is not str or _REPEATS.fullmatch(kind):
        return None
    for name, place in _PLACES:
        if type(value.get(name)) is int:
            key += (place, value[name])
    if type(value.get("delta")) is str:
        # "response.output_text.delta" is more of what "response.content_part.added" began as text.
        found.append(((*key, re.split(r"[._]", kind)[-2:][0]), value.pop("delta")))
    return key


def _gather(value: Any, key: Key, found: list[Text]) -> None:
    kind = type(value)
    if kind is dict:
        for name, inner in value.items():
            if inner and name not in _NO_TEXTS:
                _gather_member(name, inner, key, found)
    elif kind is list:
        for place, inner in enumerate(value):
            _gather(inner, _placed(key, place, inner), found)
    elif kind is str:
        found.append((key, value))


def _gather_member(name: str, value: Any, key: Key, found: list[Text]) -> None:
    kind = type(value)
    if kind is str:
        found.append((None if key is None else (*key, name), value))
    elif name in _ARGUMENTS:
        found.append((None, "\n".join(_strings(value))))
    elif kind is dict:
        _gather(value, key, found)
    elif kind is list:
        _gather(value, None if key is None else (*key, name), found)


def _placed(key: Key, place: int, value: Any) -> Key:
    """The key of what is in a list: by the number that it gives itself, else by its place."""
    if key is None:
        return None
    own = value.get("index") if type(value) is dict else None
    return (*key, own if type(own) is int else place)


def _strings(value: Any) -> Iterator[str]:
    """Everything in what a model made up itself: names and values alike, numbers too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif type(value) in (int, float):
        yield str(value)
