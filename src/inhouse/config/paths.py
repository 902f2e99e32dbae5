"""Paths as people write them: with a '~', or relative to the file that they stand in."""

import os
from pathlib import Path
from typing import BinaryIO


def resolved(base: Path, text: str) -> Path:
    """An absolute path. Raises ValueError, with what is wrong, where it can be none."""
    if "\0" in text:
        raise ValueError("holds a NUL character")
    try:
        return base / Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError("begins with '~', and there is no such home directory") from error


def opened(path: Path) -> BinaryIO:
    """A file to read. A pipe without a writer does not keep us waiting. Raises OSError."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
