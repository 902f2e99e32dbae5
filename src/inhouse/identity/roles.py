"""Roles: those that come with Inhouse, and a company's own."""

import difflib
import re

from inhouse.errors import NegativeAnswer, NotPermitted, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Ledger, because, not_there
from inhouse.identity.permissions import PERMISSIONS, ROLES, Role
from inhouse.store import roles as store
from inhouse.store.roles import StoredRole
from inhouse.store.state import State

_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")


class Roles:
    """What may be done to roles."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self, actor: Actor) -> list[Role]:
        """The built-in ones, then the company's own."""
        actor.needs("roles:read")
        own = self._ledger.state().roles
        return [*ROLES.values(), *(_role(role) for role in own if role.name not in ROLES)]

    def put(self, actor: Actor, name: str, permissions: tuple[str, ...], about: str = "") -> Role:
        """Make a role, or give it these permissions; whoever has it has them within a second.
        Nobody changes a role that they hold."""
        actor.needs("roles:write")
        if not _NAME.fullmatch(name):
            raise UsageError(f"'{name[:64]}' is no name of a role: write 1 to 64 of a-z, 0-9, '-'")
        _refuse_built_in(name)
        for permission in permissions:
            _check(permission)
        if not permissions:
            raise UsageError("a role has at least one permission")
        with self._ledger.change(actor) as change:
            if name in actor.rights.roles:
                raise NotPermitted(f"nobody changes a role that they hold: {name}")
            before = {role.name: role for role in change.state.roles}.get(name)
            created = change.now if before is None else before.created
            wanted = tuple(sorted(set(permissions)))
            role = StoredRole(name, because(about), wanted, created)
            change.record(
                change.changed(
                    "role",
                    "created" if before is None else "changed",
                    (name, name),
                    before=_described(before) if before else {},
                    after=_described(role),
                )
            )
            store.put(change.connection, role)
        return _role(role)

    def remove(self, actor: Actor, name: str, reason: str = "") -> Role:
        """Forget a role that no grant gives."""
        actor.needs("roles:write")
        _refuse_built_in(name)
        with self._ledger.change(actor) as change:
            role = {role.name: role for role in change.state.roles}.get(name)
            if role is None:
                names = (each.name for each in change.state.roles)
                raise not_there("role", name, names, "inhouse roles list")
            given = [g.id for g in change.state.grants if g.role == name and g.stands(change.now)]
            if given:
                raise NegativeAnswer(
                    f"the role '{name}' is given by {', '.join(given[:5])}; revoke them first"
                )
            change.record(
                change.changed(
                    "role", "removed", (name, name), before=_described(role),
                    reason=because(reason),
                )
            )  # fmt: skip
            store.remove(change.connection, name)
        return _role(role)


def check_role(state: State, name: str) -> None:
    """Raise NotThere where there is no such role."""
    names = [*ROLES, *(role.name for role in state.roles)]
    if name not in names:
        raise not_there("role", name, names, "inhouse roles list")


def _check(permission: str) -> None:
    if permission in PERMISSIONS:
        return
    near = difflib.get_close_matches(permission, PERMISSIONS, n=3)
    hint = f"; near: {', '.join(near)}" if near else "; see docs/access.md"
    raise UsageError(f"'{permission[:64]}' is no permission{hint}")


def _refuse_built_in(name: str) -> None:
    if name in ROLES:
        raise NegativeAnswer(f"the role '{name}' comes with Inhouse and stays as it is")


def _role(stored: StoredRole) -> Role:
    return Role(stored.name, stored.about, frozenset(stored.permissions))


def _described(role: StoredRole) -> dict[str, str]:
    return {"permissions": ", ".join(role.permissions), "about": role.about}
