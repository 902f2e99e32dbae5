"""`inhouse roles`, `inhouse grants` and `inhouse access`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.cli import ConfigOption, DataOption, JsonOption
from inhouse.identity.terminal import (
    DialectsOption,
    ModelsOption,
    PurposesOption,
    ReasonOption,
    UntilOption,
    bounds_of,
    done,
    iso,
    ledger,
    moment,
    names_of,
    rows,
)

if TYPE_CHECKING:
    from inhouse.identity.ledger import Ledger
    from inhouse.identity.permissions import Role
    from inhouse.store.grants import StoredGrant
    from inhouse.store.requests import StoredRequest
    from inhouse.store.state import State

roles = typer.Typer(help="Roles: sets of permissions.", no_args_is_help=True)
grants = typer.Typer(help="Grants: who has which role.", no_args_is_help=True)
access = typer.Typer(help="Requests for grants, and grants in an emergency.", no_args_is_help=True)

RoleArgument = Annotated[str, typer.Argument(metavar="ROLE", help="see: inhouse roles list")]
RequestArgument = Annotated[str, typer.Argument(metavar="REQUEST", help="its id")]
ForOption = Annotated[str, typer.Option("--for", metavar="USER", help="whose it shall be")]
NoteOption = Annotated[str, typer.Option(metavar="TEXT", help="for whoever asked")]


@roles.command("list")
def list_roles(
    config: ConfigOption = None, data: DataOption = None, json: JsonOption = False
) -> None:
    """Show the built-in roles and the company's own."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.roles import Roles

    found = Roles(ledger(config, data)).list(Actor.local())
    rows(json, [_role(role) for role in found], ("name", "about", "permissions"), "no roles")


@roles.command()
def permissions(json: JsonOption = False) -> None:
    """Show every permission there is."""
    from inhouse.identity.permissions import PERMISSIONS

    plain = [{"permission": name, "allows": about} for name, about in PERMISSIONS.items()]
    rows(json, plain, ("permission", "allows"), "none")


@roles.command("set")
def set_(
    role: RoleArgument,
    permissions: Annotated[str, typer.Option(metavar="NAME,...", help="all that it has then")],
    about: Annotated[str, typer.Option(metavar="TEXT", help="what it is for, in one line")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Make a role of the company's own, or change it."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.roles import Roles

    opened = ledger(config, data, make=True)
    found = Roles(opened).put(Actor.local(), role, names_of(permissions) or (), about)
    text = f"{found.name}: {', '.join(sorted(found.permissions))}"
    done(opened.config, json, _role(found), text)


@roles.command("remove")
def remove_role(
    role: RoleArgument,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Forget a role that nobody has."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.roles import Roles

    opened = ledger(config, data)
    found = Roles(opened).remove(Actor.local(), role, reason)
    done(opened.config, json, _role(found), f"removed the role {found.name}")


@grants.command("list")
def list_grants(
    user: Annotated[str, typer.Option(metavar="USER", help="of this user and their teams")] = "",
    every: Annotated[bool, typer.Option("--all", help="those that have ended too")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show who has which role."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.grants import Grants

    opened = ledger(config, data)
    found = Grants(opened).list(Actor.local(), user=user, every=every)
    state = opened.state()
    head = ("id", "holder", "role", "models", "dialects", "purposes", "until", "given by")
    rows(json, [_grant(state, grant) for grant in found], head, "no grants")


@grants.command()
def give(
    holder: Annotated[str, typer.Argument(metavar="HOLDER", help="a user, by id or name")],
    role: RoleArgument,
    team: Annotated[bool, typer.Option("--team", help="HOLDER is a team")] = False,
    group: Annotated[
        bool, typer.Option("--group", help="HOLDER is a group of the identity provider")
    ] = False,
    models: ModelsOption = "",
    dialects: DialectsOption = "",
    purposes: PurposesOption = "",
    expires: UntilOption = "",
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Give a role to a user, a team or a group."""
    from inhouse.errors import UsageError
    from inhouse.identity.actor import Actor
    from inhouse.identity.grants import Grants
    from inhouse.store.grants import GROUP, TEAM, USER

    if team and group:
        raise UsageError("--team and --group are two kinds of holder; give one")
    opened = ledger(config, data, make=group)
    grant = Grants(opened).give(
        Actor.local(),
        holder,
        role,
        kind=TEAM if team else GROUP if group else USER,
        bounds=bounds_of(opened.config, models, dialects, purposes),
        expires=moment(expires),
        reason=reason,
    )
    _given(opened, grant, json)


@grants.command()
def revoke(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="its id")],
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """End a grant. No gateway goes by it when this returns."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.grants import Grants

    opened = ledger(config, data)
    found = Grants(opened).revoke(Actor.local(), grant, reason)
    done(
        opened.config,
        json,
        _grant(opened.state(), found),
        f"revoked {found.id}, the role {found.role}",
    )


@access.command("list")
def list_requests(
    every: Annotated[bool, typer.Option("--all", help="decided ones too")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show the requests that wait."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.requests import Requests

    opened = ledger(config, data)
    found = Requests(opened).list(Actor.local(), every=every)
    state = opened.state()
    head = ("id", "user", "role", "models", "until", "state", "asked by", "reason")
    rows(json, [_request(state, each) for each in found], head, "no requests")


@access.command()
def request(
    role: RoleArgument,
    user: ForOption,
    reason: ReasonOption,
    models: ModelsOption = "",
    dialects: DialectsOption = "",
    purposes: PurposesOption = "",
    until: UntilOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Ask for a grant, which somebody else approves."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.requests import Requests

    opened = ledger(config, data)
    asked = Requests(opened).ask(
        Actor.local(),
        role,
        reason=reason,
        bounds=bounds_of(opened.config, models, dialects, purposes),
        until=moment(until),
        user=user,
    )
    done(opened.config, json, _request(opened.state(), asked), f"{asked.id} waits for approval")


@access.command()
def approve(
    request: RequestArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Give what somebody else asked for."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.requests import Requests

    opened = ledger(config, data)
    _given(opened, Requests(opened).approve(Actor.local(), request, note), json)


@access.command()
def deny(
    request: RequestArgument,
    note: NoteOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Refuse what somebody asked for."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.requests import Requests

    opened = ledger(config, data)
    denied = Requests(opened).deny(Actor.local(), request, note)
    done(opened.config, json, _request(opened.state(), denied), f"{denied.id} is denied")


@access.command("break-glass")
def break_glass(
    role: RoleArgument,
    user: ForOption,
    reason: ReasonOption,
    minutes: Annotated[
        int | None,
        typer.Option(min=1, show_default="access.breakglass_minutes", help="how long"),
    ] = None,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Give a role for minutes, in an emergency. It alarms."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.grants import Grants

    opened = ledger(config, data)
    grant = Grants(opened).break_glass(
        Actor.local(), role, reason=reason, minutes=minutes, user=user
    )
    _given(opened, grant, json)


def _given(opened: "Ledger", grant: "StoredGrant", json: bool) -> None:
    plain = _grant(opened.state(), grant)
    sentence = f"{grant.id}: {plain['holder']} has the role {grant.role} until {plain['until']}"
    done(opened.config, json, plain, sentence.replace("until never", "without an end"))


def _role(role: "Role") -> dict[str, Any]:
    from inhouse.identity.permissions import ROLES

    return {
        "name": role.name,
        "about": role.about,
        "permissions": sorted(role.permissions),
        "built_in": role.name in ROLES,
    }


def _grant(state: "State", grant: "StoredGrant") -> dict[str, Any]:
    from inhouse.identity.grants import holder_name

    return {
        "id": grant.id,
        "holder": holder_name(state, grant),
        "holder_id": grant.holder,
        "role": grant.role,
        "models": _any(grant.models),
        "dialects": _any(grant.dialects),
        "purposes": _any(grant.purposes),
        "created": iso(grant.created),
        "until": "never" if grant.expires is None else iso(grant.expires),
        "given_by": grant.given_by,
        "reason": grant.reason,
        "origin": grant.origin,
        "revoked": None if grant.revoked is None else iso(grant.revoked),
        "revoked_by": grant.revoked_by,
    }


def _request(state: "State", request: "StoredRequest") -> dict[str, Any]:
    names = {user.id: user.name for user in state.users}
    return {
        "id": request.id,
        "user": names.get(request.user_id, request.user_id),
        "role": request.role,
        "models": _any(request.models),
        "dialects": _any(request.dialects),
        "purposes": _any(request.purposes),
        "created": iso(request.created),
        "until": "never" if request.until is None else iso(request.until),
        "state": request.state,
        "asked_by": request.asked_by,
        "reason": request.reason,
        "decided_by": request.decided_by,
        "note": request.note,
        "grant": request.grant_id,
    }


def _any(names: tuple[str, ...] | None) -> list[str]:
    return ["any"] if names is None else list(names)
