"""Decodes nested members by name, and lets none through unseen.

Clients send back what an engine answered, with whatever members that engine adds to it; refusing
those would break them. So a value is decoded strictly first. Where that fails, the members that
are not known are taken out, every string in them counts as text, and the rest is decoded.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from inhouse.upstream.dialects.body import MOST_DEPTH, decoded, gather, invalid, located, too_deep

T = TypeVar("T")

_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
Nested = Mapping[str, type[msgspec.Struct]]


def decode_known(
    raw: msgspec.Raw,
    decoder: msgspec.json.Decoder[T],
    kind: type[msgspec.Struct],
    nested: Nested,
    name: str,
) -> tuple[T, list[str]]:
    """The value, and the texts in those of its members that `kind` does not know.

    `kind` is the value's or its elements' type; `nested` has the types inside by member's name.
    Raises Refusal where the known members are not as they should be.
    """
    try:
        return decoder.decode(raw), []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if "unknown field" not in str(error):
            raise invalid(name, located(error)) from error
    return _without_unknown(raw, decoder, kind, nested, name)


def _without_unknown(
    raw: msgspec.Raw,
    decoder: msgspec.json.Decoder[T],
    kind: type[msgspec.Struct],
    nested: Nested,
    name: str,
) -> tuple[T, list[str]]:
    unknown: list[str] = []
    value = _known(decoded(raw, _ANY, name), kind, nested, unknown)
    try:
        return msgspec.convert(value, decoder.type), unknown
    except msgspec.ValidationError as error:
        raise invalid(name, located(error)) from error


def _known(
    value: Any, kind: type[msgspec.Struct], nested: Nested, unknown: list[str], depth: int = 0
) -> Any:
    """The value without the members that its type does not have; their texts go to `unknown`."""
    if depth > MOST_DEPTH:
        raise too_deep()
    if isinstance(value, list):
        return [_known(inner, kind, nested, unknown, depth + 1) for inner in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for member, inner in value.items():
        if member not in kind.__struct_fields__:
            unknown.append(member)
            gather(inner, unknown, depth)
        elif member in nested:
            kept[member] = _known(inner, nested[member], nested, unknown, depth + 1)
        else:
            kept[member] = inner
    return kept
