"""What the identity provider may do to groups, and its record. What a group may do is said by
grants that name it, which the provider does not give."""

from dataclasses import dataclass, replace

from inhouse.audit.record import Changed
from inhouse.errors import NotPermitted
from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Change, Ledger, new_id
from inhouse.identity.scim_patch import GroupEdit, MemberEdit
from inhouse.identity.scim_resources import GroupSent, etag
from inhouse.identity.scim_schema import (
    MAX_GROUPS,
    MAX_RESULT_MEMBERS,
    ScimError,
    invalid,
    taken,
)
from inhouse.identity.scim_users import PERMISSION
from inhouse.store import scim_groups as store
from inhouse.store import scim_users as user_store
from inhouse.store.database import Transaction
from inhouse.store.scim_groups import StoredGroup
from inhouse.store.scim_users import Sought

Members = dict[str, list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Some of those found, how many there are, and who is in each: the ids and names of users,
    None where nobody asked."""

    total: int
    groups: list[StoredGroup]
    members: Members | None


class ScimGroups:
    """Groups of the identity provider."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def get(self, actor: Actor, group_id: str, *, members: bool) -> GroupPage:
        """A page of one. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.database.reading() as connection:
            found = _found(connection, group_id)
            inside = store.members_of(connection, [group_id]) if members else None
        return GroupPage(1, [found], inside)

    def find(
        self, actor: Actor, sought: Sought | None, offset: int, limit: int, *, members: bool
    ) -> GroupPage:
        """Those that are what is sought; fewer than `limit` where they have many members."""
        actor.needs(PERMISSION)
        if sought is None:
            return GroupPage(0, [], {} if members else None)
        with self._ledger.database.reading() as connection:
            total = store.count(connection, sought)
            found = store.page(connection, sought, offset, limit) if limit else []
            groups = _as_many_as_fit(found) if members else [group for group, _ in found]
            ids = [group.id for group in groups]
            return GroupPage(total, groups, store.members_of(connection, ids) if members else None)

    def create(self, actor: Actor, sent: GroupSent) -> StoredGroup:
        """Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.change(actor) as change:
            now = change.now
            group = StoredGroup(new_id("grp_"), sent.name, sent.external_id, now, now)
            _refuse_taken(change.connection, group)
            if store.count(change.connection, Sought()) >= MAX_GROUPS:
                raise invalid(f"there are {MAX_GROUPS} groups already")
            added = _users(change, frozenset(sent.members))
            made = change.changed(
                "group", "created", (group.id, group.name), after=_described(group)
            )
            change.record(made, *_moved(change, group, added, {}))
            store.insert(change.connection, group)
            store.add(change.connection, group.id, added)
        return group

    def replace(
        self, actor: Actor, group_id: str, sent: GroupSent, if_match: str = ""
    ) -> StoredGroup:
        """The group as it is sent. No members is nobody: that is how Keycloak's extension says
        that the last one left. Raises ScimError."""
        members = MemberEdit.replace(frozenset(sent.members))
        edit = GroupEdit(sent.name, sent.external_id or "", members)
        return self.change(actor, group_id, edit, if_match)

    def change(
        self, actor: Actor, group_id: str, edit: GroupEdit, if_match: str = ""
    ) -> StoredGroup:
        """What the edit makes of a group. Where that is what is there, nothing is changed, and
        nothing recorded. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.database.reading() as connection:
            before = _found(connection, group_id, if_match)
            inside = _inside(connection, group_id, edit.members)
            if _applied(before, edit) == before and not any(_moves(edit.members, set(inside))):
                return before
        with self._ledger.change(actor) as change:
            connection = change.connection
            before = _found(connection, group_id, if_match)
            inside = _inside(connection, group_id, edit.members)
            to_add, to_remove = _moves(edit.members, set(inside))
            if _applied(before, edit) == before and not to_add and not to_remove:
                return before  # somebody did the same meanwhile
            after = replace(_applied(before, edit), modified=change.now, version=before.version + 1)
            _refuse_taken(connection, after)
            added = _users(change, to_add)
            removed = {user_id: inside[user_id] for user_id in sorted(to_remove)}
            many = store.member_count(connection, group_id) + len(added) - len(removed)
            if added and many > MAX_RESULT_MEMBERS:
                raise ScimError(413, f"a group has at most {MAX_RESULT_MEMBERS} members")
            renamed = _described(before) != _described(after)
            records = [
                change.changed(
                    "group", "changed", (group_id, after.name),
                    before=_described(before), after=_described(after),
                )
            ]  # fmt: skip
            change.record(*(records if renamed else []), *_moved(change, after, added, removed))
            store.update(connection, after)
            store.take_away(connection, group_id, removed)
            store.add(connection, group_id, added)
        return after

    def remove(self, actor: Actor, group_id: str, if_match: str = "") -> None:
        """Grants that name the group stay, and are worth nothing without it. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.change(actor) as change:
            before = _found(change.connection, group_id, if_match)
            members = dict(store.members_of(change.connection, [group_id]).get(group_id, []))
            change.record(
                *_moved(change, before, {}, members),
                change.changed(
                    "group", "removed", (group_id, before.name), before=_described(before)
                ),
            )
            store.remove(change.connection, group_id)


def _found(connection: Transaction, group_id: str, if_match: str = "") -> StoredGroup:
    found = store.by_id(connection, group_id)
    if found is None:
        raise ScimError(404, "there is no such group")
    if if_match and if_match not in ("*", etag(found)):
        raise ScimError(412, "the group was changed meanwhile")
    return found


def _as_many_as_fit(found: list[tuple[StoredGroup, int]]) -> list[StoredGroup]:
    groups: list[StoredGroup] = []
    together = 0
    for group, members in found:
        together += members
        if groups and together > MAX_RESULT_MEMBERS:
            break
        groups.append(group)
    return groups


def _refuse_taken(connection: Transaction, group: StoredGroup) -> None:
    """No two groups share a name, and none is named as another one's id at the provider: a grant
    that names it would mean both."""
    for other in store.called(connection, group.names):
        if other.id != group.id:
            raise taken(f"there is a group '{other.name}' already: {other.id}")


def _applied(before: StoredGroup, edit: GroupEdit) -> StoredGroup:
    external_id = before.external_id if edit.external_id is None else edit.external_id or None
    return replace(before, name=edit.name or before.name, external_id=external_id)


def _inside(connection: Transaction, group_id: str, edit: MemberEdit) -> dict[str, str]:
    """Those members whom an edit may be about, and their names."""
    if edit.replaced:
        return dict(store.members_of(connection, [group_id]).get(group_id, []))
    return store.present(connection, group_id, edit.added | edit.removed)


def _moves(edit: MemberEdit, inside: set[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Who comes and who goes."""
    goes = inside - edit.added if edit.replaced else inside & edit.removed
    return edit.added - inside, frozenset(goes)


def _users(change: Change, ids: frozenset[str]) -> dict[str, str]:
    """The names of users who may be members. Raises ScimError, NotPermitted."""
    if change.actor.user is not None and change.actor.user in ids:
        raise NotPermitted("nobody adds themselves to a group; somebody else may")
    known = user_store.known_of(change.connection, ids)
    missing = sorted(ids - known.keys())
    if missing:
        raise invalid(f"'{missing[0]}' is no user whom the identity provider provisions")
    return known


def _moved(
    change: Change, group: StoredGroup, added: dict[str, str], removed: dict[str, str]
) -> list[Changed]:
    who = (group.id, group.name)
    return [
        *(
            change.changed("group", "taken away", who, before={"user": user, "name": name})
            for user, name in removed.items()
        ),
        *(
            change.changed("group", "added", who, after={"user": user, "name": name})
            for user, name in added.items()
        ),
    ]


def _described(group: StoredGroup) -> dict[str, str]:
    """For records."""
    external = {} if group.external_id is None else {"external id": group.external_id}
    return {"name": group.name, **external}
