"""Reading rows strictly. What makes no sense is left out, and the log says so: it gives nobody
anything, and everything else goes on."""

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import sqlalchemy as sa

log = logging.getLogger("inhouse.store")

END_OF_TIME = 253_402_300_800  # the year 10000: later ones cannot be written out
T = TypeVar("T")


def read(make: Callable[[sa.Row[Any]], T], row: sa.Row[Any], what: str, name: object) -> T | None:
    """The value of a row; None where it makes no sense."""
    try:
        return make(row)
    except (ValueError, TypeError, RecursionError) as error:
        log.error("%s %r in the store makes no sense and is left out: %s", what, name, error)
        return None


def moment(value: object) -> float:
    """Seconds since the epoch."""
    if isinstance(value, int | float) and 0 <= value < END_OF_TIME:
        return float(value)
    raise ValueError("a time of it is none")


def moment_or_none(value: object) -> float | None:
    return None if value is None else moment(value)


def text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a name of it is no text")


def text_or_none(value: object) -> str | None:
    return None if value is None else text(value)


def truth(value: object) -> bool:
    if value in (True, False):
        return bool(value)
    raise ValueError("what is true or false of it is neither")


def names(value: object) -> tuple[str, ...]:
    """A JSON list of names."""
    found = json.loads(text(value))
    if isinstance(found, list):
        return tuple(text(each) for each in found)
    raise ValueError("a list of it is none")


def names_or_none(value: object) -> tuple[str, ...] | None:
    return None if value is None else names(value)


def written(value: Iterable[str] | None) -> str | None:
    """Names as they are kept; None for any."""
    return None if value is None else json.dumps(list(value))
