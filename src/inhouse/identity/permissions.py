"""Every permission, and the roles that come with Inhouse: data, which docs/access.md shows.

A permission is `area:verb`. What is not in this list is nobody's, and no role can name it.
"""

from dataclasses import dataclass

PERMISSIONS: dict[str, str] = {
    "models:use": "ask a model, over the dialects and for the purposes of the grant",
    "models:read": "see the models, what is behind them, and how they are",
    "models:register": "add a model or a version of it, which nobody uses yet",
    "models:promote": "let others use what somebody else registered, or take it back",
    "engines:read": "see engines, queues, health and metrics",
    "engines:operate": "drain, start and stop engines",
    "keys:own": "make, rotate and revoke keys of one's own",
    "keys:read": "see everybody's keys, never a secret",
    "keys:write": "make, rotate and revoke anybody's keys",
    "users:read": "see people and services, and what they may do",
    "users:write": "add, deactivate, reactivate and remove people and services",
    "teams:read": "see teams and who is in them",
    "teams:write": "make and remove teams, add and take away members",
    "roles:read": "see roles and their permissions",
    "roles:write": "make, change and remove the company's own roles",
    "grants:read": "see grants",
    "grants:write": "give and revoke grants",
    "access:request": "ask for a grant",
    "access:read": "see everybody's requests for grants",
    "access:approve": "approve or deny what somebody else asked for",
    "reviews:read": "see access reviews and their reports",
    "reviews:write": "open and close access reviews, and say who decides",
    "reviews:decide": "decide in access reviews whether others' grants stay",
    "breakglass:use": "take a grant for minutes, with a reason, which alarms",
    "usage:read": "see who used which model how much",
    "config:read": "see the configuration, without secrets",
    "config:write": "change the configuration",
    "audit:read": "read the audit log",
    "audit:verify": "prove that the audit log is whole",
    "scim:write": "provision users and teams from the identity provider",
}


@dataclass(frozen=True, slots=True)
class Role:
    """A set of permissions under a name."""

    name: str
    about: str  # one line
    permissions: frozenset[str]


def _role(name: str, about: str, *permissions: str) -> Role:
    return Role(name, about, frozenset(permissions))


ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        _role(
            "user", "a person who asks models",
            "models:use", "models:read", "keys:own", "access:request",
        ),
        _role("service", "a program that asks models", "models:use"),
        _role(
            "operator", "keeps engines running",
            "models:read", "engines:read", "engines:operate", "keys:own", "usage:read",
            "config:read", "audit:verify", "access:request", "breakglass:use",
        ),
        _role(
            "model-manager", "decides which models there are",
            "models:use", "models:read", "models:register", "models:promote", "engines:read",
            "keys:own", "usage:read", "config:read", "access:request",
        ),
        _role(
            "auditor", "reads everything, changes nothing",
            "models:read", "engines:read", "keys:read", "users:read", "teams:read", "roles:read",
            "grants:read", "access:read", "reviews:read", "usage:read", "config:read", "audit:read",
            "audit:verify",
        ),
        _role(
            "admin", "decides who may do what; does not read the audit log",
            "models:read", "engines:read", "engines:operate", "keys:own", "keys:read",
            "keys:write", "users:read", "users:write", "teams:read", "teams:write", "roles:read",
            "roles:write", "grants:read", "grants:write", "access:request", "access:read",
            "access:approve", "reviews:read", "reviews:write", "reviews:decide", "breakglass:use",
            "usage:read", "config:read", "config:write", "audit:verify",
        ),
        _role(
            "reviewer", "decides in access reviews whether grants stay",
            "users:read", "teams:read", "roles:read", "grants:read", "reviews:read",
            "reviews:decide",
        ),
        _role("scim", "the identity provider's own client", "scim:write"),
    )
}  # fmt: skip
"""What comes with Inhouse. Nobody can change them, or take one of their names."""


def reference() -> str:
    """The tables of docs/access.md."""
    head = f"| permission | allows to | {' | '.join(ROLES)} |"
    lines = [f"| `{role.name}` | {role.about} |" for role in ROLES.values()]
    roles = ["| role | is for |", "|---|---|", *lines]
    rows = [
        f"| `{name}` | {about} | "
        + " | ".join("yes" if name in role.permissions else "" for role in ROLES.values())
        + " |"
        for name, about in PERMISSIONS.items()
    ]
    return "\n".join([*roles, "", head, "|---" * (2 + len(ROLES)) + "|", *rows]) + "\n"
