"""`inhouse check`: is the configuration right, and what does it come to?"""

import dataclasses
import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="inhouse.toml; ./inhouse.toml when there is one"),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="where keys, log and state are kept")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON document")]


def check(
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="print a commented inhouse.toml, and check nothing")
    ] = False,
    origins: Annotated[
        bool, typer.Option("--origins", help="print every value and where it came from")
    ] = False,
) -> None:
    """Check the configuration: every problem at once, or a summary of what it comes to."""
    from inhouse.config.load import load_config
    from inhouse.config.sample import sample as sample_text
    from inhouse.errors import ConfigurationError

    if sample:
        print(sample_text(), end="")
        return
    try:
        loaded = load_config(config, data)
    except ConfigurationError as error:
        if json:
            print(json_module.dumps({"ok": False, "problems": [_plain(p) for p in error.problems]}))
        raise
    if json:
        print(json_module.dumps(_document(loaded, origins)))
    else:
        _print(loaded, origins)


def _plain(value: Any) -> dict[str, Any]:
    return dataclasses.asdict(value)


def _values(config: Any) -> list[tuple[str, str, str]]:
    """Every key with its value, as printed, and its origin. Secrets are masked by their repr."""
    rows = []
    for path, origin in config.origins.items():
        section, _, name = path.partition(".")
        holder = getattr(config.settings, section)
        value = holder.get(name) if isinstance(holder, dict) else getattr(holder, name)
        rows.append((path, str(value), origin))
    return rows


def _document(config: Any, origins: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ok": True,
        "file": str(config.file) if config.file else None,
        "data": str(config.data),
        "listen": config.settings.gateway.listen,
        "models": {
            name: {"task": model.task.value, "engines": [engine.name for engine in model.engines]}
            for name, model in config.models.items()
        },
    }
    if origins:
        document["values"] = [
            {"key": key, "value": value, "origin": origin} for key, value, origin in _values(config)
        ]
    return document


def _print(config: Any, origins: bool) -> None:
    print(f"configuration  {config.file or 'defaults, no file'}: good")
    print(f"data           {config.data}")
    print(f"clients        http://{config.settings.gateway.listen}")
    print(f"operators      http://{config.settings.admin.listen}")
    for name, model in config.models.items():
        engines = ", ".join(engine.url or str(engine.path) for engine in model.engines)
        print(f"model          {name} ({model.task.value}): {engines}")
    dlp = config.settings.dlp
    print(f"screening      prompts: {dlp.prompt}, answers: {dlp.answer}")
    if origins:
        print()
        for key, value, origin in _values(config):
            print(f"{key} = {value}    ({origin})")
