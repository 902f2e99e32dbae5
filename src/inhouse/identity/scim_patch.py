"""PATCH (RFC 7644, 3.5.2), in the shapes that identity providers send. Functions of values.

    Entra ID   {"op": "Replace", "path": "active", "value": "False"}
               {"op": "Add", "path": "emails[type eq \\"work\\"].value", "value": "a@example.com"}
               {"op": "Remove", "path": "members", "value": [{"value": "usr_..."}]}
    Okta       {"op": "replace", "value": {"active": false}}
               {"op": "remove", "path": "members[value eq \\"usr_...\\"]"}

What is not kept of a user is passed over, as it is when a user is made; what cannot be changed is
refused.
"""

from dataclasses import dataclass

from inhouse.identity.scim_filter import Path, Term, parse_path
from inhouse.identity.scim_resources import (
    EMAIL_PARTS,
    GROUP_NAMES,
    MAX_EMAILS,
    NAME_PARTS,
    USER_NAMES,
    canonical,
    external_id_of,
    group_name,
    members_of,
)
from inhouse.identity.scim_schema import (
    MAX_OPERATIONS,
    MAX_SENT_MEMBERS,
    Document,
    ScimError,
    invalid,
    syntax,
)

ADD, REMOVE, REPLACE = "add", "remove", "replace"
_READ_ONLY = ("id", "meta", "groups")


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do; the value is None where there is none, and for null."""

    op: str
    path: Path
    value: object


@dataclass(frozen=True, slots=True)
class MemberEdit:
    """What becomes of a group's members: they are `added` alone where `replaced`, else what they
    were, with `added` and without `removed`."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    replaced: bool = False

    def add(self, ids: frozenset[str]) -> "MemberEdit":
        return MemberEdit(self.added | ids, self.removed - ids, self.replaced)

    def remove(self, ids: frozenset[str]) -> "MemberEdit":
        removed = self.removed if self.replaced else self.removed | ids
        return MemberEdit(self.added - ids, removed, self.replaced)

    @staticmethod
    def replace(ids: frozenset[str]) -> "MemberEdit":
        return MemberEdit(ids, replaced=True)


@dataclass(frozen=True, slots=True)
class GroupEdit:
    """What becomes of a group; None for what stays as it is, '' for an external id that goes."""

    name: str | None = None
    external_id: str | None = None
    members: MemberEdit = MemberEdit()


def operations(body: object) -> list[Operation]:
    """The operations of a PATCH; those without a path become one for each attribute of their
    value. Raises ScimError."""
    sent = canonical(body, {"operations": "Operations"}, "a PATCH").get("Operations")
    if not isinstance(sent, list) or not sent:
        raise syntax("a PATCH has a list of 'Operations'")
    found: list[Operation] = []
    for each in sent:
        found += _operation(each)
        if len(found) > MAX_OPERATIONS:
            raise ScimError(413, f"one PATCH has at most {MAX_OPERATIONS} operations")
    return found


def _operation(sent: object) -> list[Operation]:
    parts = {"op": "op", "path": "path", "value": "value"}
    operation = canonical(sent, parts, "an operation")
    op, path, value = operation.get("op"), operation.get("path"), operation.get("value")
    if not isinstance(op, str) or op.lower() not in (ADD, REMOVE, REPLACE):
        raise syntax("the 'op' of an operation is add, remove or replace")
    op = op.lower()
    if path is not None and not isinstance(path, str):
        raise ScimError(400, "the 'path' of an operation is a string", "invalidPath")
    if path:
        return [Operation(op, parse_path(path), value)]
    if op == REMOVE:
        raise ScimError(400, "an operation that removes has a 'path'", "noTarget")
    if not isinstance(value, dict):
        raise invalid("an operation without a 'path' has an object as its value")
    return [Operation(op, parse_path(name), each) for name, each in value.items()]


def patched_user(document: Document, user_id: str, todo: list[Operation]) -> Document:
    """A canonical document after some operations, which may be wrong in its values. Raises
    ScimError."""
    after = dict(document)
    for each in todo:
        path = each.path
        name = USER_NAMES.get(path.name)
        if name is None:
            _pass_over(each, user_id)
        elif name == "emails":
            after[name] = _emails(_objects(after.get(name)), each)
        elif path.which:
            raise _wrong_path(path)
        elif name == "name":
            after[name] = _name(after.get(name, {}), each)
        elif path.part:
            raise _wrong_path(path)
        elif each.op == REMOVE or each.value is None:
            if name == "active":
                raise ScimError(400, "'active' is true or false, and cannot go", "mutability")
            after.pop(name, None)
        else:
            after[name] = each.value
    return after


def patched_group(group_id: str, todo: list[Operation]) -> GroupEdit:
    """Raises ScimError."""
    name: str | None = None
    external_id: str | None = None
    members = MemberEdit()
    for each in todo:
        path = each.path
        kept = GROUP_NAMES.get(path.name)
        if kept is None:
            _pass_over(each, group_id)
        elif path.part or (path.which and kept != "members"):
            raise _wrong_path(path)
        elif kept == "members":
            members = _members(members, each)
        elif kept == "displayName":
            if each.op == REMOVE:
                raise ScimError(400, "a group has a displayName", "mutability")
            name = group_name(each.value)
        else:
            external_id = external_id_of(None if each.op == REMOVE else each.value) or ""
    if len(members.added) + len(members.removed) > MAX_SENT_MEMBERS:
        raise ScimError(413, f"one request names at most {MAX_SENT_MEMBERS} members")
    return GroupEdit(name, external_id, members)


def _members(edit: MemberEdit, each: Operation) -> MemberEdit:
    if each.path.which:
        if each.op != REMOVE:
            raise ScimError(400, "a member is added by its 'value'", "invalidPath")
        return edit.remove(frozenset(_only_value(each.path)))
    if each.op == REMOVE and each.value is None:
        return MemberEdit.replace(frozenset())
    ids = frozenset(members_of([] if each.value is None else each.value))
    if each.op == ADD:
        return edit.add(ids)
    return edit.remove(ids) if each.op == REMOVE else MemberEdit.replace(ids)


def _only_value(path: Path) -> list[str]:
    if len(path.which) == 1 and path.which[0].name == "value":
        value = path.which[0].value
        if isinstance(value, str):
            return [value]
    raise ScimError(400, 'a member is named as members[value eq "ID"]', "invalidPath")


def _name(before: object, each: Operation) -> Document:
    name = canonical(before, NAME_PARTS, "name")
    part = NAME_PARTS.get(each.path.part)
    if not each.path.part:
        if each.op == REMOVE or each.value is None:
            return {}
        return name | canonical(each.value, NAME_PARTS, "name")
    if part is None:
        return name  # a middle name, say
    if each.op == REMOVE or each.value is None:
        name.pop(part, None)
    else:
        name[part] = each.value
    return name


def _emails(before: list[Document], each: Operation) -> list[Document]:
    path = each.path
    if path.part and not path.which:
        raise _wrong_path(path)
    if not path.which:
        if each.op == REMOVE or each.value is None:
            return []
        sent = _objects(each.value)
        return sent if each.op == REPLACE else before + [one for one in sent if one not in before]
    if any(term.name not in EMAIL_PARTS for term in path.which):
        raise _wrong_path(path)
    if path.part and path.part not in EMAIL_PARTS:
        return before  # a label, say
    hit = [all(_is(email, term) for term in path.which) for email in before]
    if each.op == REMOVE or each.value is None:
        if not path.part or path.part == "value":
            return [email for email, found in zip(before, hit, strict=True) if not found]
        change: Document = {path.part: None}
    elif path.part:
        change = {path.part: each.value}
    else:
        change = canonical(each.value, EMAIL_PARTS, "an email")
    if not any(hit):  # Entra ID replaces what was never there
        if each.op == REMOVE:
            return before
        return [*before, {**{term.name: term.value for term in path.which}, **change}]
    return [
        {**email, **change} if found else email for email, found in zip(before, hit, strict=True)
    ]


def _is(email: Document, term: Term) -> bool:
    if isinstance(term.value, bool):
        return email.get(term.name, False) is term.value
    return str(email.get(term.name, "")).lower() == term.value.lower()


def _objects(value: object) -> list[Document]:
    every = [] if value is None else value if isinstance(value, list) else [value]
    if len(every) > MAX_EMAILS:
        raise invalid(f"a user has at most {MAX_EMAILS} emails")
    return [canonical(each, EMAIL_PARTS, "an email") for each in every]


def _pass_over(each: Operation, own_id: str) -> None:
    """What is not kept. Okta repeats the id of what it changes."""
    if each.path.name == "id" and each.value == own_id and each.op != REMOVE:
        return
    if each.path.name in _READ_ONLY:
        raise ScimError(400, f"'{each.path.name}' cannot be changed", "mutability")


def _wrong_path(path: Path) -> ScimError:
    return ScimError(400, f"'{path.name}' has no such part", "invalidPath")
