"""Who makes a change, and whether they may.

Commands on this machine act as `local:NAME`: who can write the database needs no permission, and
the record says who it was. Everybody else acts with what their grants give them now.
"""

from dataclasses import dataclass

from inhouse.audit.actor import actor as local_name
from inhouse.domain import Principal
from inhouse.errors import NotPermitted
from inhouse.identity.permissions import PERMISSIONS
from inhouse.identity.policy import Denied, Rights, Rule, decide

_EVERYTHING = Rights({each: (Rule("local", None, None, None),) for each in PERMISSIONS})


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` is what records say: "local:anna", a user's id, or "gateway"."""

    id: str
    name: str
    rights: Rights
    user: str | None = None  # the user's id; None of whoever is local
    principal: Principal | None = None  # with the ceiling of their credential

    @classmethod
    def local(cls) -> "Actor":
        """Whoever runs this process, as the system says it."""
        name = local_name()
        return cls(name, name, _EVERYTHING)

    @classmethod
    def gateway(cls) -> "Actor":
        """The gateway itself, for what it saw."""
        return cls("gateway", "gateway", _EVERYTHING)

    @classmethod
    def of(cls, principal: Principal, rights: Rights) -> "Actor":
        """Somebody who came with a credential; `rights` as the directory has them now."""
        return cls(
            principal.user or principal.id, principal.name, rights, principal.user, principal
        )

    def may(self, permission: str) -> bool:
        ceiling = None if self.principal is None else self.principal.ceiling
        return not isinstance(decide(self.rights, permission, ceiling=ceiling), Denied)

    def needs(self, permission: str) -> None:
        """Raise NotPermitted where the actor does not have it."""
        if not self.may(permission):
            raise NotPermitted(
                f"{self.name} may not do this: it takes the permission {permission}, which no "
                "grant gives"
            )

    def is_user(self, user_id: str) -> bool:
        return bool(user_id) and self.user == user_id  # empty: one who is not known yet
