"""`inhouse users onboard` and `inhouse users offboard`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.cli import ConfigOption, DataOption, JsonOption
from inhouse.identity.terminal import ReasonOption, done, ledger, names_of

if TYPE_CHECKING:
    from inhouse.store.grants import StoredGrant


def onboard(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a service's name, or a person's")],
    teams: Annotated[str, typer.Option(metavar="TEAM,...", help="which they are in")] = "",
    like: Annotated[
        str, typer.Option(metavar="USER", help="whose teams and own grants they get too")
    ] = "",
    issuer: Annotated[str, typer.Option(metavar="URL", help="of a person: the provider")] = "",
    subject: Annotated[str, typer.Option(metavar="SUB", help="of a person: who there")] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="to be shown only")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Add a user with teams and grants, in one step."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.joining import Joining

    opened = ledger(config, data, make=True)
    begun = Joining(opened).onboard(
        Actor.local(), name, issuer=issuer, subject=subject, email=email,
        teams=names_of(teams) or (), like=like, reason=reason,
    )  # fmt: skip
    plain = {
        "id": begun.user.id, "name": begun.user.name, "step": begun.id,
        "teams": list(begun.teams), "grants": _grants(begun.grants),
    }  # fmt: skip
    sentence = f"{begun.user.id}, the {begun.user.kind} {begun.user.name}"
    done(opened.config, json, plain, f"{sentence}\n{_lines(plain, ('teams', 'grants'))}")


def offboard(
    user: Annotated[str, typer.Argument(metavar="USER", help="an id, or a name")],
    reason: ReasonOption,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Take everything away from somebody who leaves, in one step.

    They are deactivated; keys, grants, teams, open requests and sessions end. Nothing of it works
    when this returns.
    """
    from inhouse.identity.actor import Actor
    from inhouse.identity.joining import Joining

    opened = ledger(config, data)
    taken = Joining(opened).offboard(Actor.local(), user, reason)
    plain = {
        "id": taken.user.id, "name": taken.user.name, "step": taken.id,
        "deactivated": taken.deactivated, "keys": list(taken.keys),
        "grants": _grants(taken.grants), "teams": list(taken.teams),
        "requests": list(taken.requests), "sessions": list(taken.sessions),
        "reviews": list(taken.reviews),
    }  # fmt: skip
    gone = _lines(plain, ("keys", "grants", "teams", "requests", "sessions"))
    if taken.reviews:
        print(
            f"note: {taken.user.name} was to decide in: {', '.join(taken.reviews)}; name somebody "
            "else with: inhouse reviews assign",
            file=sys.stderr,
        )
    sentence = f"{taken.user.id}, {taken.user.name}, is inactive; taken away:"
    done(opened.config, json, plain, f"{sentence}\n{gone}")


def _grants(grants: "tuple[StoredGrant, ...]") -> list[str]:
    return [f"{grant.id} {grant.role}" for grant in grants]


def _lines(plain: dict[str, Any], names: tuple[str, ...]) -> str:
    return "\n".join(f"{name + ':':<10} {', '.join(plain[name]) or '-'}" for name in names)
