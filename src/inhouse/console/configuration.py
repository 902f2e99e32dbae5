"""The configuration that runs, as `inhouse check --json --origins` has it: secrets masked."""

from typing import Any

import msgspec

from inhouse.config.document import document
from inhouse.console.call import Call


class Value(msgspec.Struct, frozen=True):
    """One key, its value, and where that came from: the file, the environment, or the default."""

    key: str
    value: Any
    origin: str


class ModelSummary(msgspec.Struct, frozen=True):
    """A model's task, and the names of its engines."""

    task: str
    engines: list[str]


class Configuration(msgspec.Struct, frozen=True):
    """What this gateway was started with. `ok` is always true: it runs."""

    ok: bool
    file: str | None
    data: str
    listen: str
    models: dict[str, ModelSummary]
    values: list[Value]


def shown(call: Call) -> Configuration:
    return msgspec.convert(document(call.services.config, origins=True), Configuration)
