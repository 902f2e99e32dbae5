"""The configuration as one JSON document, without its secrets."""

import enum
from typing import Any

from inhouse.config.load import every_value
from inhouse.config.schema import Config
from inhouse.config.secrets import Secret


def document(config: Config, *, origins: bool) -> dict[str, Any]:
    """What the configuration comes to; with `origins`, every value and where it came from."""
    told: dict[str, Any] = {
        "ok": True,
        "notes": list(config.notes),
        "file": str(config.file) if config.file else None,
        "data": str(config.data),
        "listen": config.settings.gateway.listen,
        "models": {
            name: {"task": model.task.value, "engines": [engine.name for engine in model.engines]}
            for name, model in config.models.items()
        },
    }
    if origins:
        told["values"] = [
            {"key": key, "value": value, "origin": origin} for key, value, origin in values(config)
        ]
    return told


def values(config: Config) -> list[tuple[str, Any, str]]:
    """Every key with its value, as JSON has it, and its origin. Secrets are masked."""
    return [
        (key, _shown(value), config.origins[key]) for key, value in every_value(config.settings)
    ]


def _shown(value: object) -> Any:
    if isinstance(value, Secret):
        return "***" if value else ""
    return value.value if isinstance(value, enum.Enum) else value
