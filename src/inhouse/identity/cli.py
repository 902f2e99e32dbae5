"""`inhouse keys`: create, list, revoke and rotate API keys."""

import json as json_module
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from inhouse.identity.keys import Keys, Made
    from inhouse.store.keys import StoredKey

app = typer.Typer(help="Create, list, revoke and rotate API keys.", no_args_is_help=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="inhouse.toml")]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="data directory")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON document")]

_SPAN = re.compile(r"(\d{1,6})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="whose key it is: a person or a service")],
    models: Annotated[str, typer.Option(help="comma-separated names; any model if not given")] = "",
    expires: Annotated[str, typer.Option(help="90d, 12h or a date: 2027-01-31")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key. Its secret is shown this once."""
    keys, known = _keys(config, data)
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
        return
    if not found:
        print("no keys; make one with: inhouse keys create NAME")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("id", "owner", "models", "state", "expires", "last used", box=None)
    for key in found:
        row = _plain(key, now)
        models = ", ".join(key.models) if key.models is not None else "any"
        last_used = row["last_used"] or "never"
        table.add_row(key.id, key.owner, models, row["state"], row["expires"], last_used)
    Console().print(table)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="the key's id, or its owner's name")],
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
    key: Annotated[str, typer.Argument(help="the key's id, or its owner's name")],
    overlap: Annotated[str, typer.Option(help="how long the old secret works: 24h, 0h")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Give a key a new secret. The old one works until the overlap ends."""
    keys, _ = _keys(config, data)
    _shown_once(keys.rotate(key, overlap_s=_span(overlap) if overlap else None), json)


def _keys(config: Path | None, data: Path | None) -> "tuple[Keys, frozenset[str]]":
    from inhouse.config.load import load_config
    from inhouse.identity.keys import Keys

    loaded = load_config(config, data)
    return Keys(loaded), frozenset(loaded.models)


def _shown_once(made: "Made", json: bool) -> None:
    secret = made.token.secret.reveal()
    if json:
        print(json_module.dumps(_plain(made.key, time.time()) | {"secret": secret}))
        return
    print(secret)
    print(
        f"key {made.key.id} of {made.key.owner}, until {_iso(made.key.expires)}; "
        "the secret is not shown again",
        file=sys.stderr,
    )


def _plain(key: "StoredKey", now: float) -> dict[str, Any]:
    from inhouse.identity.keys import state_of

    return {
        "id": key.id,
        "owner": key.owner,
        "models": list(key.models) if key.models is not None else None,
        "state": state_of(key, now),
        "created": _iso(key.created),
        "expires": _iso(key.expires),
        "last_used": _iso(key.last_used) if key.last_used else None,
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
    except ValueError as error:
        raise UsageError(f"'{text}' is no time; write 90d, 12h or a date: 2027-01-31") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
