"""What an answer says: the texts in an event or a whole body, for whoever must look at them.

Knows the names under which the dialects carry what a model wrote; everything else in an event is
structure. An event that is no JSON says nothing.
"""

from collections.abc import Iterator

import msgspec

_TEXTS = frozenset(
    {
        "content",  # OpenAI chat, Ollama chat
        "text",  # OpenAI completions, Anthropic, Responses
        "reasoning_content",
        "reasoning",
        "refusal",
        "arguments",  # tool calls
        "delta",  # Responses: a string; elsewhere an object
        "partial_json",  # Anthropic tool calls
        "thinking",  # Anthropic, Ollama
        "response",  # Ollama generate
    }
)
_ARGUMENTS = frozenset({"arguments", "input"})  # objects, with Ollama's and Anthropic's tool calls


def events(block: bytes) -> Iterator[bytes]:
    """The whole events of a block: server-sent events by blank line, or lines of NDJSON."""
    separator = b"\n" if block[:1] == b"{" else b"\n\n"
    start = 0
    while (end := block.find(separator, start)) >= 0:
        end += len(separator)
        yield block[start:end]
        start = end
    if start < len(block):
        yield block[start:]


def spoken(event: bytes) -> str:
    """Every text in one event or body, in order."""
    start = event.find(b"{")
    if start < 0:
        return ""
    try:
        value: object = msgspec.json.decode(event[start:].rstrip())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "".join(_texts(value))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str):
                if name in _TEXTS:
                    yield inner
            elif name in _ARGUMENTS:
                yield from _strings(inner)
            elif name != "usage":
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _strings(value: object) -> Iterator[str]:
    """Every string in what a model made up itself: names and values alike."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
