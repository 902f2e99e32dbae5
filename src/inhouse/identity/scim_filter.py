"""Filters and paths of SCIM (RFC 7644, 3.4.2.2 and 3.5.2), as far as identity providers use them.

    userName eq "anna" and active eq true          a filter: comparisons, joined by `and`
    emails[type eq "work"].value                   a path: an attribute, which of it, a part of it

Everything else is refused by name, not misread. Names are the same whatever their case; the URN of
a core schema before one says nothing.
"""

import re
from dataclasses import dataclass

import msgspec

from inhouse.identity.scim_schema import GROUP, USER, ScimError
from inhouse.store.scim_users import Sought, folded

MAX_CHARS = 1024
MAX_TERMS = 8
_CORE = (f"{USER}:".lower(), f"{GROUP}:".lower())
_TERM = re.compile(
    r"\s*(?P<name>[A-Za-z$][\w$:.-]*)\s+(?P<operator>[A-Za-z]+)"
    r"\s+(?P<value>\"(?:[^\"\\]|\\.)*\"|[^\s\"()\[\]]+)\s*",
    re.ASCII,
)
_AND = re.compile(r"and\s", re.IGNORECASE | re.ASCII)
_PATH = re.compile(
    r"(?P<name>[A-Za-z$][\w$:.-]*)(?:\[(?P<which>[^\[\]]*(?:\"(?:[^\"\\]|\\.)*\"[^\[\]]*)?)\]"
    r"(?:\.(?P<part>[A-Za-z$][\w$-]*))?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison: an attribute, in small letters, is a value."""

    name: str
    value: str | bool


@dataclass(frozen=True, slots=True)
class Path:
    """What an operation is about; names in small letters."""

    name: str
    part: str = ""
    which: tuple[Term, ...] = ()


def plain_name(name: str) -> str:
    """A name of an attribute in small letters, without the URN of a core schema."""
    name = name.lower()
    for urn in _CORE:
        if name.startswith(urn):
            return name[len(urn) :]
    return name


def parse_filter(text: str, wrong: str = "invalidFilter") -> tuple[Term, ...]:
    """The comparisons of a filter. Raises ScimError."""
    if len(text) > MAX_CHARS:
        raise ScimError(400, f"a filter has at most {MAX_CHARS} characters", wrong)
    terms: list[Term] = []
    at = 0
    while True:
        found = _TERM.match(text, at)
        if found is None or len(terms) >= MAX_TERMS:
            raise ScimError(
                400,
                'a filter is comparisons like userName eq "anna", joined by "and", and at most '
                f"{MAX_TERMS}",
                wrong,
            )
        if found["operator"].lower() != "eq":
            raise ScimError(
                400, f"the operator '{found['operator']}' is not supported; eq is", wrong
            )
        terms.append(Term(plain_name(found["name"]), _value(found["value"], wrong)))
        at = found.end()
        if at == len(text):
            return tuple(terms)
        joined = _AND.match(text, at)
        if joined is None:
            raise ScimError(400, "comparisons are joined by 'and', and by nothing else", wrong)
        at = joined.end()


def parse_path(text: str) -> Path:
    """Raises ScimError."""
    if len(text) > MAX_CHARS:
        raise ScimError(400, f"a path has at most {MAX_CHARS} characters", "invalidPath")
    found = _PATH.fullmatch(text.strip())
    if found is None:
        raise ScimError(400, f"'{text[:100]}' is no path of an attribute", "invalidPath")
    name, part = plain_name(found["name"]), (found["part"] or "").lower()
    if found["which"] is not None:
        return Path(name, part, parse_filter(found["which"], "invalidPath"))
    if not name.startswith("urn:"):
        name, _, part = name.partition(".")
    return Path(name, part)


def sought(text: str, names: dict[str, str]) -> Sought | None:
    """What a filter looks for, by the attributes in `names`, which say where each is kept; None
    where nobody can be it. Raises ScimError."""
    wanted: dict[str, str] = {}
    for term in parse_filter(text):
        kept = names.get(term.name)
        if kept is None:
            known = ", ".join(sorted(names))
            raise ScimError(
                400, f"'{term.name[:100]}' is not searched for; {known} are", "invalidFilter"
            )
        if not isinstance(term.value, str):
            raise ScimError(400, f"'{term.name}' is compared with a string", "invalidFilter")
        if not term.value.isprintable():
            return None  # no name or id has such characters
        if kept in wanted and not _same(kept, wanted[kept], term.value):
            return None
        wanted[kept] = term.value
    return Sought(**wanted)


def _same(kept: str, one: str, other: str) -> bool:
    return folded(one) == folded(other) if kept == "name" else one == other


def _value(text: str, wrong: str) -> str | bool:
    try:
        value = msgspec.json.decode(text.lower() if text.lower() in ("true", "false") else text)
    except (msgspec.DecodeError, UnicodeError):
        value = None
    if isinstance(value, str | bool):
        return value
    raise ScimError(400, f'{text[:100]} is neither a "string" nor true or false', wrong)
