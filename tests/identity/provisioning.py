"""An identity provider's client as the tests play it: a service with the role `scim` and an API
key, as it comes in over a gateway's directory."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inhouse.audit.read import records
from inhouse.audit.record import Changed
from inhouse.config.schema import Config
from inhouse.domain import Principal
from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.policy import Denied
from inhouse.identity.scim import Scim, ScimRequest
from inhouse.identity.users import Users
from inhouse.identity.watch import KeyWatcher

ISSUER = "https://login.example.com/tenant"
WAIT_S = 20.0
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class Provider:
    """Sends requests, and looks at what became of them."""

    def __init__(self, config: Config, watcher: KeyWatcher, *, subject: str = "externalId") -> None:
        self.config, self.watcher = config, watcher
        self.ledger = Ledger(config)
        self.keys = Keys(config, ledger=self.ledger)
        self.users, self.grants = Users(self.ledger), Grants(self.ledger)
        self.secret = self.keys.create("entra").token.secret.reveal().encode()
        self.grants.give(Actor.local(), "entra", "scim")
        self.scim = Scim(self.ledger, issuer=ISSUER, subject=subject)
        watcher.follow()

    @property
    def actor(self) -> Actor:
        principal = self.comes(self.secret)
        assert principal is not None
        return Actor.of(principal, self.watcher.directory.rights(principal, time.time()))

    def send(
        self, method: str, path: str, body: object = None, *, actor: Actor | None = None,
        if_match: str = "",
    ) -> Answer:  # fmt: skip
        path, _, query = path.partition("?")
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        answer = self.scim.handle(
            ScimRequest(method, path, query, raw, if_match), actor or self.actor
        )
        assert answer.media_type == "application/scim+json"
        said = json.loads(answer.body) if answer.body else None
        if answer.status >= 400:
            assert said is not None
            assert said["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
            assert said["status"] == str(answer.status)
            assert said["detail"]
        return Answer(answer.status, said, answer.headers)

    def patch(self, path: str, *operations: object) -> Answer:
        return self.send("PATCH", path, {"schemas": [PATCH_OP], "Operations": list(operations)})

    def user(self, name: str, **more: object) -> str:
        """The id of a new user."""
        sent = {"schemas": [USER], "userName": name, "externalId": f"oid-{name}", **more}
        answer = self.send("POST", "/Users", sent)
        assert answer.status == 201, answer
        return str(answer.body["id"])

    def group(self, name: str, *members: str) -> str:
        sent = {"displayName": name, "members": [{"value": each} for each in members]}
        answer = self.send("POST", "/Groups", sent)
        assert answer.status == 201, answer
        return str(answer.body["id"])

    def members(self, group: str) -> set[str]:
        answer = self.send("GET", f"/Groups/{group}")
        return {each["value"] for each in answer.body["members"]}

    def changes(self) -> list[Changed]:
        """What the client's user did, by the audit log."""
        found = [r for r in records(self.config.audit_directory) if isinstance(r, Changed)]
        return [change for change in found if change.actor == self.actor.user]

    def comes(self, secret: bytes) -> Principal | None:
        return self.watcher.directory.check(secret, time.time())

    def logs_in(self, subject: str, *groups: str) -> Principal | None:
        """Somebody with a token of the provider."""
        return self.watcher.directory.person(
            ISSUER, subject, frozenset(groups), name=subject, now=time.time()
        )

    def may_use(self, principal: Principal | None) -> bool:
        if principal is None:
            return False
        answer = self.watcher.directory.allows(principal, "models:use", time.time(), model="m")
        return not isinstance(answer, Denied)


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
