"""A key of a section, with what the manual says of it.

`note` is the sentence that explains a key; `least` and `most` bound a number, both included.
"""

from dataclasses import field
from typing import Any


def key(
    default: Any,
    note: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A key of a section: its default, what it means, its bounds or choices."""
    metadata = {"note": note, "least": least, "most": most, "choices": choices}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)
