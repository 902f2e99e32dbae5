"""`inhouse login`, `logout` and `whoami`: an access token for a person at a terminal."""

import json as json_module
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inhouse.config.cli import JsonOption
from inhouse.identity.terminal import iso

if TYPE_CHECKING:
    from inhouse.identity.tokenfile import Kept

SCOPES = "openid profile offline_access"
EARLY_S = 30.0  # before its end, from which on an access token is replaced

IssuerOption = Annotated[
    str,
    typer.Option(
        metavar="URL", envvar="INHOUSE_ISSUER", show_default="the last login's", help="provider"
    ),
]
ClientOption = Annotated[
    str,
    typer.Option(
        "--client-id",
        metavar="ID",
        envvar="INHOUSE_CLIENT_ID",
        show_default="the last login's",
        help="what the provider calls this program: a public client",
    ),
]


def login(
    issuer: IssuerOption = "",
    client_id: ClientOption = "",
    scope: Annotated[
        str, typer.Option(metavar="WORDS", show_default=SCOPES, help="what is asked for")
    ] = "",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="open a browser, or print the address")
    ] = True,
    consent: Annotated[
        bool,
        typer.Option(
            "--consent", help="have the provider ask you, as some do before a refresh token"
        ),
    ] = False,
    wait: Annotated[int, typer.Option(metavar="SECONDS", help="for you to log in")] = 300,
    print_token: Annotated[
        bool,
        typer.Option(
            "--print-token", help="print the access token, renewed where it is time; for scripts"
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Log in at the company's provider, with a browser."""
    from inhouse.identity import tokenfile

    path = tokenfile.place()
    if print_token:
        kept = _current(path)
        shown = {"access_token": kept.access_token, "expires": iso(kept.expires)}
        print(json_module.dumps(shown) if json else kept.access_token)
        return
    kept = _logged_in(path, issuer, client_id, scope, browser, consent, wait)
    if json:
        print(json_module.dumps(_plain(kept)))
    else:
        print(f"logged in as {kept.name} ({kept.subject} at {kept.issuer})")


def logout(json: JsonOption = False) -> None:
    """End the login of this machine, here and at the provider."""
    from inhouse.errors import InhouseError, NegativeAnswer
    from inhouse.identity import tokenfile
    from inhouse.identity.login_terminal import Terminal

    path = tokenfile.place()
    with tokenfile.alone(path):
        revoked = False
        try:
            kept = tokenfile.read(path)
            revoked = Terminal(kept.issuer, kept.client_id, kept.scopes).revoked(kept)
        except NegativeAnswer:
            raise
        except InhouseError as error:
            print(f"note: the tokens were not ended at the provider: {error}", file=sys.stderr)
        tokenfile.remove(path)
    if json:
        print(json_module.dumps({"revoked": revoked}))
    else:
        print("logged out, here and at the provider" if revoked else "logged out here")


def whoami(json: JsonOption = False) -> None:
    """Show who is logged in on this machine; no token."""
    from inhouse.identity import tokenfile

    plain = _plain(tokenfile.read(tokenfile.place()))
    if json:
        print(json_module.dumps(plain))
        return
    for name, value in plain.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        print(f"{name:<8} {text}".rstrip())


def _logged_in(
    path: Path, issuer: str, client_id: str, scope: str, browser: bool, consent: bool, wait: int
) -> "Kept":
    from inhouse.config.oidc import secure
    from inhouse.errors import InhouseError, UsageError
    from inhouse.identity import tokenfile
    from inhouse.identity.login_terminal import Terminal

    try:
        last = tokenfile.read(path)
    except InhouseError:
        last = None
    issuer = issuer or (last.issuer if last else "")
    client_id = client_id or (last.client_id if last else "")
    if not issuer or not client_id:
        raise UsageError(
            "the provider is not known: give --issuer URL and --client-id ID, or set "
            "INHOUSE_ISSUER and INHOUSE_CLIENT_ID"
        )
    if not secure(issuer):
        raise UsageError(f"the issuer '{issuer}' must be https://HOST/PATH, or http:// on loopback")
    known = last.scopes if last and (last.issuer, last.client_id) == (issuer, client_id) else []
    terminal = Terminal(issuer, client_id, scope.split() or known or SCOPES.split())

    def show(url: str) -> None:
        opened = browser and webbrowser.open(url)
        how = "a browser was opened; if it was not, open" if opened else "open in a browser"
        print(f"{how}:\n{url}", file=sys.stderr, flush=True)

    kept = terminal.login(show, wait, consent=consent)
    with tokenfile.alone(path):
        tokenfile.write(path, kept)
    return kept


def _current(path: Path) -> "Kept":
    """The login with an access token that is good for a while. Opens no browser."""
    from inhouse.errors import NegativeAnswer
    from inhouse.identity import tokenfile
    from inhouse.identity.login_terminal import Terminal

    with tokenfile.alone(path):
        kept = tokenfile.read(path)
        if time.time() < kept.expires - EARLY_S:
            return kept
        if not kept.refresh_token:
            raise NegativeAnswer("the login has expired; run: inhouse login")
        kept = Terminal(kept.issuer, kept.client_id, kept.scopes).refreshed(kept)
        tokenfile.write(path, kept)
        return kept


def _plain(kept: "Kept") -> dict[str, str | list[str]]:
    return {
        "issuer": kept.issuer,
        "subject": kept.subject,
        "name": kept.name,
        "groups": kept.groups,
        "expires": iso(kept.expires),
    }
