"""Users: people and services, their life, and what they may do."""

from dataclasses import dataclass, replace

from inhouse.audit.record import Changed, KeyChanged
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.directory import View
from inhouse.identity.ledger import Change, Ledger, because, iso, named, new_id, not_there
from inhouse.identity.policy import Pair
from inhouse.store import grants as grant_store
from inhouse.store import keys as key_store
from inhouse.store import scim_users as scim_store
from inhouse.store import teams as team_store
from inhouse.store import users as store
from inhouse.store.grants import StoredGrant
from inhouse.store.keys import StoredKey
from inhouse.store.state import State
from inhouse.store.users import PERSON, SERVICE, StoredUser

MAX_ISSUER_CHARS = 512
MAX_EMAIL_CHARS = 320
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Shown:
    """A user, and everything that says what they may do."""

    user: StoredUser
    teams: tuple[str, ...]  # names
    grants: tuple[StoredGrant, ...]  # that stand: the user's own, their teams' and groups'
    keys: tuple[StoredKey, ...]  # that are not revoked
    permissions: tuple[str, ...]
    broken: tuple[Pair, ...]  # pairs of [access] separate of which they have neither now


class Users:
    """What may be done to users."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def unseen(self, actor: Actor, days: int | None = None) -> list[StoredUser]:
        """Active users who were not seen for `days` (access.unseen_days if None), longest first."""
        actor.needs("users:read")
        if days is None:
            days = self._ledger.config.settings.access.unseen_days
        before = self._ledger.clock() - days * DAY_S
        found = [u for u in self._ledger.state().users if u.active and last_sign(u) < before]
        return sorted(found, key=last_sign)

    def list(self, actor: Actor) -> list[StoredUser]:
        """Every user, oldest first."""
        actor.needs("users:read")
        return list(self._ledger.state().users)

    def show(self, actor: Actor, name: str) -> Shown:
        """One user, by id, or by a name that only one has. Everybody may see themselves."""
        state = self._ledger.state()
        if not actor.may("users:read"):
            name = actor.user if name == actor.name and actor.user else name
            if not actor.is_user(name):
                actor.needs("users:read")
        user = find_user(state, name)
        return shown(state, user, self._ledger.separate, self._ledger.clock())

    def create(
        self,
        actor: Actor,
        name: str,
        *,
        issuer: str = "",
        subject: str = "",
        email: str = "",
        source: str = "local",
    ) -> StoredUser:
        """A person, where `issuer` and `subject` say who at which provider; else a service."""
        actor.needs("users:write")
        return self._create(actor, name, issuer, subject, email, source, None)

    def first_seen(
        self, actor: Actor, issuer: str, subject: str, name: str, at: float
    ) -> StoredUser:
        """A person who came with a token, and was not known. It gives them nothing."""
        actor.needs("users:write")
        return self._create(actor, name, issuer, subject, "", "oidc", at)

    def change(
        self, actor: Actor, name: str, *, new_name: str | None = None, email: str | None = None
    ) -> StoredUser:
        """Another name or address, which nothing is decided by. A service keeps its name."""
        actor.needs("users:write")
        with self._ledger.change(actor) as change:
            user = find_user(change.state, name)
            if user.kind == SERVICE and new_name not in (None, user.name):
                raise NegativeAnswer(f"the service '{user.name}' is its name; make another one")
            after = replace(
                user,
                name=user.name if new_name is None else named(new_name, "a user's name"),
                email=user.email if email is None else _email(email),
            )
            _record(change, "changed", user, after)
            store.update(change.connection, after)
        return after

    def deactivate(self, actor: Actor, name: str, reason: str = "") -> StoredUser:
        """From now on nothing is granted, and no key works. Their grants stay, for the day on
        which they are back."""
        return self._set_active(actor, name, False, "deactivated", reason)

    def reactivate(self, actor: Actor, name: str, reason: str = "") -> StoredUser:
        """What they were granted and was not revoked is theirs again, their keys too."""
        return self._set_active(actor, name, True, "reactivated", reason)

    def remove(self, actor: Actor, name: str, reason: str = "") -> StoredUser:
        """Forget a user: their keys and grants are revoked, and their name is free."""
        actor.needs("users:write")
        with self._ledger.change(actor) as change:
            user = find_user(change.state, name)
            keys = [k for k in change.state.keys if k.owner_id == user.id and k.revoked is None]
            grants = _own_grants(change.state, user, change.now)
            change.record(
                change.changed(
                    "user", "removed", (user.id, user.name), before=described(user),
                    reason=because(reason),
                ),
                *(_ended_key(change, key) for key in keys),
                *(_ended_grant(change, grant, user) for grant in grants),
            )  # fmt: skip
            for key in keys:
                key_store.revoke(change.connection, key.id, change.now)
            for grant in grants:
                grant_store.revoke(change.connection, grant.id, change.now, actor.id)
            key_store.leave_ownerless(change.connection, user.id)
            team_store.leave_all(change.connection, user.id)
            store.remove(change.connection, user.id)
        return user

    def _create(
        self,
        actor: Actor,
        name: str,
        issuer: str,
        subject: str,
        email: str,
        source: str,
        seen: float | None,
    ) -> StoredUser:
        if bool(issuer) != bool(subject):
            raise UsageError("a person has an issuer and a subject, a service has neither")
        with self._ledger.change(actor) as change:
            user = new_user(change.now, name, issuer, subject, email, source)
            for other in change.state.users:
                if (other.issuer, other.subject) == (user.issuer, user.subject):
                    raise NegativeAnswer(
                        f"there is a {user.kind} '{other.name}' already: {other.id}"
                    )
            _record(change, "created", None, user)
            store.insert(change.connection, replace(user, last_seen=seen))
        return user

    def _set_active(
        self, actor: Actor, name: str, active: bool, action: str, reason: str
    ) -> StoredUser:
        actor.needs("users:write")
        with self._ledger.change(actor) as change:
            user = find_user(change.state, name)
            if user.active == active:
                raise NegativeAnswer(f"{user.name} is {'active' if active else 'inactive'} already")
            if active and scim_store.says_no(change.connection, user.id):
                raise NegativeAnswer(
                    f"the identity provider says that {user.name} has left; who is back is "
                    "reactivated there"
                )
            after = replace(user, active=active)
            _record(change, action, user, after, because(reason))
            store.update(change.connection, after)
        return after


def shown(state: State, user: StoredUser, separate: tuple[Pair, ...], now: float) -> Shown:
    """A user with what they may do by this state, without what only a token says of groups."""
    view = View(state, separate)
    rights = view.rights(user.id, frozenset(), now)
    teams = view.teams_of.get(user.id, frozenset())
    groups = view.groups(user.id, ())
    holders = {
        (grant_store.USER, user.id),
        *((grant_store.TEAM, each) for each in teams),
        *((grant_store.GROUP, each) for each in groups),
    }
    return Shown(
        user=user,
        teams=tuple(team.name for team in state.teams if team.id in teams),
        grants=tuple(
            g for g in state.grants if (g.holder_kind, g.holder) in holders and g.stands(now)
        ),
        keys=tuple(k for k in state.keys if k.owner_id == user.id and k.revoked is None),
        permissions=tuple(sorted(rights.permissions)),
        broken=rights.broken,
    )


def new_user(
    now: float,
    name: str,
    issuer: str = "",
    subject: str = "",
    email: str = "",
    source: str = "local",
) -> StoredUser:
    """A user who is not stored yet. Raises UsageError."""
    name = named(name, "a user's name")
    if len(issuer) > MAX_ISSUER_CHARS or not (issuer + subject).isprintable():
        raise UsageError("an issuer is the address of a provider, as its tokens say it")
    if subject:
        subject = named(subject, "a subject")
    return StoredUser(
        id=new_id("usr_"),
        kind=PERSON if issuer else SERVICE,
        issuer=issuer,
        subject=subject or name,
        name=name,
        email=_email(email),
        active=True,
        created=now,
        source=source,
    )


def find_user(state: State, name: str) -> StoredUser:
    """The user of that id, else the one of that name. Raises NotThere, and NegativeAnswer where
    several have it."""
    found = [u for u in state.users if u.id == name] or [u for u in state.users if u.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(f"{user.id} ({user.kind})" for user in found)
        raise NegativeAnswer(f"'{name}' is several users: {ids}; name one by the id")
    raise not_there("user", name, (user.name for user in state.users), "inhouse users list")


def described(user: StoredUser) -> dict[str, str]:
    """For records."""
    return {
        "kind": user.kind,
        **({"issuer": user.issuer, "subject": user.subject} if user.issuer else {}),
        "name": user.name,
        **({"email": user.email} if user.email else {}),
        "active": "yes" if user.active else "no",
        "source": user.source,
    }


def _record(
    change: Change, action: str, before: StoredUser | None, after: StoredUser, reason: str = ""
) -> None:
    change.record(
        change.changed(
            "user",
            action,
            (after.id, after.name),
            before=described(before) if before else {},
            after=described(after),
            reason=reason,
        )
    )


def _own_grants(state: State, user: StoredUser, now: float) -> list[StoredGrant]:
    held = (grant_store.USER, user.id)
    return [g for g in state.grants if (g.holder_kind, g.holder) == held and g.stands(now)]


def _ended_key(change: Change, key: StoredKey) -> KeyChanged:
    after = {"revoked": iso(change.now)}
    return KeyChanged(change.now, "revoked", key.id, key.owner, change.actor.id, {}, after)


def _ended_grant(change: Change, grant: StoredGrant, user: StoredUser) -> Changed:
    return change.changed(
        "grant", "revoked", (grant.id, f"{grant.role} of {user.name}"), before={"role": grant.role}
    )


def _email(email: str) -> str | None:
    if len(email) > MAX_EMAIL_CHARS or not email.isprintable():
        raise UsageError(f"an e-mail address has at most {MAX_EMAIL_CHARS} printable characters")
    return email.strip() or None


def last_sign(user: StoredUser) -> float:
    return user.created if user.last_seen is None else user.last_seen
