"""SCIM 2.0 (RFC 7644): the identity provider creates, changes and ends persons and groups.

    method, path, query, body ──► Scim.handle ──► a service: record, then store ──► status, body

Plain values in and out; whoever mounts it below /scim/v2 brings the actor, whose credential is an
API key and whose role is `scim`. It reads and writes disk and database: from an event loop, in a
thread.
"""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from inhouse.errors import (
    AuditUnavailable,
    InhouseError,
    NegativeAnswer,
    NotPermitted,
    UsageError,
)
from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Ledger
from inhouse.identity.scim_filter import plain_name, sought
from inhouse.identity.scim_groups import GroupPage, ScimGroups
from inhouse.identity.scim_patch import operations, patched_group, patched_user
from inhouse.identity.scim_resources import (
    USER_NAMES,
    canonical,
    document_of,
    etag,
    group_document,
    group_of,
    person_of,
    user_document,
)
from inhouse.identity.scim_schema import (
    LIST,
    MAX_BODY_BYTES,
    MAX_RESULTS,
    MEDIA_TYPE,
    Document,
    ScimError,
    invalid,
    provider_config,
    resource_types,
    schemas,
    syntax,
)
from inhouse.identity.scim_users import PERMISSION, SUBJECTS, Page, ScimUsers
from inhouse.store.scim_groups import StoredGroup
from inhouse.store.scim_users import ProvisionedUser, Sought

DEFAULT_RESULTS = 100
MAX_QUERY_CHARS = 8192
MAX_PARAMETERS = 20
_USER_FILTERS = {"id": "id", "username": "name", "externalid": "external_id"}
_GROUP_FILTERS = {
    "id": "id", "displayname": "name", "externalid": "external_id",
    "members": "member", "members.value": "member",
}  # fmt: skip
_ALWAYS = ("schemas", "id")
_UNSUPPORTED = ("bulk", "me", ".search")


@dataclass(frozen=True, slots=True)
class ScimRequest:
    """One request. `path` is below /scim/v2, as it was sent; `base` is where that is, for links."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    if_match: str = ""
    base: str = "/scim/v2"


@dataclass(frozen=True, slots=True)
class ScimAnswer:
    """What goes back, of the media type `MEDIA_TYPE`. Headers: Location, ETag, Allow."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = MEDIA_TYPE


class Scim:
    """The service provider for one issuer of persons."""

    def __init__(self, ledger: Ledger, *, issuer: str, subject: str) -> None:
        """`subject` is the attribute that is the 'sub' of a person's tokens. Raises UsageError."""
        if not issuer:
            raise UsageError("persons are provisioned for an issuer of tokens; set oidc.issuer")
        if subject not in SUBJECTS:
            raise UsageError(f"scim.subject is one of {', '.join(SUBJECTS)}")
        self._users = ScimUsers(ledger, issuer, subject)
        self._groups = ScimGroups(ledger)

    def handle(self, request: ScimRequest, actor: Actor) -> ScimAnswer:
        """Raises nothing of a request's doing; every error is an answer."""
        try:
            actor.needs(PERMISSION)
            return self._routed(request, actor)
        except ScimError as error:
            return _refused(error)
        except NotPermitted as error:
            return _refused(ScimError(403, str(error)))
        except NegativeAnswer as error:
            return _refused(invalid(str(error)))
        except (AuditUnavailable, UsageError) as error:  # the disk or the database, not the request
            return _refused(ScimError(503, str(error)))
        except InhouseError as error:
            return _refused(ScimError(500, str(error)))

    def _routed(self, request: ScimRequest, actor: Actor) -> ScimAnswer:
        kind, _, name = request.path.strip("/").partition("/")
        kind, name = kind.lower(), unquote(name)
        if kind in _UNSUPPORTED or name.lower() == ".search":
            raise ScimError(501, f"'{request.path[:100]}' is not supported")
        if kind in ("serviceproviderconfig", "resourcetypes", "schemas"):
            return _about(request, kind, name)
        if kind not in ("users", "groups"):
            raise ScimError(404, "there is no such endpoint")
        call = _Call(request, actor, name, _Wanted.of(request))
        users = kind == "users"
        if not name:
            steps = {
                "GET": self._find_users if users else self._find_groups,
                "POST": self._create_user if users else self._create_group,
            }
        else:
            if not name.isascii() or not name.replace("_", "").isalnum() or len(name) > 64:
                raise ScimError(404, "there is no such resource")
            steps = {
                "GET": self._get_user if users else self._get_group,
                "PUT": self._put_user if users else self._put_group,
                "PATCH": self._patch_user if users else self._patch_group,
                "DELETE": self._delete_user if users else self._delete_group,
            }
        step = steps.get(request.method)
        if step is None:
            refused = ScimError(405, f"this is not done with {request.method[:20]}")
            return _refused(refused, {"Allow": ", ".join(steps)})
        return step(call)

    # Users

    def _find_users(self, call: "_Call") -> ScimAnswer:
        window = _Window.of(call.wanted.query)
        page = self._users.find(call.actor, call.sought(_USER_FILTERS), window.offset, window.count)
        found = [call.user(page, user) for user in page.users]
        return _listed(found, page.total, window.start)

    def _get_user(self, call: "_Call") -> ScimAnswer:
        return call.one_user(self._users.get(call.actor, call.name))

    def _create_user(self, call: "_Call") -> ScimAnswer:
        person = person_of(canonical(call.body(), USER_NAMES, "a user"))
        return call.one_user(self._users.create(call.actor, person), 201)

    def _put_user(self, call: "_Call") -> ScimAnswer:
        person = person_of(canonical(call.own_body(), USER_NAMES, "a user"))
        return call.one_user(
            self._users.change(call.actor, call.name, lambda _: person, call.if_match)
        )

    def _patch_user(self, call: "_Call") -> ScimAnswer:
        todo = operations(call.body())
        return call.one_user(
            self._users.change(
                call.actor,
                call.name,
                lambda before: person_of(patched_user(document_of(before), call.name, todo)),
                call.if_match,
            )
        )

    def _delete_user(self, call: "_Call") -> ScimAnswer:
        self._users.remove(call.actor, call.name, call.if_match)
        return ScimAnswer(204)

    # Groups

    def _find_groups(self, call: "_Call") -> ScimAnswer:
        window = _Window.of(call.wanted.query)
        page = self._groups.find(
            call.actor, call.sought(_GROUP_FILTERS), window.offset, window.count,
            members=call.wanted.has("members"),
        )  # fmt: skip
        found = [call.group(page, group) for group in page.groups]
        return _listed(found, page.total, window.start)

    def _get_group(self, call: "_Call") -> ScimAnswer:
        return self._one_group(call, call.name)

    def _create_group(self, call: "_Call") -> ScimAnswer:
        group = self._groups.create(call.actor, group_of(call.body()))
        return self._one_group(call, group.id, 201)

    def _put_group(self, call: "_Call") -> ScimAnswer:
        sent = group_of(call.own_body())
        self._groups.replace(call.actor, call.name, sent, call.if_match)
        return self._one_group(call, call.name)

    def _patch_group(self, call: "_Call") -> ScimAnswer:
        """Without the group, unless somebody asks for some of it: it may have many members."""
        edit = patched_group(call.name, operations(call.body()))
        group = self._groups.change(call.actor, call.name, edit, call.if_match)
        if call.wanted.only is None:
            return ScimAnswer(204, headers={"ETag": etag(group)})
        return self._one_group(call, call.name)

    def _delete_group(self, call: "_Call") -> ScimAnswer:
        self._groups.remove(call.actor, call.name, call.if_match)
        return ScimAnswer(204)

    def _one_group(self, call: "_Call", group_id: str, status: int = 200) -> ScimAnswer:
        page = self._groups.get(call.actor, group_id, members=call.wanted.has("members"))
        group = page.groups[0]
        headers = {"ETag": etag(group), "Location": f"{call.base}/Groups/{group.id}"}
        return _answer(call.group(page, group), status, headers)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The query, and which attributes go out; None for all but those left out."""

    query: dict[str, str]
    only: frozenset[str] | None
    without: frozenset[str]

    @classmethod
    def of(cls, request: ScimRequest) -> "_Wanted":
        if len(request.query) > MAX_QUERY_CHARS:
            raise ScimError(414, f"a query has at most {MAX_QUERY_CHARS} characters")
        try:
            pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError as error:
            raise invalid(f"a query has at most {MAX_PARAMETERS} parameters") from error
        query = {name.lower(): value for name, value in pairs}
        if len(query) < len(pairs):
            raise invalid("a parameter of the query is there twice")
        only, without = query.get("attributes", ""), query.get("excludedattributes", "")
        return cls(query, _names(only) if only else None, _names(without))

    def has(self, name: str) -> bool:
        if name in _ALWAYS:
            return True
        if self.only is not None and name.lower() not in self.only:
            return False
        return name.lower() not in self.without

    def cut(self, document: Document) -> Document:
        return {name: value for name, value in document.items() if self.has(name)}


@dataclass(frozen=True, slots=True)
class _Window:
    """Which of the results; the first is number one."""

    start: int
    count: int

    @property
    def offset(self) -> int:
        return self.start - 1

    @classmethod
    def of(cls, query: dict[str, str]) -> "_Window":
        start = max(1, _whole(query, "startindex", 1))
        return cls(start, min(max(0, _whole(query, "count", DEFAULT_RESULTS)), MAX_RESULTS))


@dataclass(frozen=True, slots=True)
class _Call:
    """A request of a resource, whose id is `name`."""

    request: ScimRequest
    actor: Actor
    name: str
    wanted: _Wanted

    @property
    def base(self) -> str:
        return self.request.base

    @property
    def if_match(self) -> str:
        return self.request.if_match.strip()

    def body(self) -> Any:
        if len(self.request.body) > MAX_BODY_BYTES:
            raise ScimError(413, f"a body has at most {MAX_BODY_BYTES} bytes")
        try:
            return msgspec.json.decode(self.request.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise syntax("the body is not JSON, or too deep") from error

    def own_body(self) -> Any:
        """A body that may repeat the id of the path, and name no other one."""
        body = self.body()
        said = canonical(body, {"id": "id"}, "a resource").get("id", self.name)
        if said != self.name:
            raise ScimError(400, "'id' cannot be changed", "mutability")
        return body

    def sought(self, names: dict[str, str]) -> Sought | None:
        text = self.wanted.query.get("filter")
        return Sought() if text is None else sought(text, names)

    def user(self, page: Page, user: ProvisionedUser) -> Document:
        groups = page.groups.get(user.user.id, [])
        return self.wanted.cut(user_document(user, groups, self.base))

    def one_user(self, page: Page, status: int = 200) -> ScimAnswer:
        user = page.users[0]
        headers = {"ETag": etag(user), "Location": f"{self.base}/Users/{user.user.id}"}
        return _answer(self.user(page, user), status, headers)

    def group(self, page: GroupPage, group: StoredGroup) -> Document:
        members = None if page.members is None else page.members.get(group.id, [])
        return self.wanted.cut(group_document(group, members, self.base))


def _about(request: ScimRequest, kind: str, name: str) -> ScimAnswer:
    """What this service provider says of itself."""
    if request.method != "GET":
        return _refused(ScimError(405, "this is only read"), {"Allow": "GET"})
    if "filter" in _Wanted.of(request).query:
        raise ScimError(403, "there is no filter here")  # RFC 7644, 4
    if kind == "serviceproviderconfig":
        if name:
            raise ScimError(404, "there is no such resource")
        return _answer(provider_config(request.base))
    make = resource_types if kind == "resourcetypes" else schemas
    every = make(request.base)
    if not name:
        return _listed(every, len(every), 1)
    for each in every:
        if each["id"].lower() == name.lower():
            return _answer(each)
    raise ScimError(404, "there is no such resource")


def _listed(found: list[Document], total: int, start: int) -> ScimAnswer:
    return _answer(
        {
            "schemas": [LIST],
            "totalResults": total,
            "startIndex": start,
            "itemsPerPage": len(found),
            "Resources": found,
        }
    )


def _answer(
    document: Document, status: int = 200, headers: dict[str, str] | None = None
) -> ScimAnswer:
    return ScimAnswer(status, msgspec.json.encode(document), headers or {})


def _refused(error: ScimError, headers: dict[str, str] | None = None) -> ScimAnswer:
    return _answer(error.document(), error.status, headers)


def _names(text: str) -> frozenset[str]:
    """Attributes of a list with commas; a part of one brings all of it."""
    names = (plain_name(name.strip()) for name in text.split(","))
    return frozenset(name.partition(".")[0] for name in names if name)


def _whole(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.removeprefix("-").isdecimal() or len(text) > 9:
        raise invalid(f"'{name}' is a whole number")
    return int(text)
