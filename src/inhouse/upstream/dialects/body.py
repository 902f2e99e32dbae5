"""A request's body as JSON: opened once, bounded in its structure, its values read by type.

The top level becomes raw values by name; a name that came twice is there once, with its last
value. Only what is read is decoded, and always from those same raw values, so that what is
checked here is what the engine is sent.
"""

import re
from typing import Any, TypeVar

import msgspec

from inhouse.config.schema import LimitsSection
from inhouse.errors import Code, Refusal

MOST_DEPTH = 64
"""Of nested arrays and objects. JSON schemas in the wild stay below 20."""

MOST_OBJECTS = 250_000
"""Braces in a body. Each may become an object of ours, some 25 times the bytes it came in."""

LONG_BYTES = 4096
"""A body beyond this is mostly one text, or a few."""

READ_APART = frozenset(("messages", "input", "prompt", "system"))
"""Fields that hold most of a body. Their depth is bounded as they are read, not beforehand: they
decode into types that do not nest, and what is left over goes through `gather`."""

NULL = msgspec.Raw(b"null")

MOST_TOKENS = 10_000_000
"""More than any model says in one answer: whoever asks for more has asked for no bound."""

MOST_DIMENSIONS = 65_536
"""Of an embedding. Models have some hundreds, or a few thousand."""

MOST_MODEL_CHARS = 256
MOST_SHOWN_CHARS = 60

T = TypeVar("T")

_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder()
_INTEGER: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)
_FRACTION = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_SWITCH: msgspec.json.Decoder[bool | None] = msgspec.json.Decoder(bool | None)
_TEXT: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_OPENING = bytes.maketrans(b"[]", b"{}")
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def open_body(body: bytes) -> dict[str, msgspec.Raw]:
    """The top level of a body. Raises Refusal where it is no object, or nests too deeply."""
    try:
        if not body.isascii():
            body.decode()  # raw values are handed on unread: no broken text may hide in one
        fields = _BODY.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(Code.INVALID_JSON, 400, "the body must be a JSON object") from error
    except RecursionError as error:
        raise too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(Code.INVALID_JSON, 400, _why_no_json(body, error)) from error
    _bound_structure(body, fields)
    return fields


_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_LONE_SURROGATE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:"
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


def _why_no_json(body: bytes, error: Exception) -> str:
    if not body:
        return "the body is empty"
    if body.startswith(_BYTE_ORDER_MARKS):
        return "the body begins with a byte order mark: send UTF-8 without one"
    lone = _LONE_SURROGATE.search(body)
    if lone is not None:
        escape = lone.group().lstrip(b"\\").decode()
        return (
            f"the body has the escape \\{escape} alone, which is half of a character; a text was "
            "cut in the middle of one: send both halves, or the character itself"
        )
    return f"the body is not valid JSON: {error}"


def _is_flat(body: bytes) -> bool:
    """Whether a long body has too few brackets to nest deeply. Looking for the next one is a
    hundred times as fast as counting them all, where there are few."""
    for bracket in (b"{", b"["):
        at = -1
        for _ in range(MOST_DEPTH // 2):
            at = body.find(bracket, at + 1)
            if at < 0:
                break
        else:
            return False
    return True


def _bound_structure(body: bytes, fields: dict[str, msgspec.Raw]) -> None:
    if len(body) > LONG_BYTES and _is_flat(body):
        return
    objects = body.count(b"{")
    if objects > MOST_OBJECTS:
        sentence = f"the body has more than {MOST_OBJECTS} braces"
        raise Refusal(Code.LIMIT_EXCEEDED, 400, sentence)
    if objects + body.count(b"[") > MOST_DEPTH:
        for name, raw in fields.items():
            if name not in READ_APART:
                bound_depth(bytes(raw))


def bound_depth(data: bytes) -> None:
    """Raise a Refusal where valid JSON nests too deeply."""
    if deeper_than(data, MOST_DEPTH):
        raise too_deep()


def deeper_than(data: bytes, most: int) -> bool:
    """Whether valid JSON nests in more levels than that.

    With escapes gone, every second piece between quotes is a string; of the rest the brackets
    are kept, as braces. Taking out every `{}` then takes one level off the whole, from inside.
    """
    if data.count(b"{") + data.count(b"[") <= most:
        return False
    outside = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    braces = b"".join(outside).translate(_OPENING, _NO_BRACKETS)
    for _ in range(most):
        braces = braces.replace(b"{}", b"")
        if not braces:
            return False
    return True


def too_deep() -> Refusal:
    sentence = f"the body is nested more than {MOST_DEPTH} levels deep"
    return Refusal(Code.INVALID_JSON, 400, sentence)


def decoded(raw: msgspec.Raw, decoder: msgspec.json.Decoder[T], name: str) -> T:
    """A field's value. Raises Refusal, saying where and what, if it is of another type."""
    try:
        return decoder.decode(raw)
    except _MALFORMED as error:
        raise invalid(name, located(error)) from error


def located(error: Exception) -> str:
    """msgspec says "Expected `str`, got `int` - at `$[0].content`": put the place first."""
    what, _, where = str(error).partition(" - at `$")
    what = (what[:1].lower() + what[1:]).replace("`", "").replace(" | null", "")
    return f"at {where.rstrip('`').lstrip('.')}, {what}" if where else what


def invalid(name: str, sentence: str) -> Refusal:
    return Refusal(Code.INVALID_FIELD, 400, f"field '{name}': {sentence}", param=name)


def model_of(fields: dict[str, msgspec.Raw]) -> str:
    """The model that is asked for. Raises Refusal where none is named."""
    raw = fields.get("model")
    model = decoded(raw, _TEXT, "model") if raw is not None else None
    if not model:
        raise invalid("model", "missing: name one of the models that /v1/models lists")
    if len(model) > MOST_MODEL_CHARS:
        raise invalid("model", f"longer than {MOST_MODEL_CHARS} characters")
    return model


def switch(fields: dict[str, msgspec.Raw], name: str) -> bool:
    """A boolean; absent and null are false."""
    raw = fields.get(name)
    return bool(raw is not None and decoded(raw, _SWITCH, name))


def integer(
    fields: dict[str, msgspec.Raw], name: str, least: int, most: int, bound: str
) -> int | None:
    """An integer within its bounds, both included; None where absent or null.

    `bound` names the setting that set `most`.
    """
    value = _at_least(fields, name, least)
    if value is not None and value > most:
        raise exceeded(name, f"{shown(value)} is more than {most}", bound)
    return value


def answer_bound(
    fields: dict[str, msgspec.Raw], name: str, least: int, *, unset: int | None = None
) -> int | None:
    """The most tokens that the client wants; None where absent, null, or the number for that.

    It is an upper bound: what a model may say is often less, and is no reason to refuse.
    """
    if unset is not None and whole_number(fields, name) == unset:
        return None
    value = _at_least(fields, name, least)
    return value if value is None else min(value, MOST_TOKENS)


def _at_least(fields: dict[str, msgspec.Raw], name: str, least: int) -> int | None:
    value = whole_number(fields, name)
    if value is not None and value < least:
        raise invalid(name, f"{shown(value)} is below {least}")
    return value


def whole_number(fields: dict[str, msgspec.Raw], name: str) -> int | None:
    """An integer, however it is written; it is forwarded as `as_integer` writes it. None where
    absent or null."""
    raw = fields.get(name)
    if raw is None:
        return None
    fields[name] = raw = as_integer(raw)
    return decoded(raw, _INTEGER, name)


def as_integer(raw: msgspec.Raw) -> msgspec.Raw:
    """3.0 and 0.3e1 as 3, since not every engine reads them so; anything else as it came."""
    data = bytes(raw)
    if data.isdigit() or not _FRACTION.fullmatch(data):
        return raw
    number = float(data)
    return msgspec.Raw(b"%d" % int(number)) if number.is_integer() else raw


def shown(value: int) -> str:
    text = str(value)
    return text if len(text) <= MOST_SHOWN_CHARS else f"{text[:MOST_SHOWN_CHARS]}..."


def exceeded(name: str, sentence: str, bound: str) -> Refusal:
    sentence = f"field '{name}': {sentence}, which {bound} allows"
    return Refusal(Code.LIMIT_EXCEEDED, 400, sentence, param=name)


def at_most(name: str, count: int, most: int, what: str, bound: str) -> None:
    """Raise a Refusal where there are too many of something."""
    if count > most:
        raise exceeded(name, f"{count} {what} are more than the {most}", bound)


_STOP = msgspec.json.Decoder(str | list[str] | None)


def bound_stop(fields: dict[str, msgspec.Raw], name: str, limits: LimitsSection) -> None:
    raw = fields.get(name)
    stop = decoded(raw, _STOP, name) if raw is not None else None
    if isinstance(stop, list):
        most = limits.max_stop_sequences
        at_most(name, len(stop), most, "stop sequences", "limits.max_stop_sequences")


def strings(raw: msgspec.Raw) -> list[str]:
    """Every text in a value of any shape: as it stands, or where it has escapes, without them.

    Names of members and numbers count as text too: a schema can hold a card number in either.
    """
    data = bytes(raw)
    if data[:1] not in b'"[{':
        return []
    if b"\\" not in data:
        return [data.decode()]
    found: list[str] = []
    gather(_ANY.decode(data), found)
    return found


def gather(value: Any, found: list[str], depth: int = 0) -> None:
    """Add every text in a decoded value. Raises Refusal where it nests too deeply."""
    if depth > MOST_DEPTH:
        raise too_deep()
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for name, inner in value.items():
            found.append(name)
            gather(inner, found, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            gather(inner, found, depth + 1)
    elif type(value) in (int, float):
        found.append(str(value))
