"""Users and groups of SCIM, to and from what is kept. Functions of values.

body ──canonical_user──► known attributes by their right names ──person_of──► Person
ProvisionedUser, groups ──user_document──► what goes out
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from inhouse.identity.scim_filter import plain_name
from inhouse.identity.scim_schema import (
    GROUP,
    MAX_SENT_MEMBERS,
    USER,
    Document,
    ScimError,
    invalid,
    syntax,
)
from inhouse.store.scim_groups import StoredGroup
from inhouse.store.scim_users import ProvisionedUser, folded

MAX_CHARS = 200  # of a name or an id
MAX_EMAIL_CHARS = 320
MAX_EMAILS = 20
MOST_FOLDED_CHARS = 256

USER_NAMES = {
    each.lower(): each
    for each in ("userName", "externalId", "active", "displayName", "name", "emails")
}
NAME_PARTS = {each.lower(): each for each in ("formatted", "familyName", "givenName")}
EMAIL_PARTS = {each: each for each in ("value", "type", "primary")}
GROUP_NAMES = {each.lower(): each for each in ("displayName", "externalId", "members")}


class Email(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address, to be shown."""

    value: str
    type: str = ""
    primary: bool | None = None


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names and addresses, to be shown; nothing is decided by them."""

    display: str = ""
    formatted: str = ""
    family: str = ""
    given: str = ""
    emails: tuple[Email, ...] = ()

    @property
    def full_name(self) -> str:
        return self.formatted or f"{self.given} {self.family}".strip()

    @property
    def email(self) -> str | None:
        """The one to show."""
        first = [each for each in self.emails if each.primary] or self.emails
        return first[0].value if first else None


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the provider says it; `active` is None where it does not say."""

    user_name: str
    external_id: str | None
    active: bool | None
    profile: Profile

    @property
    def shown_name(self) -> str:
        return (self.profile.display or self.profile.full_name)[:MAX_CHARS] or self.user_name


@dataclass(frozen=True, slots=True)
class GroupSent:
    """A group as the provider says it; members are ids of users."""

    name: str
    external_id: str | None
    members: tuple[str, ...]


def canonical(body: object, names: dict[str, str], what: str) -> Document:
    """The attributes that are kept, by their right names; null is absent. Raises ScimError."""
    if not isinstance(body, dict):
        raise syntax(f"{what} is a JSON object")
    found: Document = {}
    for key, value in body.items():
        name = names.get(plain_name(key))
        if name is None or value is None:
            continue
        if name in found:
            raise syntax(f"{what} has '{name}' twice")
        found[name] = value
    return found


def person_of(document: Document) -> Person:
    """Whom a canonical document is about. Raises ScimError."""
    name = canonical(document.get("name", {}), NAME_PARTS, "name")
    user_name = _text(document, "userName")
    if not user_name:
        raise invalid("a user has a userName")
    return Person(
        user_name=_foldable(user_name, "userName"),
        external_id=_text(document, "externalId") or None,
        active=truth_of(document["active"]) if "active" in document else None,
        profile=Profile(
            display=_text(document, "displayName"),
            formatted=_text(name, "formatted"),
            family=_text(name, "familyName"),
            given=_text(name, "givenName"),
            emails=_emails(document.get("emails", [])),
        ),
    )


def document_of(stored: ProvisionedUser) -> Document:
    """The canonical document of whoever is stored, as `person_of` reads it."""
    profile = profile_of(stored)
    name = {
        "formatted": profile.formatted,
        "familyName": profile.family,
        "givenName": profile.given,
    }
    found: Document = {
        "userName": stored.user_name,
        "externalId": stored.external_id,
        "active": stored.active,
        "displayName": profile.display,
        "name": {part: value for part, value in name.items() if value},
        "emails": [msgspec.to_builtins(email) for email in profile.emails],
    }
    return {name: value for name, value in found.items() if value not in (None, "", {}, [])}


def profile_of(stored: ProvisionedUser) -> Profile:
    try:
        return msgspec.json.decode(stored.profile, type=Profile)
    except (msgspec.DecodeError, RecursionError):  # by another's hand; it is shown, and no more
        return Profile()


def group_of(body: object) -> GroupSent:
    """The group that a body is. Raises ScimError."""
    document = canonical(body, GROUP_NAMES, "a group")
    return GroupSent(
        name=group_name(document.get("displayName")),
        external_id=_text(document, "externalId") or None,
        members=members_of(document.get("members", [])),
    )


def group_name(value: object) -> str:
    """A group's name that may be kept. Raises ScimError."""
    name = _text({"displayName": value}, "displayName")
    if not name:
        raise invalid("a group has a displayName")
    return _foldable(name, "displayName")


def external_id_of(value: object) -> str | None:
    """Raises ScimError."""
    return _text({"externalId": "" if value is None else value}, "externalId") or None


def members_of(value: object) -> tuple[str, ...]:
    """The ids of sent members, each once. Raises ScimError."""
    every = value if isinstance(value, list) else [value]
    if len(every) > MAX_SENT_MEMBERS:
        raise ScimError(413, f"one request names at most {MAX_SENT_MEMBERS} members")
    found = []
    for each in every:
        parts = {"value": "value", "type": "type"}
        member = canonical(each, parts, "a member")
        if str(member.get("type", "User")).lower() != "user":
            raise invalid("a member is a user; groups in groups are not supported")
        user_id = _text(member, "value")
        if not user_id:
            raise invalid("a member has the id of a user as its value")
        found.append(user_id)
    return tuple(dict.fromkeys(found))


def truth_of(value: object, what: str = "active") -> bool:
    """Entra ID sends "False" as a string. Raises ScimError."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise invalid(f"'{what}' is true or false")


def user_document(
    stored: ProvisionedUser, groups: Iterable[tuple[str, str]], base: str
) -> Document:
    """A user as it goes out."""
    return {
        "schemas": [USER],
        "id": stored.user.id,
        **document_of(stored),
        "active": stored.active,
        "groups": [
            {"value": group, "$ref": f"{base}/Groups/{group}", "display": name}
            for group, name in groups
        ],
        "meta": _meta("User", stored, f"{base}/Users/{stored.user.id}"),
    }


def group_document(
    group: StoredGroup, members: Iterable[tuple[str, str]] | None, base: str
) -> Document:
    """A group as it goes out; without its members where they were not asked for."""
    found: Document = {"schemas": [GROUP], "id": group.id, "displayName": group.name}
    if group.external_id is not None:
        found["externalId"] = group.external_id
    if members is not None:
        found["members"] = [
            {"value": user, "$ref": f"{base}/Users/{user}", "display": name, "type": "User"}
            for user, name in members
        ]
    found["meta"] = _meta("Group", group, f"{base}/Groups/{group.id}")
    return found


def etag(stored: ProvisionedUser | StoredGroup) -> str:
    return f'W/"{stored.version}"'


def _meta(kind: str, stored: ProvisionedUser | StoredGroup, location: str) -> Document:
    return {
        "resourceType": kind,
        "created": _moment(stored.created),
        "lastModified": _moment(stored.modified),
        "location": location,
        "version": etag(stored),
    }


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _text(document: Document, name: str, most: int = MAX_CHARS) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise invalid(f"'{name}' is a string")
    value = value.strip()
    if len(value) > most or not value.isprintable():
        raise invalid(f"'{name}' has at most {most} printable characters")
    return value


def _foldable(name: str, what: str) -> str:
    if len(folded(name)) > MOST_FOLDED_CHARS:  # some letters are three in their folded form
        raise invalid(f"'{what}' is too long in its folded form")
    return name


def _emails(value: object) -> tuple[Email, ...]:
    every = value if isinstance(value, list) else [value]
    if len(every) > MAX_EMAILS:
        raise invalid(f"a user has at most {MAX_EMAILS} emails")
    found = []
    for each in every:
        email = canonical(each, EMAIL_PARTS, "an email")
        address = _text(email, "value", MAX_EMAIL_CHARS)
        if not address:
            continue
        primary = truth_of(email["primary"], "primary") if "primary" in email else None
        found.append(Email(address, _text(email, "type"), primary))
    return tuple(found)
