"""Collects every problem of a configuration, so that one reading tells all."""

import difflib
import re
from collections.abc import Iterable

from inhouse.config.secrets import Secret
from inhouse.errors import Problem

SHOWN_CHARS = 80
_USERINFO = re.compile(r"(://)[^\s\"']*@")


class Problems:
    """What is wrong so far."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.notes: list[str] = []  # what is worth knowing and is not wrong

    def add(self, path: str, value: object, sentence: str) -> None:
        self._note(Problem(path, shown(value), sentence))

    def unknown(self, path: str, known: Iterable[str]) -> None:
        """A key that does not exist, with the nearest one that does."""
        parent, _, name = path.rpartition(".")
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        prefix = f"{parent}." if parent else ""
        hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known here: {', '.join(names)}"
        self._note(Problem(path, "", f"there is no such key; {hint}"))

    def unknown_variable(self, name: str, known: Iterable[str]) -> None:
        """A variable of ours that sets nothing, with one that does where it is spelt much alike."""
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        example = "INHOUSE_<SECTION>_<KEY> sets a key, as INHOUSE_GATEWAY_LISTEN does"
        hint = f"did you mean '{near[0]}'?" if near else example
        self._note(Problem(name, "", f"there is no such variable; {hint}"))

    def within(self, path: str) -> bool:
        """Whether anything is wrong with a key below `path`."""
        return any(problem.path.startswith(f"{path}.") for problem in self.found)

    def _note(self, problem: Problem) -> None:
        if problem not in self.found:
            self.found.append(problem)


def shown(value: object) -> str:
    """A value as an error shows it: short, and never a secret."""
    if value is None or value == "":
        return '""' if value == "" else ""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, tables in tables
        return "..."
    text = without_userinfo(text)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "..."


def without_userinfo(text: str) -> str:
    """A text without the users and passwords of the addresses in it."""
    return _USERINFO.sub(r"\1***@", text)
