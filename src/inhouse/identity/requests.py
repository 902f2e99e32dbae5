"""Requests for grants: one asks, another decides, and the grant comes of it."""

from dataclasses import replace

from inhouse.errors import NegativeAnswer, NotPermitted, NotThere, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.bounds import ANY, Bounds
from inhouse.identity.grants import described as described_grant
from inhouse.identity.grants import holder_name, new_grant
from inhouse.identity.ledger import Change, Ledger, because, iso, new_id
from inhouse.identity.roles import check_role
from inhouse.identity.users import find_user
from inhouse.store import grants as grant_store
from inhouse.store import requests as store
from inhouse.store.grants import USER, StoredGrant
from inhouse.store.requests import APPROVED, DENIED, OPEN, StoredRequest

MOST_OPEN = 20  # requests of one user that nobody has decided


class Requests:
    """What may be done to requests."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self, actor: Actor, *, every: bool = False) -> list[StoredRequest]:
        """Those that wait, or all; one's own, without the permission to see others'."""
        seen = self._ledger.requests()
        if not actor.may("access:read") and not actor.may("access:approve"):
            actor.needs("access:request")
            seen = [each for each in seen if actor.is_user(each.user_id)]
        return [each for each in seen if every or each.state == OPEN]

    def ask(
        self,
        actor: Actor,
        role: str,
        *,
        reason: str,
        bounds: Bounds = ANY,
        until: float | None = None,
        user: str = "",
    ) -> StoredRequest:
        """Ask for a role, for oneself; whoever is local says for whom."""
        actor.needs("access:request")
        reason = because(reason, needed=True)
        bounds = bounds.checked()
        with self._ledger.change(actor) as change:
            found = find_user(change.state, user or actor.user or actor.name)
            if actor.user is not None and not actor.is_user(found.id):
                raise NotPermitted("everybody asks for themselves")
            check_role(change.state, role)
            if until is not None and until <= change.now:
                raise UsageError("the grant would have ended already; ask for a later end")
            waiting = [
                each
                for each in store.all_requests(change.connection)
                if each.state == OPEN and each.user_id == found.id
            ]
            if len(waiting) >= MOST_OPEN:
                raise NegativeAnswer(f"{found.name} has {MOST_OPEN} requests that wait already")
            request = StoredRequest(
                id=new_id("acc_"), user_id=found.id, asked_by=actor.id, role=role,
                created=change.now, reason=reason, models=bounds.models,
                dialects=bounds.dialects, purposes=bounds.purposes, until=until,
            )  # fmt: skip
            _record(change, "asked", request, found.name, reason)
            store.insert(change.connection, request)
        return request

    def approve(self, actor: Actor, request_id: str, note: str = "") -> StoredGrant:
        """Give what was asked for. Nobody approves what they asked for, or what is for them."""
        actor.needs("access:approve")
        with self._ledger.change(actor) as change:
            request = _open(change, request_id)
            if actor.is_user(request.user_id) or actor.id == request.asked_by:
                raise NotPermitted("nobody approves their own request; somebody else may")
            user = find_user(change.state, request.user_id)
            grant = new_grant(
                change,
                (USER, user.id),
                request.role,
                bounds=Bounds(request.models, request.dialects, request.purposes),
                expires=request.until,
                reason=request.reason,
                origin=request.id,
            )
            decided = _decided(change, request, APPROVED, note, grant.id)
            change.record(
                change.changed(
                    "request", "approved", (request.id, user.name), before=described(request),
                    after={"grant": grant.id}, reason=decided.note or "",
                ),
                change.changed(
                    "grant", "given", (grant.id, holder_name(change.state, grant)),
                    after=described_grant(grant), reason=grant.reason,
                ),
            )  # fmt: skip
            grant_store.insert(change.connection, grant)
            store.decide(change.connection, decided)
        return grant

    def deny(self, actor: Actor, request_id: str, note: str = "") -> StoredRequest:
        """Refuse what was asked for; whoever asked may take it back the same way."""
        with self._ledger.change(actor) as change:
            request = _open(change, request_id)
            if not actor.is_user(request.user_id):
                actor.needs("access:approve")
            decided = _decided(change, request, DENIED, note, None)
            name = {user.id: user.name for user in change.state.users}.get(request.user_id, "")
            _record(change, "denied", request, name, decided.note or "")
            store.decide(change.connection, decided)
        return decided


def _open(change: Change, request_id: str) -> StoredRequest:
    found = {each.id: each for each in store.all_requests(change.connection)}.get(request_id)
    if found is None:
        raise NotThere(f"there is no request '{request_id[:64]}'; see: inhouse access list")
    if found.state != OPEN:
        raise NegativeAnswer(f"the request {found.id} is {found.state} already")
    return found


def _decided(
    change: Change, request: StoredRequest, state: str, note: str, grant_id: str | None
) -> StoredRequest:
    return replace(
        request,
        state=state,
        decided=change.now,
        decided_by=change.actor.id,
        note=because(note),
        grant_id=grant_id,
    )


def _record(change: Change, action: str, request: StoredRequest, name: str, reason: str) -> None:
    said = described(request)
    before, after = ({}, said) if action == "asked" else (said, {})
    subject = (request.id, name)
    change.record(
        change.changed("request", action, subject, before=before, after=after, reason=reason)
    )


def described(request: StoredRequest) -> dict[str, str]:
    """For records."""
    return {
        "user": request.user_id,
        "role": request.role,
        **Bounds(request.models, request.dialects, request.purposes).described(),
        "until": iso(request.until),
        "asked_by": request.asked_by,
    }
