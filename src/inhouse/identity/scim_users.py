"""What the identity provider may do to persons, and its record.

    users.active          is gone by: nobody who is not active may do anything
    the provider's word   ends it when it says no; when it says yes again, what was before is back

So who was deactivated here stays so, whatever the provider says; and who has left there cannot be
reactivated here. Only persons of the provider's own issuer are in its reach, and of these only
whom it provisioned: no service, nobody local.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Change, Ledger
from inhouse.identity.scim_resources import Person, etag, profile_of
from inhouse.identity.scim_schema import MAX_USERS, ScimError, invalid, taken
from inhouse.identity.users import described, new_user
from inhouse.store import grants as grant_store
from inhouse.store import scim_groups as group_store
from inhouse.store import scim_users as store
from inhouse.store import users as user_store
from inhouse.store.database import Transaction
from inhouse.store.scim_users import ProvisionedUser, Sought
from inhouse.store.users import StoredUser

PERMISSION = "scim:write"
SUBJECTS = ("externalId", "userName", "id")


@dataclass(frozen=True, slots=True)
class Page:
    """Some of those found, each with the ids and names of their groups, and how many there are."""

    total: int
    users: list[ProvisionedUser]
    groups: dict[str, list[tuple[str, str]]]


class ScimUsers:
    """Persons of one issuer; `subject` is the attribute that is the 'sub' of their tokens."""

    def __init__(self, ledger: Ledger, issuer: str, subject: str) -> None:
        self._ledger = ledger
        self._issuer = issuer
        self._subject = subject

    def get(self, actor: Actor, user_id: str) -> Page:
        """A page of one. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.database.reading() as connection:
            return _page(connection, [_found(connection, user_id)], 1)

    def find(self, actor: Actor, sought: Sought | None, offset: int, limit: int) -> Page:
        """Those who are what is sought."""
        actor.needs(PERMISSION)
        if sought is None:
            return Page(0, [], {})
        with self._ledger.database.reading() as connection:
            total = store.count(connection, sought)
            users = store.page(connection, sought, offset, limit) if limit else []
            return _page(connection, users, total)

    def create(self, actor: Actor, person: Person) -> Page:
        """Make a person, or take into the provider's care one who came with a token before, or
        whom it had removed. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.change(actor) as change:
            _refuse_taken(change.connection, person, "")
            if store.count(change.connection, Sought()) >= MAX_USERS:
                raise invalid(f"there are {MAX_USERS} users already")
            subject = self._subject_of(person)
            known = store.person(change.connection, self._issuer, subject) if subject else None
            if known is None:
                made = self._new(change, person, subject)
            else:
                made = self._taken_over(change, person, known)
            return _page(change.connection, [made], 1)

    def change(
        self,
        actor: Actor,
        user_id: str,
        edit: Callable[[ProvisionedUser], Person],
        if_match: str = "",
    ) -> Page:
        """What the edit makes of a person. Where that is what is there, nothing is changed, and
        nothing recorded. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.database.reading() as connection:
            before = _found(connection, user_id, if_match)
            if _applied(before, edit(before), before.modified) == before:
                return _page(connection, [before], 1)
        with self._ledger.change(actor) as change:
            before = _found(change.connection, user_id, if_match)
            person = edit(before)
            after = _applied(before, person, change.now)
            if after == before:  # somebody did the same meanwhile
                return _page(change.connection, [before], 1)
            _refuse_taken(change.connection, person, user_id)
            after = self._with_subject(change, before, after, person)
            _record(change, before, after)
            store.update(change.connection, after)
            return _page(change.connection, [after], 1)

    def remove(self, actor: Actor, user_id: str, if_match: str = "") -> None:
        """The person is deactivated and in no group, and hidden from the provider; grants and
        records stay. Raises ScimError."""
        actor.needs(PERMISSION)
        with self._ledger.change(actor) as change:
            before = _found(change.connection, user_id, if_match)
            after = replace(
                _with_word(before, False),
                removed=change.now,
                modified=change.now,
                version=before.version + 1,
            )
            left = group_store.leave_all(change.connection, user_id, change.now)
            name = before.user.name
            change.record(
                change.changed(
                    "user",
                    "deactivated" if before.user.active else "changed",
                    (user_id, name),
                    before=_described(before),
                    after=_described(after),
                    reason="removed by the identity provider",
                ),
                *(
                    change.changed(
                        "group", "taken away", (group.id, group.name),
                        before={"user": user_id, "name": name},
                    )
                    for group in left
                ),
            )  # fmt: skip
            store.update(change.connection, after)

    def _new(self, change: Change, person: Person, subject: str) -> ProvisionedUser:
        user = new_user(
            change.now, person.shown_name, self._issuer, subject or "id",
            person.profile.email or "", "scim",
        )  # fmt: skip
        active = person.active is not False
        user = replace(user, subject=subject or user.id, active=active)
        made = _word(change.now, person, user, active)
        _record(change, None, made)
        user_store.insert(change.connection, user)
        store.insert(change.connection, made)
        return made

    def _taken_over(self, change: Change, person: Person, known: StoredUser) -> ProvisionedUser:
        before = store.by_id(change.connection, known.id)
        if before is None:
            return self._adopted(change, person, known)
        if before.removed is None:
            raise taken(f"the person is there already: {known.id}")
        same = before.external_id is not None and before.external_id == person.external_id
        if self._subject == "userName" and not same:
            raise taken(
                f"'{person.user_name}' was somebody else's name, who would be mistaken for this "
                f"person; an administrator ends that one for good: inhouse users remove {known.id}"
            )
        back = replace(before, removed=None)
        after = _applied(back, replace(person, active=person.active is not False), change.now)
        _record(change, before, after)
        store.update(change.connection, after)
        return after

    def _adopted(self, change: Change, person: Person, known: StoredUser) -> ProvisionedUser:
        active = person.active is not False
        user = replace(
            known, name=person.shown_name, email=person.profile.email,
            active=known.active and active,
        )  # fmt: skip
        made = replace(_word(change.now, person, user, active), was_active=known.active)
        action = "deactivated" if known.active and not active else "changed"
        change.record(
            change.changed(
                "user", action, (user.id, user.name), before=described(known),
                after=_described(made), reason="provisioned by the identity provider",
            )
        )  # fmt: skip
        store.insert(change.connection, made)
        store.put_user(change.connection, user)
        return made

    def _subject_of(self, person: Person) -> str:
        """Empty for one that is our own id, and is not made yet."""
        if self._subject == "id":
            return ""
        subject = person.user_name if self._subject == "userName" else person.external_id
        if not subject:
            raise invalid(f"'{self._subject}' is missing: it says who somebody is (scim.subject)")
        return subject

    def _with_subject(
        self, change: Change, before: ProvisionedUser, after: ProvisionedUser, person: Person
    ) -> ProvisionedUser:
        """Another subject is another person to come in with what is here: so the provider's client
        gives nobody what it does not decide about."""
        if self._subject == "externalId" and after.external_id != before.external_id:
            raise ScimError(
                400, "'externalId' says who somebody is (scim.subject), and stays", "mutability"
            )
        if self._subject != "userName" or after.user_name == before.user_name:
            return after
        subject = self._subject_of(person)
        known = store.person(change.connection, before.user.issuer, subject)
        if known is not None and known.id != before.user.id:
            raise taken(f"'{subject}' is somebody else already: {known.id}")
        if _has_own(change, before.user):
            raise ScimError(
                400,
                "'userName' says who somebody is (scim.subject), and this person has grants, a "
                "team or keys of their own; an administrator takes these away first, and gives "
                "them anew",
                "mutability",
            )
        return replace(after, user=replace(after.user, subject=subject))


def _found(connection: Transaction, user_id: str, if_match: str = "") -> ProvisionedUser:
    found = store.by_id(connection, user_id)
    if found is None or found.removed is not None:
        raise ScimError(404, "there is no such user")
    if if_match and if_match not in ("*", etag(found)):
        raise ScimError(412, "the user was changed meanwhile")
    return found


def _page(connection: Transaction, users: list[ProvisionedUser], total: int) -> Page:
    return Page(total, users, store.groups_of(connection, [each.user.id for each in users]))


def _refuse_taken(connection: Transaction, person: Person, own_id: str) -> None:
    same = store.by_name(connection, person.user_name)
    if same is not None and same.user.id != own_id:
        raise taken(f"there is a user '{person.user_name}' already: {same.user.id}")
    if person.external_id is None:
        return
    for other in store.page(connection, Sought(external_id=person.external_id), 0, 2):
        if other.user.id != own_id:
            raise taken(f"there is a user with this externalId already: {other.user.id}")


def _word(now: float, person: Person, user: StoredUser, active: bool) -> ProvisionedUser:
    profile = msgspec.json.encode(person.profile).decode()
    return ProvisionedUser(
        user, person.user_name, person.external_id, active, True, profile, now, now, 1
    )


def _with_word(before: ProvisionedUser, active: bool) -> ProvisionedUser:
    """The provider's yes or no, and what follows from it."""
    user = before.user
    if before.active and not active:
        was = user.active
        return replace(before, active=False, was_active=was, user=replace(user, active=False))
    if active and not before.active:
        return replace(before, active=True, user=replace(user, active=before.was_active))
    return before


def _applied(before: ProvisionedUser, person: Person, now: float) -> ProvisionedUser:
    """What the provider's word makes of somebody; the same value where it is no news."""
    after = before if person.active is None else _with_word(before, person.active)
    after = replace(
        after,
        user=replace(after.user, name=person.shown_name, email=person.profile.email),
        user_name=person.user_name,
        external_id=person.external_id,
        profile=msgspec.json.encode(person.profile).decode(),
    )
    if after == before:
        return before
    return replace(after, modified=now, version=before.version + 1)


def _has_own(change: Change, user: StoredUser) -> bool:
    state = change.state
    return (
        any(
            (grant.holder_kind, grant.holder) == (grant_store.USER, user.id)
            and grant.stands(change.now)
            for grant in state.grants
        )
        or any(member.user_id == user.id for member in state.memberships)
        or any(key.owner_id == user.id and key.revoked is None for key in state.keys)
    )


def _record(change: Change, before: ProvisionedUser | None, after: ProvisionedUser) -> None:
    action = "created"
    if before is not None:
        action = "changed"
        if before.user.active != after.user.active:
            action = "reactivated" if after.user.active else "deactivated"
    change.record(
        change.changed(
            "user",
            action,
            (after.user.id, after.user.name),
            before=_described(before) if before else {},
            after=_described(after),
        )
    )


def _described(stored: ProvisionedUser) -> dict[str, str]:
    """For records."""
    word = "removed" if stored.removed is not None else "active" if stored.active else "inactive"
    full_name = profile_of(stored).full_name
    return {
        **described(stored.user),
        "user name": stored.user_name,
        **({"external id": stored.external_id} if stored.external_id else {}),
        **({"full name": full_name} if full_name else {}),
        "provider": word,
    }
