"""TOML values into the dataclasses of the schema, strictly: types, bounds, choices, secrets."""

import dataclasses
import enum
import math
import os
import stat
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inhouse.config.paths import opened, resolved
from inhouse.config.problems import Problems
from inhouse.config.secrets import Secret

SECRET_BYTES = 65_536
_TYPES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Decoder:
    """Decodes one document. `base` is what relative paths in it are relative to."""

    def __init__(self, problems: Problems, environ: Mapping[str, str], base: Path) -> None:
        self._problems = problems
        self._environ = environ
        self._base = base
        self.variables: set[str] = set()  # the names of those that hold secrets

    def section(self, kind: type[Any], path: str, table: object) -> Any:
        """A section: known keys only, each of its type; defaults where absent or wrong."""
        if not isinstance(table, dict):
            harmless = table if isinstance(table, int | float) else None  # a text may be a secret
            self._problems.add(path, harmless, f"must be a table: [{path}]")
            return kind()
        hints = typing.get_type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind)}
        values = {}
        for name, value in table.items():
            where = f"{path}.{name}"
            if name not in fields:
                self._problems.unknown(where, fields)
                continue
            decoded = self.value(hints[name], where, value, fields[name].metadata)
            if decoded is not None:
                values[name] = decoded
        return kind(**values)

    def value(self, hint: Any, path: str, value: object, bounds: Mapping[str, Any]) -> Any:
        """One value; None where it was wrong, and then the problem is noted."""
        if hint is Secret:
            return self._secret(path, value)
        if typing.get_origin(hint) is list:
            return self._texts(path, value)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return self._choice(hint, path, value)
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            value = _float(value)
        if type(value) is not hint:
            self._problems.add(
                path, value, f"must be {_TYPES[hint]}{_as_digits(hint, path, value)}"
            )
            return None
        return value if self._within(path, value, bounds) else None

    def _within(self, path: str, value: Any, bounds: Mapping[str, Any]) -> bool:
        least, most = bounds.get("least"), bounds.get("most")
        choices = bounds.get("choices")
        if choices is not None and value not in choices:
            self._problems.add(path, value, "must be " + _either(choices))
            return False
        # Written so that NaN, which is neither, does not pass either
        if (least is None or value >= least) and (most is None or value <= most):
            return True
        if most is None:
            self._problems.add(path, value, f"must be at least {least:g}")
        else:
            self._problems.add(path, value, f"must be from {least} to {most}")
        return False

    def _choice(self, kind: type[enum.Enum], path: str, value: object) -> enum.Enum | None:
        try:
            return kind(value)
        except ValueError:
            choices = [str(member.value) for member in kind]
            self._problems.add(path, value, "must be " + _either(choices))
            return None

    def _texts(self, path: str, value: object) -> list[str] | None:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return list(value)
        self._problems.add(path, value, 'must be a list of texts: ["...", "..."]')
        return None

    def _secret(self, path: str, value: object) -> Secret | None:
        match value:
            case str():
                return Secret(value)
            case {"env": str(name), **rest} if not rest:
                self.variables.add(name)
                found = self._environ.get(name)
                if not found:
                    what = "has no variable" if found is None else "has nothing in the variable"
                    self._problems.add(path, None, f"the environment {what} {name}")
                return Secret(found) if found else None
            case {"file": str(name), **rest} if not rest:
                return self._secret_file(path, name)
        self._problems.add(
            path, Secret("x"), 'must be a text, { env = "NAME" } or { file = "PATH" }'
        )
        return None

    def _secret_file(self, path: str, name: str) -> Secret | None:
        try:
            file = resolved(self._base, name)
            with opened(file) as content:
                mode = stat.S_IMODE(os.fstat(content.fileno()).st_mode)
                line = content.readline(SECRET_BYTES).decode().strip()
        except (OSError, ValueError) as error:
            self._problems.add(path, name, f"cannot be read: {_reason(error)}")
            return None
        if mode & 0o077:
            self._problems.add(
                path, str(file), f"may be read by others (mode {mode:o}); run: chmod 600 {file}"
            )
            return None
        if not line:
            self._problems.add(path, str(file), "is empty; its first line must be the secret")
            return None
        return Secret(line)


def _as_digits(hint: Any, path: str, value: object) -> str:
    """For "8MB" and "30": how a number is written, and of what it is one."""
    if hint not in (int, float) or not isinstance(value, str):
        return ""
    unit = {"bytes": " of bytes", "s": " of seconds"}.get(path.rpartition("_")[2], "")
    return f"{unit}: digits alone, without quotes"


def _either(choices: typing.Iterable[str]) -> str:
    quoted = [f"'{choice}'" for choice in choices]
    return ", ".join(quoted[:-1]) + " or " + quoted[-1]


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # beyond any bound, and said to be


def _reason(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "it is not UTF-8 text"
        case OSError():
            return error.strerror or str(error)
    return f"it {error}"
