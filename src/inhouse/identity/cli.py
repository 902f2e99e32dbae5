"""`inhouse keys`: create, list, revoke, rotate and import API keys."""

import json as json_module
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.cli import ConfigOption, DataOption, JsonOption
from inhouse.identity.terminal import (
    DialectsOption,
    PurposesOption,
    bounds_of,
    iso,
    moment,
    span,
    table,
    until_followed,
)

if TYPE_CHECKING:
    from inhouse.config.schema import Config
    from inhouse.identity.keys import Keys, Made
    from inhouse.store.keys import StoredKey

app = typer.Typer(help="Create, list, revoke and rotate API keys.", no_args_is_help=True)

HEAD = ("id", "owner", "models", "state", "expires", "last used")


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="the service whose key it is, or its name")
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
    dialects: DialectsOption = "",
    purposes: PurposesOption = "",
    user: Annotated[
        str,
        typer.Option(metavar="ID|NAME", show_default="the service NAME", help="whose it is"),
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown this once.

    It belongs to the service NAME, which is made where there is none, with a grant for all models;
    or to a user that is there already.
    """
    keys, loaded = _keys(config, data, make=True)
    bounds = bounds_of(loaded, models, dialects, purposes)
    made = keys.create(
        name,
        models=bounds.models,
        expires=moment(expires),
        dialects=bounds.dialects,
        purposes=bounds.purposes,
        user=user,
    )
    _shown_once(made, json)
    until_followed(loaded)


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
        print(table([HEAD, *(_row(_plain(key, now)) for key in found)]))
    else:
        print("no keys; make one with: inhouse keys create NAME")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="its id, or its owner's name")],
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """End a key. The gateway refuses it when this returns."""
    keys, loaded = _keys(config, data)
    revoked = keys.revoke(key)
    if json:
        print(json_module.dumps(_plain(revoked, time.time())))
    else:
        print(f"revoked {revoked.id} of {revoked.owner}", flush=True)
    until_followed(loaded)


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
    keys, loaded = _keys(config, data)
    _shown_once(keys.rotate(key, overlap_s=span(overlap) if overlap else None), json)
    until_followed(loaded)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a database of SQLite")],
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Take over all keys of another database, into an empty one."""
    keys, loaded = _keys(config, data, make=True)
    count = keys.import_from(file.absolute())
    print(json_module.dumps({"keys": count}) if json else f"{count} keys of {file}", flush=True)
    until_followed(loaded)


def _keys(config: Path | None, data: Path | None, *, make: bool = False) -> "tuple[Keys, Config]":
    from inhouse.config.load import load_config
    from inhouse.config.place import SqliteFile
    from inhouse.identity.keys import Keys

    loaded = load_config(config, data)
    keys = Keys(loaded, make=make)
    if keys.made_store:
        where = loaded.data if isinstance(loaded.database, SqliteFile) else loaded.database
        print(f"note: {where} is new: there were no keys yet", file=sys.stderr)
    return keys, loaded


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
        sentence = f"key {key.id} of {key.owner}, until {iso(key.expires)}"
        print(f"{sentence}; the secret is not shown again", file=sys.stderr)
    if made.old_secret_ends is not None:
        print(f"the old secret works until {iso(made.old_secret_ends)}", file=sys.stderr)
    if made.others:
        others = ", ".join(made.others)
        print(f"note: {key.owner} has another key already: {others}", file=sys.stderr)
    if made.may_nothing:
        print(
            f"note: no grant lets {key.owner} ask a model; give one with: "
            f"inhouse grants give {key.owner_id} service",
            file=sys.stderr,
        )


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
        "user": key.owner_id,
        "models": list(key.models) if key.models is not None else None,
        "dialects": list(key.dialects) if key.dialects is not None else None,
        "purposes": list(key.purposes) if key.purposes is not None else None,
        "state": state_of(key, now),
        "created": iso(key.created),
        "expires": iso(key.expires),
        "last_used": iso(key.last_used) if key.last_used else None,
        "secrets": live_secrets(key, now),
        "old_secret_ends": iso(ends) if ends is not None else None,
    }
