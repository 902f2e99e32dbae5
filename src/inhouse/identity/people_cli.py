"""`inhouse users` and `inhouse teams`."""

import json as json_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.cli import ConfigOption, DataOption, JsonOption
from inhouse.identity.terminal import ReasonOption, done, iso, ledger, rows

if TYPE_CHECKING:
    from inhouse.identity.users import Shown
    from inhouse.store.users import StoredUser

users = typer.Typer(help="People and services, and what they may do.", no_args_is_help=True)
teams = typer.Typer(help="Teams: users who share grants.", no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="an id, or a name")]
TeamArgument = Annotated[str, typer.Argument(metavar="TEAM", help="an id, or a name")]
HEAD = ("id", "kind", "name", "state", "last seen", "source")


@users.command("list")
def list_(config: ConfigOption = None, data: DataOption = None, json: JsonOption = False) -> None:
    """Show all users."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    found = Users(ledger(config, data)).list(Actor.local())
    rows(json, [_plain(user) for user in found], HEAD, "no users; inhouse users create NAME")


@users.command()
def show(
    user: UserArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show one user: teams, grants, keys, and what it comes to."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    shown = Users(ledger(config, data)).show(Actor.local(), user)
    if json:
        print(json_module.dumps(_shown(shown)))
        return
    for name, value in _shown(shown).items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name + ':':<13} {'-' if text in (None, '') else text}")
    for first, second in shown.broken:
        print(f"note: {first} and {second} may not be had together; both are gone")


@users.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a service's name, or a person's")],
    issuer: Annotated[
        str, typer.Option(metavar="URL", help="of a person: the identity provider")
    ] = "",
    subject: Annotated[
        str, typer.Option(metavar="SUB", help="of a person: who they are there")
    ] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="to be shown only")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Add a service, or a person of an identity provider. It may do nothing yet."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    opened = ledger(config, data, make=True)
    user = Users(opened).create(Actor.local(), name, issuer=issuer, subject=subject, email=email)
    done(opened.config, json, _plain(user), f"{user.id}, the {user.kind} {user.name}")


@users.command()
def deactivate(
    user: UserArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Take all rights away, until reactivated. No key works when this returns."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    opened = ledger(config, data)
    found = Users(opened).deactivate(Actor.local(), user, reason)
    done(opened.config, json, _plain(found), f"{found.id}, {found.name}, is inactive")


@users.command()
def reactivate(
    user: UserArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Give back what was not revoked."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    opened = ledger(config, data)
    found = Users(opened).reactivate(Actor.local(), user, reason)
    done(opened.config, json, _plain(found), f"{found.id}, {found.name}, is active")


@users.command()
def remove(
    user: UserArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Forget a user; keys and grants are revoked."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    opened = ledger(config, data)
    found = Users(opened).remove(Actor.local(), user, reason)
    done(opened.config, json, _plain(found), f"removed {found.id}, {found.name}")


@users.command()
def unseen(
    days: Annotated[
        int | None,
        typer.Option(min=1, show_default="access.unseen_days", help="not seen for so long"),
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show active users who were not seen for long, longest first."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.users import Users

    found = Users(ledger(config, data)).unseen(Actor.local(), days)
    rows(json, [_plain(user) for user in found], HEAD, "every active user was seen")


@teams.command("list")
def list_teams(
    config: ConfigOption = None, data: DataOption = None, json: JsonOption = False
) -> None:
    """Show all teams and who is in them."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.teams import Teams

    plain = [
        {
            "id": team.id,
            "name": team.name,
            "members": [user.name for user in members],
            "source": team.source,
        }
        for team, members in Teams(ledger(config, data)).list(Actor.local())
    ]
    rows(json, plain, ("id", "name", "members", "source"), "no teams; inhouse teams create NAME")


@teams.command("create")
def create_team(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Make an empty team."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.teams import Teams

    opened = ledger(config, data, make=True)
    team = Teams(opened).create(Actor.local(), name)
    plain = {"id": team.id, "name": team.name}
    done(opened.config, json, plain, f"{team.id}, the team {team.name}")


@teams.command("remove")
def remove_team(
    team: TeamArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """End a team; its grants are revoked."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.teams import Teams

    opened = ledger(config, data)
    found = Teams(opened).remove(Actor.local(), team, reason)
    plain = {"id": found.id, "name": found.name}
    done(opened.config, json, plain, f"removed {found.id}, the team {found.name}")


@teams.command()
def add(
    team: TeamArgument,
    user: UserArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Put a user into a team."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.teams import Teams

    opened = ledger(config, data)
    Teams(opened).add(Actor.local(), team, user)
    done(opened.config, json, {"team": team, "user": user}, f"{user} is in the team {team}")


@teams.command("take-away")
def take_away(
    team: TeamArgument,
    user: UserArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Take a user out of a team."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.teams import Teams

    opened = ledger(config, data)
    Teams(opened).take_away(Actor.local(), team, user)
    done(opened.config, json, {"team": team, "user": user}, f"{user} is not in the team {team}")


def _plain(user: "StoredUser") -> dict[str, Any]:
    return {
        "id": user.id,
        "kind": user.kind,
        "name": user.name,
        "issuer": user.issuer or None,
        "subject": user.subject if user.issuer else None,
        "email": user.email,
        "state": "active" if user.active else "inactive",
        "created": iso(user.created),
        "last_seen": iso(user.last_seen) if user.last_seen else None,
        "source": user.source,
    }


def _shown(shown: "Shown") -> dict[str, Any]:
    return _plain(shown.user) | {
        "teams": list(shown.teams),
        "grants": [f"{grant.id} {grant.role}" for grant in shown.grants],
        "keys": [key.id for key in shown.keys],
        "permissions": list(shown.permissions),
        "separated": [f"{first}+{second}" for first, second in shown.broken],
    }
