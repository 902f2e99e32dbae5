"""Collects every problem of a configuration, so that one reading tells all."""

import difflib
from collections.abc import Iterable

from inhouse.config.secrets import Secret
from inhouse.errors import Problem

SHOWN_CHARS = 80


class Problems:
    """What is wrong so far."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, path: str, value: object, sentence: str) -> None:
        self.found.append(Problem(path, shown(value), sentence))

    def unknown(self, path: str, known: Iterable[str]) -> None:
        """A key that does not exist, with the nearest one that does."""
        parent, _, name = path.rpartition(".")
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        prefix = f"{parent}." if parent else ""
        hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known here: {', '.join(names)}"
        self.found.append(Problem(path, "", f"there is no such key; {hint}"))


def shown(value: object) -> str:
    """A value as an error shows it: short, and never a secret."""
    if value is None or value == "":
        return '""' if value == "" else ""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."
