"""What is inside messages and items of OpenAI's dialect: the texts, and nothing that fetches."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from inhouse.upstream.dialects.body import invalid
from inhouse.upstream.dialects.known import decode_known

_NO_URL = "no URL of a caller is fetched; send the content itself as a data: URL"
_NO_FILES = "no files are kept here; send the content itself as a data: URL"
_NO_ITEMS = "nothing is kept here from one request to the next; send the item itself"
_NO_NAME = "content is not kept under a caller's name; leave 'uuid' away"


class _Function(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # an object: see straightened()


class _Custom(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    input: str | None = None


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    type: str = "function"
    id: str | None = None
    index: int | None = None
    function: _Function | None = None
    custom: _Custom | None = None


class _Url(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    detail: str | None = None


class _Audio(msgspec.Struct, forbid_unknown_fields=True):
    data: str
    format: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """One part of a content: of chats and, below, of the Responses API."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _Url | str | None = None
    video_url: _Url | str | None = None
    audio_url: _Url | str | None = None
    input_audio: _Audio | None = None
    file: _File | None = None
    uuid: str | None = None
    thinking: str | None = None
    think: str | None = None
    reasoning: str | None = None
    file_url: str | None = None  # from here on: Responses
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None
    detail: str | None = None


_CHAT_PARTS = {
    "text": "text",
    "refusal": "refusal",
    "image_url": "image_url",
    "video_url": "video_url",
    "audio_url": "audio_url",
    "input_audio": "input_audio",
    "file": "file",
}
"""The types of parts of a chat, and the member that each must have."""

_THOUGHTS = frozenset({"thinking", "think", "reasoning"})
"""Types of parts in which user interfaces keep what a model thought. No engine has them in a chat,
and earlier thinking is of no use to a model: they are left out of what it is sent."""

_ITEM_PARTS = {
    "input_text": "text",
    "output_text": "text",
    "summary_text": "text",
    "reasoning_text": "text",
    "text": "text",
    "refusal": "refusal",
    "input_image": "image_url",
    "input_file": "file_data",
    "input_audio": "input_audio",
}
"""The same for the Responses API."""


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    function_call: _Function | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Item(msgspec.Struct, forbid_unknown_fields=True):
    type: str = "message"
    role: str | None = None
    content: str | list[Part] | None = None
    id: str | None = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


_ITEMS = frozenset(
    {
        "message",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "reasoning",
    }
)


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What most messages are: somebody, and a text."""

    role: str
    content: str


_PLAIN = msgspec.json.Decoder(list[_PlainMessage])
_MESSAGES = msgspec.json.Decoder(list[_Message])
_INPUT = msgspec.json.Decoder(str | list[_Item])
_NESTED: dict[str, type[msgspec.Struct]] = {
    "content": Part,
    "output": Part,
    "summary": Part,
    "tool_calls": _Call,
    "function": _Function,
    "function_call": _Function,
    "custom": _Custom,
    "image_url": _Url,
    "video_url": _Url,
    "audio_url": _Url,
    "input_audio": _Audio,
    "file": _File,
}


class Read(NamedTuple):
    """What is in messages or items."""

    texts: list[str]  # in order
    last_text: str  # the last thing the user said
    messages: int  # how many
    images: list[int]  # the characters of each
    is_odd: bool = False  # engines must be sent them as `straightened` has them


def read_messages(raw: msgspec.Raw) -> Read:
    """The messages of a chat. Raises Refusal for a part that is unknown, or fetches."""
    try:
        plain = _PLAIN.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_any(raw)
    last = ""
    for message in plain:
        if message.content and message.role == "user":
            last = message.content
    return Read([message.content for message in plain if message.content], last, len(plain), [])


def _read_any(raw: msgspec.Raw) -> Read:
    messages, texts = decode_known(raw, _MESSAGES, _Message, _NESTED, "messages")
    last = ""
    for place, message in enumerate(messages):
        content = message.content or []
        if isinstance(content, str):
            said = [content]
        else:
            said = list(_parts("messages", place, content, _CHAT_PARTS))
        texts += said
        if message.role == "user" and said:
            last = "\n".join(said)
        if message.tool_calls:
            texts += _called(message.tool_calls)
        texts += filter(None, _odds(message))
    images = [size for message in messages for size in _images(message.content)]
    return Read(texts, last, len(messages), images, any(map(_is_odd, messages)))


def _images(*contents: str | list[Part] | None) -> Iterator[int]:
    for content in contents:
        for part in content if isinstance(content, list) else ():
            if part.image_url is not None:
                url = part.image_url.url if isinstance(part.image_url, _Url) else part.image_url
                yield len(url) - url.find(",") - 1


def _is_odd(message: _Message) -> bool:
    if isinstance(message.content, list) and any(p.type in _THOUGHTS for p in message.content):
        return True
    functions = [call.function for call in message.tool_calls or ()] + [message.function_call]
    return any(isinstance(function and function.arguments, dict) for function in functions)


def straightened(raw: msgspec.Raw) -> msgspec.Raw:
    """Messages that were read, without thoughts, and with the arguments of calls as a text."""
    messages: list[dict[str, Any]] = msgspec.json.decode(raw)
    for message in messages:
        if isinstance(message.get("content"), list):
            kept = [part for part in message["content"] if part["type"] not in _THOUGHTS]
            message["content"] = kept or ""
        calls = [call.get("function") for call in message.get("tool_calls") or ()]
        for function in [*calls, message.get("function_call")]:
            if function and isinstance(function.get("arguments"), dict):
                function["arguments"] = _as_text(function["arguments"])
    return msgspec.Raw(msgspec.json.encode(messages))


def _as_text(arguments: str | dict[str, Any] | None) -> str | None:
    if not isinstance(arguments, dict):
        return arguments
    return msgspec.json.encode(arguments).decode()


def _odds(message: _Message) -> Iterator[str | None]:
    yield message.name
    yield message.refusal
    yield message.reasoning_content
    yield message.reasoning
    if message.function_call is not None:
        yield message.function_call.name
        yield _as_text(message.function_call.arguments)


def _called(calls: Iterable[_Call]) -> Iterator[str]:
    for call in calls:
        if call.function is not None:
            yield from filter(None, (call.function.name, _as_text(call.function.arguments)))
        if call.custom is not None:
            yield from filter(None, (call.custom.name, call.custom.input))


def read_input(raw: msgspec.Raw) -> Read:
    """The input of a response: a text, or items. Raises Refusal as `read_messages` does."""
    items, texts = decode_known(raw, _INPUT, _Item, _NESTED, "input")
    if isinstance(items, str):
        return Read([items], items, 1, [])
    last = ""
    for place, item in enumerate(items):
        said = list(_item(place, item))
        texts += said
        if item.role == "user" and said:
            last = "\n".join(said)
    images = [size for item in items for size in _images(item.content, item.output)]
    return Read(texts, last, len(items), images)


def _item(place: int, item: _Item) -> Iterator[str]:
    if item.type not in _ITEMS:
        why = _NO_ITEMS if item.type == "item_reference" else "no such item is accepted here"
        raise invalid("input", f"at [{place}], type {item.type[:60]!r}: {why}")
    for content in (item.content, item.output, item.summary):
        if isinstance(content, str):
            yield content
        elif content:
            yield from _parts("input", place, content, _ITEM_PARTS)
    yield from filter(None, (item.name, item.arguments, item.input))


def _parts(field: str, place: int, parts: list[Part], types: dict[str, str]) -> Iterator[str]:
    """The texts of a content's parts, every one of them of a known type and whole in itself."""
    for number, part in enumerate(parts):
        where = f"at [{place}].content[{number}]"
        if part.type in _THOUGHTS and types is _CHAT_PARTS:
            yield from filter(None, (part.text, part.thinking, part.think, part.reasoning))
            continue
        must = types.get(part.type)
        if must is None:
            raise invalid(field, f"{where}, type {part.type[:60]!r}: no such part is accepted here")
        why = _fetches(part)
        if why:
            raise invalid(field, f"{where}: {why}")
        if getattr(part, must) is None:
            raise invalid(field, f"{where}, type '{part.type}': '{must}' is missing")
        file = part.file
        yield from filter(None, (part.text, part.refusal, part.filename, file and file.filename))


def _fetches(part: Part) -> str | None:
    """Why a part is not whole in itself, if it is not."""
    if part.uuid is not None:
        return _NO_NAME
    for link in (part.image_url, part.video_url, part.audio_url, part.file_url):
        url = link.url if isinstance(link, _Url) else link
        if url is not None and not _is_data(url):
            return _NO_URL
    file = part.file or _File()
    if part.file_id is not None or file.file_id is not None:
        return _NO_FILES
    audio = part.input_audio.data if part.input_audio is not None else None
    for data in (part.file_data, file.file_data, audio):
        if data is not None and not (_is_data(data) or ":" not in data[:64]):
            return _NO_URL
    return None


def _is_data(url: str) -> bool:
    return url[:5].lower() == "data:"
