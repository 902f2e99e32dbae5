"""What is inside Anthropic's messages: the texts, and nothing that fetches."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Union

import msgspec

from inhouse.upstream.dialects.body import gather, invalid
from inhouse.upstream.dialects.known import decode_known

_NO_URL = "no URL of a caller is fetched, and no file is kept here; send the content as base64"


class _Source(msgspec.Struct, forbid_unknown_fields=True):
    """Where an image or a document is: in the block itself, or else refused.

    A search result's `source` is a label and no more: a string.
    """

    type: str
    media_type: str | None = None
    data: str | None = None
    content: Union[str, list["Block"], None] = None  # noqa: UP007  # a name in quotes has no `|`


class Block(msgspec.Struct, forbid_unknown_fields=True):
    """A block of content, of any of the types that are accepted."""

    type: str
    text: str | None = None
    source: _Source | str | None = None
    title: str | None = None
    context: str | None = None
    content: Union[str, list["Block"], None] = None  # noqa: UP007  # as above
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None  # of redacted thinking: encrypted, opaque
    cache_control: Any = None


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | list[Block]


_TYPES = {
    "text": "text",
    "image": "source",
    "document": "source",
    "search_result": "content",
    "thinking": "thinking",
    "redacted_thinking": "data",
    "tool_use": "name",
    "tool_result": "tool_use_id",
}
"""The types of blocks that are accepted, and the member that each must have. The others belong to
tools that run on Anthropic's servers."""

_SOURCES = {"base64": "data", "text": "data", "content": "content"}

_MESSAGES = msgspec.json.Decoder(list[_Message])
_SYSTEM = msgspec.json.Decoder(str | list[Block] | None)
_NESTED: dict[str, type[msgspec.Struct]] = {"content": Block, "source": _Source}


class Read(NamedTuple):
    """What is in messages."""

    texts: list[str]  # in order
    last_text: str  # the last thing the user said
    messages: int  # how many
    types: frozenset[str]  # of blocks, at every depth
    images: list[int]  # the characters of each


def read_messages(raw: msgspec.Raw) -> Read:
    """Reads messages. Raises Refusal for a block that is unknown, or fetches."""
    messages, texts = decode_known(raw, _MESSAGES, _Message, _NESTED, "messages")
    last = ""
    found: list[Block] = []
    for place, message in enumerate(messages):
        content = message.content
        if isinstance(content, str):
            said = [content]
        else:
            said = list(_blocks("messages", f"[{place}].content", content))
            found += _every(content)
            content = "\n".join(block.text for block in content if block.text)
        texts += said
        if message.role == "user" and content:
            last = content
    types = frozenset(block.type for block in found)
    images = [_characters(block) for block in found if block.type == "image"]
    return Read(texts, last, len(messages), types, images)


def _every(blocks: list[Block]) -> Iterator[Block]:
    """The blocks, and those inside them."""
    for block in blocks:
        yield block
        source = block.source.content if isinstance(block.source, _Source) else None
        for inner in (block.content, source):
            if isinstance(inner, list):
                yield from _every(inner)


def _characters(block: Block) -> int:
    return len(block.source.data or "") if isinstance(block.source, _Source) else 0


def read_system(raw: msgspec.Raw) -> list[str]:
    """The texts of the system prompt."""
    system, texts = decode_known(raw, _SYSTEM, Block, _NESTED, "system")
    if isinstance(system, str):
        return [system]
    return texts + list(_blocks("system", "", system or []))


def _blocks(field: str, where: str, blocks: list[Block]) -> Iterator[str]:
    for number, block in enumerate(blocks):
        yield from _block(field, f"{where}[{number}]", block)


def _block(field: str, where: str, block: Block) -> Iterator[str]:
    must = _TYPES.get(block.type)
    if must is None:
        raise invalid(
            field, f"at {where}, type {block.type[:60]!r}: no such block is accepted here"
        )
    if getattr(block, must) is None:
        raise invalid(field, f"at {where}, type '{block.type}': '{must}' is missing")
    yield from filter(None, (block.title, block.context, block.text, block.thinking, block.name))
    if block.input is not None:
        arguments: list[str] = []
        gather(block.input, arguments)
        yield from arguments
    yield from _source(field, where, block)
    yield from _inner(field, where, block.content)


def _inner(field: str, where: str, content: str | list[Block] | None) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif content:
        yield from _blocks(field, f"{where}.content", content)


def _source(field: str, where: str, block: Block) -> Iterator[str]:
    source = block.source
    if source is None:
        return
    if isinstance(source, str):
        if block.type != "search_result":
            raise invalid(field, f"at {where}.source: {_NO_URL}")
        yield source
        return
    must = _SOURCES.get(source.type)
    if must is None:
        raise invalid(field, f"at {where}.source, type {source.type[:60]!r}: {_NO_URL}")
    if getattr(source, must) is None:
        raise invalid(field, f"at {where}.source, type '{source.type}': '{must}' is missing")
    if source.type == "text" and source.data is not None:
        yield source.data
    yield from _inner(field, f"{where}.source", source.content)
