"""The tables of docs/access.md that say which role may call which route. The listeners' own tables
of routes are what they are made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inhouse.identity.permissions import ROLES

YES, NO = "yes", ""
NOBODY, NO_ROLE = "nobody known", "no role"
"""Whoever has no credential; and whoever has one, and no role."""


@dataclass(frozen=True, slots=True)
class Row:
    """One route, and what it needs."""

    method: str
    path: str
    needs: str
    permissions: frozenset[str]  # one of them is enough
    known: bool = True  # a credential is needed
    allowed: bool = True  # a permission is needed too

    @property
    def cells(self) -> list[bool]:
        """Whether it may be called: by nobody known, without a role, and by each role."""
        bare = not self.allowed
        roles = [bare or bool(self.permissions & role.permissions) for role in ROLES.values()]
        return [not self.known, bare, *roles]


def table(rows: Iterable[Row]) -> str:
    heads = ["method", "path", "needs", NOBODY, NO_ROLE, *ROLES]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [row.method, f"`{row.path}`", row.needs]
        cells += [YES if cell else NO for cell in row.cells]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def put(page: Path, heading: str, text: str) -> None:
    """Write a table anew: what stands under a heading, up to the next one."""
    before, found, after = page.read_text().partition(f"{heading}\n\n")
    if not found:
        raise ValueError(f"{page} has no heading {heading!r}")
    lines = after.split("\n")
    while lines and lines[0].startswith("|"):
        del lines[0]
    page.write_text(before + found + text + "\n".join(lines))
