"""What callers send, read strictly: a name that is not known, or that came twice, is refused."""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from inhouse.errors import Code, Refusal

T = TypeVar("T")

MOST_BODY_BYTES = 65_536
_PAIR = re.compile(rb"([a-z_]{1,32})=([A-Za-z0-9\-._~!$'()*,;:@/?+%]*)")
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def body_of(raw: bytes, kind: type[T]) -> T:
    """The body, as the route's type."""
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Refusal(Code.INVALID_JSON, 400, "the body is not one JSON object") from error
    if not isinstance(document, dict):
        raise Refusal(Code.INVALID_JSON, 400, "the body is not one JSON object")
    _refuse_unknown(document, kind, "the body", "has")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _wrong("the body", error) from error


def query_of(raw: bytes, kind: type[T] | None) -> T | None:
    """The query, as the route's type; None where the route takes none and none came."""
    given: dict[str, str] = {}
    for pair in raw.split(b"&") if raw else ():
        match = _PAIR.fullmatch(pair)
        if match is None or _ESCAPE.search(pair):
            raise Refusal(Code.INVALID_FIELD, 400, "the query is not of the form 'name=value&...'")
        name = match.group(1).decode()
        if name in given:
            raise Refusal(Code.INVALID_FIELD, 400, f"the query has '{name}' twice")
        try:
            given[name] = unquote_to_bytes(match.group(2).replace(b"+", b" ")).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refusal(
                Code.INVALID_FIELD, 400, f"the value of '{name}' in the query is not UTF-8"
            ) from error
    _refuse_unknown(given, kind, "the query", "takes")
    if kind is None:
        return None
    try:
        return msgspec.convert(given, kind, strict=False)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _wrong("the query", error) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(Code.INVALID_FIELD, 400, f"the body has '{twice[:64]}' twice")
    return found


def _refuse_unknown(given: Iterable[str], kind: type[Any] | None, where: str, verb: str) -> None:
    known = [] if kind is None else [field.encode_name for field in msgspec.structs.fields(kind)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            names = ", ".join(f"'{each}'" for each in known) or "nothing here"
            raise Refusal(
                Code.UNKNOWN_FIELD,
                400,
                f"{where} has no '{name[:64]}'; {hint}it {verb} {names}",
            )


def _wrong(where: str, error: Exception) -> Refusal:
    sentence, _, path = str(error).partition(" - at ")
    at = path.strip("`").removeprefix("$").removeprefix(".")
    sentence = sentence[:1].lower() + sentence[1:]
    return Refusal(
        Code.INVALID_FIELD, 400, f"'{at}' in {where}: {sentence}" if at else f"{where}: {sentence}"
    )
