"""Reads the one file, and says where it is no TOML. No value of it is shown: it may be a secret."""

import re
import tomllib
from pathlib import Path
from typing import Any

from inhouse.errors import ConfigurationError, Problem, UsageError

MAX_BYTES = 4_000_000
BOM = b"\xef\xbb\xbf"
_LINE = re.compile(r"\(at line (\d+), column \d+\)")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=\s*(.?)")
_TWICE = ("Cannot overwrite a value", "Cannot declare")


def read(file: Path) -> dict[str, Any]:
    """The document of a file. Raises UsageError where it cannot be read, and ConfigurationError
    where it is no TOML."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"{file} is no configuration: it is larger than {MAX_BYTES} bytes")
    if content.startswith(BOM):
        raise UsageError(f"{file} begins with a byte order mark; save it as UTF-8 without one")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: byte {error.start}") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        sentence = f"is not valid TOML: {_told(str(error), text)}"
    except ValueError:
        sentence = "is no configuration: it holds a number of thousands of digits"
    except RecursionError:
        sentence = "is no configuration: its values are nested too deep"
    raise ConfigurationError([Problem(str(file), "", sentence)])


def _told(error: str, text: str) -> str:
    """The library's words; and where its line tells more, what is meant by them."""
    place = _LINE.search(error)
    lines = text.split("\n")
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    key = _KEY.match(line)
    table = re.match(r"\s*(\[+[^\[\]]*\]+)", line)
    if error.startswith(_TWICE) and (key or table):
        return f"{error}: {key[1] if key else table and table[1]} is there twice"
    if error.startswith("Invalid value") and key and re.match(r"[^\W\d]|[/~.]", key[2]):
        return f'{error}: a text stands in quotes: {key[1]} = "..."'
    return error
