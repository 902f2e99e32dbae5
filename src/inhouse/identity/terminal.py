"""What the commands of this room share: the ledger, tables, times, and the wait for gateways."""

import contextlib
import fcntl
import json as json_module
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from inhouse.config.schema import Config
    from inhouse.identity.bounds import Bounds
    from inhouse.identity.ledger import Ledger

ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="why, for the record")]
ModelsOption = Annotated[
    str, typer.Option(metavar="NAME,...", show_default="any", help="these models only")
]
DialectsOption = Annotated[
    str,
    typer.Option(
        metavar="NAME,...", show_default="any", help="these APIs only: openai, anthropic, ollama"
    ),
]
PurposesOption = Annotated[
    str, typer.Option(metavar="NAME,...", show_default="any", help="these purposes only")
]
UntilOption = Annotated[
    str, typer.Option(metavar="WHEN", show_default="never", help="90d, 12h or 2027-01-31")
]


def ledger(config: Path | None, data: Path | None, *, make: bool = False) -> "Ledger":
    """The store and the log that a command works on."""
    from inhouse.config.load import load_config
    from inhouse.identity.ledger import Ledger

    opened = Ledger(load_config(config, data), make=make)
    if opened.made_store:
        print(f"note: {opened.database.name} is new", file=sys.stderr)
    return opened


def done(config: "Config", json: bool, plain: object, sentence: str) -> None:
    """Say what was done, then wait until every gateway goes by it."""
    print(json_module.dumps(plain) if json else sentence, flush=True)
    until_followed(config)


def rows(json: bool, plain: list[dict[str, Any]], head: tuple[str, ...], nothing: str) -> None:
    """A list of things, each with what `head` names; what is None is left empty."""
    if json:
        print(json_module.dumps(plain))
    elif plain:
        cells = [tuple(_cell(each[name.replace(" ", "_")]) for name in head) for each in plain]
        print(table([head, *cells]))
    else:
        print(nothing)


def names_of(text: str) -> tuple[str, ...] | None:
    """'a, b' as names; None where there are none, for any."""
    return tuple(each.strip() for each in text.split(",") if each.strip()) or None


def bounds_of(config: "Config", models: str, dialects: str, purposes: str) -> "Bounds":
    """What the three options say; a note for a model that is not there."""
    from inhouse.identity.bounds import Bounds

    bounds = Bounds(names_of(models), names_of(dialects), names_of(purposes))
    for model in bounds.models or ():
        if model not in config.models:
            print(f"note: there is no model '{model}' in the configuration", file=sys.stderr)
    return bounds


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


def until_followed(config: "Config") -> None:
    """Return once the gateways that run on this data go by what was changed, so that what follows
    in a script may use it. Of a database of a server nobody knows whether there are any."""
    from inhouse.config.place import SqliteFile
    from inhouse.identity.watch import FOLLOWED_S

    if not isinstance(config.database, SqliteFile):
        time.sleep(FOLLOWED_S)
        return
    with contextlib.suppress(OSError), (config.data / "lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(FOLLOWED_S)


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as they need to be, whatever the terminal: nothing is cut."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def span(text: str) -> float:
    from inhouse.config.when import span_s
    from inhouse.errors import UsageError

    found = span_s(text)
    if found is None:
        raise UsageError(f"'{text}' is no span of time; write 90d, 12h or 30m")
    return found


def moment(text: str) -> float | None:
    from inhouse.config.when import instant, span_s
    from inhouse.errors import UsageError

    if not text:
        return None
    found = span_s(text)
    at = time.time() + found if found is not None else instant(text)
    if at is None:
        raise UsageError(f"'{text}' is no time; write 90d, 12h or a date: 2027-01-31")
    return at


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
