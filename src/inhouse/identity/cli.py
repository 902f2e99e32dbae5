"""`inhouse keys`: create, list, revoke and rotate API keys."""

import json as json_module
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.cli import DATA_DEFAULT

if TYPE_CHECKING:
    from inhouse.identity.keys import Keys, Made
    from inhouse.store.keys import StoredKey

app = typer.Typer(help="Create, list, revoke and rotate API keys.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", show_default="./inhouse.toml", help="configuration"),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", show_default=DATA_DEFAULT, help="where keys are kept"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON document")]

_SPAN = re.compile(r"(\d{1,6})([mhd])")
HEAD = ("id", "owner", "models", "state", "expires", "last used")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="whose key it is: a person or a service")
    ],
    models: Annotated[
        str, typer.Option(metavar="NAME,...", show_default="any", help="a ceiling")
    ] = "",
    expires: Annotated[
        str,
        typer.Option(
            metavar="WHEN", show_default="keys.expire_days", help="90d, 12h or 2027-01-31"
        ),
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown this once."""
    keys, known = _keys(config, data, make=True)
    wanted = tuple(each.strip() for each in models.split(",") if each.strip()) or None
    for model in wanted or ():
        if model not in known:
            print(f"note: there is no model '{model}' in the configuration", file=sys.stderr)
    _shown_once(keys.create(name, models=wanted, expires=_moment(expires)), json)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="expired and revoked ones too")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show the keys; never a secret."""
    from inhouse.identity.keys import state_of

    keys, _ = _keys(config, data)
    now = time.time()
    found = [key for key in keys.list() if every or state_of(key, now) == "active"]
    if json:
        print(json_module.dumps([_plain(key, now) for key in found]))
    elif found:
        print(_table([HEAD, *(_row(_plain(key, now)) for key in found)]))
    else:
        print("no keys; make one with: inhouse keys create NAME")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="its id, or its owner's name")],
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """End a key. Every gateway refuses it within a second."""
    keys, _ = _keys(config, data)
    revoked = keys.revoke(key)
    if json:
        print(json_module.dumps(_plain(revoked, time.time())))
    else:
        print(f"revoked {revoked.id} of {revoked.owner}")


@app.command()
def rotate(
    key: Annotated[str, typer.Argument(metavar="KEY", help="its id, or its owner's name")],
    overlap: Annotated[
        str,
        typer.Option(
            metavar="SPAN", show_default="keys.overlap_hours", help="the old secret's time: 24h, 0h"
        ),
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Give a key a new secret. The old one works until the overlap ends."""
    keys, _ = _keys(config, data)
    _shown_once(keys.rotate(key, overlap_s=_span(overlap) if overlap else None), json)


def _keys(
    config: Path | None, data: Path | None, *, make: bool = False
) -> "tuple[Keys, frozenset[str]]":
    from inhouse.config.load import load_config
    from inhouse.identity.keys import Keys

    loaded = load_config(config, data)
    new = not loaded.database.exists()
    keys = Keys(loaded, make=make)
    if new:
        print(f"note: {loaded.data} is new: there were no keys yet", file=sys.stderr)
    return keys, frozenset(loaded.models)


def _shown_once(made: "Made", json: bool) -> None:
    from inhouse.errors import UsageError

    key, secret = made.key, made.token.secret.reveal()
    shown = json_module.dumps(_plain(key, time.time()) | {"secret": secret}) if json else secret
    try:
        print(shown, flush=True)
    except OSError as error:
        raise UsageError(
            f"the secret of the key {key.id} could not be shown: {error.strerror}; "
            f"nobody has it; run: inhouse keys revoke {key.id}"
        ) from error
    if not json:
        sentence = f"key {key.id} of {key.owner}, until {_iso(key.expires)}"
        print(f"{sentence}; the secret is not shown again", file=sys.stderr)
    if made.old_secret_ends is not None:
        print(f"the old secret works until {_iso(made.old_secret_ends)}", file=sys.stderr)
    if made.others:
        others = ", ".join(made.others)
        print(f"note: {key.owner} has another key already: {others}", file=sys.stderr)


def _table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as they need to be, whatever the terminal: nothing is cut."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _row(plain: dict[str, Any]) -> tuple[str, ...]:
    models = "any" if plain["models"] is None else ", ".join(plain["models"])
    state = plain["state"]
    if plain["old_secret_ends"]:
        state += f", {plain['secrets']} secrets until {plain['old_secret_ends']}"
    last_used = plain["last_used"] or "never"
    return plain["id"], plain["owner"], models, state, plain["expires"], last_used


def _plain(key: "StoredKey", now: float) -> dict[str, Any]:
    from inhouse.identity.keys import live_secrets, old_secret_ends, state_of

    ends = old_secret_ends(key, now)
    return {
        "id": key.id,
        "owner": key.owner,
        "models": list(key.models) if key.models is not None else None,
        "state": state_of(key, now),
        "created": _iso(key.created),
        "expires": _iso(key.expires),
        "last_used": _iso(key.last_used) if key.last_used else None,
        "secrets": live_secrets(key, now),
        "old_secret_ends": _iso(ends) if ends is not None else None,
    }


def _span(text: str) -> float:
    from inhouse.errors import UsageError

    match = _SPAN.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is no span of time; write 90d, 12h or 30m")
    return int(match.group(1)) * _SECONDS[match.group(2)]


def _moment(text: str) -> float | None:
    from inhouse.errors import UsageError

    if not text:
        return None
    if _SPAN.fullmatch(text):
        return time.time() + _span(text)
    try:
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"'{text}' is no time; write 90d, 12h or a date: 2027-01-31") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
