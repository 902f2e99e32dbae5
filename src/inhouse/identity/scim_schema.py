"""SCIM 2.0 in words: its names and errors, and what we say of ourselves (RFC 7643).

Only what is kept is in the schemas. A client may send more, and is not refused for it: it is not
kept, for nothing here needs somebody's telephone number.
"""

from typing import Any

from inhouse.errors import InhouseError

MEDIA_TYPE = "application/scim+json"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_CORE = "urn:ietf:params:scim:schemas:core:2.0:"

MAX_BODY_BYTES = 4_194_304
MAX_RESULTS = 200  # resources in one page
MAX_RESULT_MEMBERS = 50_000  # of the groups of one page together, and of one group at all
MAX_SENT_MEMBERS = 10_000  # in one request
MAX_OPERATIONS = 2_000  # in one PATCH
MAX_USERS = 200_000
MAX_GROUPS = 10_000

Document = dict[str, Any]
"""A JSON object as it was sent, or as it goes out."""


class ScimError(InhouseError):
    """This request is answered with an error, in SCIM's shape."""

    def __init__(self, status: int, detail: str, scim_type: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.scim_type = scim_type

    def document(self) -> Document:
        found: Document = {"schemas": [ERROR], "status": str(self.status), "detail": self.detail}
        if self.scim_type:
            found["scimType"] = self.scim_type
        return found


def invalid(detail: str) -> ScimError:
    """A value that cannot be kept."""
    return ScimError(400, detail, "invalidValue")


def syntax(detail: str) -> ScimError:
    """A body that is no message of SCIM."""
    return ScimError(400, detail, "invalidSyntax")


def taken(detail: str) -> ScimError:
    """A name that somebody has."""
    return ScimError(409, detail, "uniqueness")


def provider_config(base: str) -> Document:
    return {
        "schemas": [f"{_CORE}ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": MAX_RESULTS},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "API key",
                "description": "An API key of Inhouse whose owner has the role 'scim', as a "
                "bearer token",
                "primary": True,
            }
        ],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": f"{base}/ServiceProviderConfig",
        },
    }


def resource_types(base: str) -> list[Document]:
    return [
        {
            "schemas": [f"{_CORE}ResourceType"],
            "id": name,
            "name": name,
            "endpoint": f"/{name}s",
            "description": about,
            "schema": schema,
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{name}"},
        }
        for name, schema, about in (
            ("User", USER, "A person of the identity provider"),
            ("Group", GROUP, "A set of persons, which grants can name"),
        )
    ]


def schemas(base: str) -> list[Document]:
    return [
        _schema(
            base, USER, "User", "A person of the identity provider",
            _attribute("userName", "The name at the provider", required=True, unique=True),
            _attribute("displayName", "The name that is shown"),
            _attribute(
                "name", "The parts of the name", kind="complex",
                parts=[
                    _attribute("formatted", "All of it"),
                    _attribute("familyName", "The family name"),
                    _attribute("givenName", "The given name"),
                ],
            ),
            _attribute("active", "Whether the person may come in", kind="boolean"),
            _attribute(
                "emails", "Addresses, to be shown; they identify nobody", kind="complex", many=True,
                parts=[
                    _attribute("value", "The address"),
                    _attribute("type", "What it is for, as 'work'"),
                    _attribute("primary", "The one that is shown", kind="boolean"),
                ],
            ),
            _attribute(
                "groups", "The groups of the person", kind="complex", many=True, fixed=True,
                parts=[
                    _attribute("value", "The group's id", fixed=True),
                    _attribute("$ref", "Where it is", to="Group", fixed=True),
                    _attribute("display", "Its name", fixed=True),
                ],
            ),
        ),
        _schema(
            base, GROUP, "Group", "A set of persons, which grants can name",
            _attribute("displayName", "The name, as grants say it", required=True, unique=True),
            _attribute(
                "members", "Who is in it: persons, no groups", kind="complex", many=True,
                parts=[
                    _attribute("value", "The person's id", exact=True, once=True),
                    _attribute("$ref", "Where the person is", to="User", once=True),
                    _attribute("display", "The name that is shown", fixed=True),
                    _attribute("type", "'User'", only="User", once=True),
                ],
            ),
        ),
    ]  # fmt: skip


def _schema(base: str, urn: str, name: str, about: str, *attributes: Document) -> Document:
    return {
        "schemas": [f"{_CORE}Schema"],
        "id": urn,
        "name": name,
        "description": about,
        "attributes": list(attributes),
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{urn}"},
    }


def _attribute(
    name: str,
    about: str,
    *,
    kind: str = "string",
    many: bool = False,
    required: bool = False,
    unique: bool = False,
    fixed: bool = False,
    once: bool = False,
    exact: bool = False,
    to: str = "",
    only: str = "",
    parts: list[Document] | None = None,
) -> Document:
    found: Document = {
        "name": name,
        "type": "reference" if to else kind,
        "multiValued": many,
        "description": about,
        "required": required,
        "caseExact": exact or bool(to),
        "mutability": "readOnly" if fixed else "immutable" if once else "readWrite",
        "returned": "default",
        "uniqueness": "server" if unique else "none",
    }
    if to:
        found["referenceTypes"] = [to]
    if only:
        found["canonicalValues"] = [only]
    if parts is not None:
        found["subAttributes"] = parts
    return found
