"""The command line: one verb per room. What a verb needs is imported when it runs, so that
`inhouse --help` answers at once."""

import os
from enum import StrEnum
from typing import Annotated

import typer

from inhouse import __version__
from inhouse.audit.cli import app as audit
from inhouse.config.cli import ConfigOption, DataOption, check
from inhouse.identity.cli import app as keys
from inhouse.identity.joining_cli import offboard, onboard
from inhouse.identity.login_cli import login, logout, whoami
from inhouse.identity.people_cli import teams, users
from inhouse.identity.reviews_cli import reviews
from inhouse.identity.rights_cli import access, grants, roles
from inhouse.upstream.fake_cli import fake_engine

app = typer.Typer(
    help="Runs large language models inside the building.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class TlsChoice(StrEnum):
    SELF_SIGNED = "self-signed"


def _version(wanted: bool) -> None:
    if wanted:
        print(f"inhouse {__version__}")
        raise typer.Exit


@app.callback()
def inhouse(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Plans, runs, protects, upgrades and proves a private LLM platform."""


@app.command()
def up(
    config: ConfigOption = None,
    data: DataOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="print one JSON line once the engines were asked")
    ] = False,
    first_key: Annotated[
        bool, typer.Option(help="at the very first start, make a key and show it once")
    ] = True,
    tls: Annotated[
        TlsChoice | None,
        typer.Option(help="'self-signed': make a local authority and a certificate in DATA/tls"),
    ] = None,
) -> None:
    """Start the gateway and its engines, and serve until Ctrl-C."""
    from inhouse.config.load import load_config
    from inhouse.up import up as serve

    settings = dict(os.environ) | ({"INHOUSE_TLS_SELF_SIGNED": "true"} if tls else {})
    serve(load_config(config, data, settings, tls=True), json_line=json, first_key=first_key)


app.command("check")(check)
app.add_typer(keys, name="keys")
app.add_typer(users, name="users")
app.add_typer(teams, name="teams")
app.add_typer(roles, name="roles")
app.add_typer(grants, name="grants")
app.add_typer(access, name="access")
app.add_typer(reviews, name="reviews")
users.command()(onboard)
users.command()(offboard)
app.command("login")(login)
app.command("logout")(logout)
app.command("whoami")(whoami)
app.add_typer(audit, name="audit")
app.command("fake-engine", short_help="Run an engine that answers, and fails, as told.")(
    fake_engine
)
