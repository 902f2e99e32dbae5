"""`inhouse check`: is the configuration right, and what does it come to?"""

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.place import SqliteFile

if TYPE_CHECKING:
    from inhouse.config.place import Place
    from inhouse.config.schema import Config, Engine

DATA_DEFAULT = "$XDG_DATA_HOME/inhouse, ~/.local/share/inhouse"

# Whether they can be read is told where they are read, and by whom they could be
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        readable=False,
        show_default="./inhouse.toml",
        help="configuration",
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        readable=False,
        show_default=DATA_DEFAULT,
        help="keys, log and state",
    ),
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
    """Check the configuration.

    Every problem at once, or a summary of what it comes to. No engine is asked anything.
    """
    from inhouse.config.document import document
    from inhouse.config.load import load_config
    from inhouse.config.sample import sample as sample_text
    from inhouse.errors import ConfigurationError, UsageError

    if sample and (json or origins):
        raise UsageError("--sample prints a file, and goes with neither --json nor --origins")
    if sample:
        print(sample_text(), end="")
        return
    try:
        loaded = load_config(config, data, tls=True)
    except ConfigurationError as error:
        if json:
            print(json_module.dumps({"ok": False, "problems": [_plain(p) for p in error.problems]}))
        raise
    if json:
        print(json_module.dumps(document(loaded, origins=origins)))
    else:
        _print(loaded, origins)


def _plain(value: Any) -> dict[str, Any]:
    return dataclasses.asdict(value)


def _print(config: "Config", origins: bool) -> None:
    from inhouse.config.document import values

    print(f"configuration  {config.file or 'defaults, no file'}: good")
    print(f"data           {config.data}")
    print(f"state          {_state(config.database)}")
    scheme = "https" if config.settings.tls.on else "http"
    print(f"clients        {scheme}://{config.settings.gateway.listen}")
    print(f"operators      http://{config.settings.admin.listen}")
    for name, model in config.models.items():
        engines = ", ".join(_engine(engine) for engine in model.engines)
        print(f"model          {name} ({model.task.value}): {engines}")
    dlp = config.settings.dlp
    print(f"screening      prompts: {dlp.prompt}, answers: {dlp.answer}")
    for note in config.notes:
        print(f"note           {note}")
    print("not tried      whether engines and database can be reached, and addresses are free")
    if origins:
        print()
        for key, value, origin in values(config):
            literal = json_module.dumps(value, ensure_ascii=False)
            print(f"{key} = {literal}    # {origin}")


def _state(place: "Place") -> str:
    if isinstance(place, SqliteFile):
        return "SQLite"
    return f"PostgreSQL at {place.host}:{place.port}, TLS: {place.sslmode}"


def _engine(engine: "Engine") -> str:
    if engine.path is not None:
        return f"embedded {engine.path}"
    return f"{engine.kind.value} '{engine.model}' at {engine.url}"
