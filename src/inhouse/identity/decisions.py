"""Deciding in access reviews, closing them, and the report that comes of it.

What is revoked ends in the transaction that decides it; both are in the log before. The digests of
the report are in the record of the closing, so that a file can be held against the log.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from inhouse.audit.log import append_once
from inhouse.audit.read import records
from inhouse.audit.record import Changed, Read
from inhouse.errors import NegativeAnswer, NotPermitted, NotThere, UsageError
from inhouse.identity import grants
from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Change, Ledger, because, iso
from inhouse.identity.review_items import Decider, why_not
from inhouse.identity.review_report import Report, report_of
from inhouse.identity.reviews import (
    DECIDE,
    checked,
    find_review,
    is_reviewer,
    open_review,
    with_gone,
)
from inhouse.store import grants as grant_store
from inhouse.store import reviews as store
from inhouse.store.reviews import (
    GONE,
    KEEP,
    REVOKE,
    UNCONFIRMED,
    UNDECIDED,
    StoredItem,
    StoredReview,
)

NOT_CONFIRMED = "nobody confirmed it before the review was closed"


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall become of one grant."""

    grant_id: str
    decision: str  # keep or revoke
    reason: str

    def checked(self) -> "Decision":
        if self.decision not in (KEEP, REVOKE):
            raise UsageError(f"'{self.decision[:64]}' is no decision; there are keep and revoke")
        return replace(self, reason=because(self.reason, needed=True))


@dataclass(frozen=True, slots=True)
class Closed:
    """A review that is over, and its report."""

    review: StoredReview
    report: Report
    counts: dict[str, int]


class Decisions:
    """What may be decided, and what comes of it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def decide(self, actor: Actor, name: str, decisions: Iterable[Decision]) -> list[StoredItem]:
        """All of these, or none. A decision stands: of two people the first one is heard, and the
        other is told. Raises NotPermitted, NotThere, NegativeAnswer, UsageError."""
        actor.needs(DECIDE)
        wanted = [decision.checked() for decision in decisions]
        if len({each.grant_id for each in wanted}) != len(wanted) or not wanted:
            raise UsageError("decide on one grant or more, on each once")
        with self._ledger.change(actor) as change:
            review = open_review(change, name)
            if not is_reviewer(review, actor):
                raise NotPermitted(
                    f"{actor.name} is none of the reviewers of '{review.name}': "
                    f"{', '.join(review.reviewer_names or ())}"
                )
            items = {item.grant_id: item for item in _items(change, review)}
            who = Decider.of(actor, change.state)
            decided = [_decided(change, review, items, each, who) for each in wanted]
            _decide(change, review, decided)
        return decided

    def close(
        self, actor: Actor, name: str, *, revoke_undecided: bool = False, note: str = ""
    ) -> Closed:
        """End it, for good. Refused while items are undecided, unless those grants shall end."""
        actor.needs("reviews:write")
        with self._ledger.change(actor) as change:
            review = open_review(change, name)
            items = _items(change, review)
            undecided = [item for item in items if item.decision == UNDECIDED]
            if undecided and not revoke_undecided:
                raise NegativeAnswer(
                    f"{len(undecided)} of the {review.size} grants of '{review.name}' are "
                    "undecided; decide on them, or close it with --revoke-undecided"
                )
            final = [_final(change, item) for item in items]
            closed = replace(
                review, closed=change.now, closed_by=actor.id, closed_by_name=actor.name,
                note=because(note),
            )  # fmt: skip
            report = report_of(closed, final)
            closed = replace(closed, json_sha256=report.json_sha256, csv_sha256=report.csv_sha256)
            counts = dict(sorted(Counter(item.decision for item in final).items()))
            ended = [item for item in final if item.decision == UNCONFIRMED]
            change.record(*_ends(change, review, ended), _closing(change, closed, counts))
            grant_store.revoke_all(
                change.connection, [item.grant_id for item in ended], change.now, actor.id
            )
            store.decide(change.connection, final)
            store.close(change.connection, closed)
        return Closed(closed, report, counts)

    def report(self, actor: Actor, name: str) -> Closed:
        """Of a closed review. Raises NegativeAnswer where it is open, or where what the store
        holds of it is not what was signed off."""
        actor.needs("reviews:read")
        with self._ledger.database.reading() as connection:
            review = find_review(connection, name)
            items = checked(review, store.items_of(connection, review.id))
        if review.closed is None:
            raise NegativeAnswer(f"the review '{review.name}' is open; its report comes at its end")
        report = report_of(review, items)
        if (report.json_sha256, report.csv_sha256) != (review.json_sha256, review.csv_sha256):
            raise NegativeAnswer(
                f"what the store holds of the review '{review.name}' was changed after it was "
                "closed; hold the report that was handed out against the audit log"
            )
        return Closed(review, report, dict(sorted(Counter(i.decision for i in items).items())))

    def held_against_log(self, actor: Actor, file: bytes, name: str) -> Changed:
        """The record of the closing that has the digest of this file; that the log was read is a
        record too. `name` is the file's. Raises NotThere."""
        actor.needs("audit:read")
        config = self._ledger.config
        digest = hashlib.sha256(file).hexdigest()
        if not config.audit_directory.is_dir():
            raise UsageError(f"there is no audit log in {config.audit_directory}")
        now = self._ledger.clock()
        append_once(config, Read(now, actor.id, f"the closing of a review with {digest}"))
        found: dict[str, Changed] = {}
        for record in records(config.audit_directory):
            if isinstance(record, Changed) and record.noun == "review":
                if record.action == "closed":
                    found[record.id] = record
                elif record.action == "close-failed":
                    found.pop(record.id, None)
        for record in found.values():
            if digest in (record.after.get("json_sha256"), record.after.get("csv_sha256")):
                return record
        raise NotThere(
            f"{name} is no report of a review that was closed here: no record of a closing has "
            f"its digest {digest}"
        )


def _items(change: Change, review: StoredReview) -> list[StoredItem]:
    stored = checked(review, store.items_of(change.connection, review.id))
    return with_gone(stored, change.state, change.now)


def _decided(
    change: Change,
    review: StoredReview,
    items: dict[str, StoredItem],
    wanted: Decision,
    who: Decider,
) -> StoredItem:
    """The item with the decision. Raises where it may not be made, with the reason."""
    item = items.get(wanted.grant_id)
    if item is None:
        raise NotThere(
            f"the grant '{wanted.grant_id[:64]}' is not in the review '{review.name}'; "
            "see: inhouse reviews show"
        )
    if item.decision == GONE:
        raise NegativeAnswer(
            f"the grant {item.grant_id} ended {iso(item.ended)}, and needs no decision"
        )
    if item.decision != UNDECIDED:
        raise NegativeAnswer(
            f"{item.decided_by_name} decided already to {item.decision} the grant {item.grant_id}"
        )
    why = why_not(review, item, who)
    if why:
        raise NotPermitted(
            f"{change.actor.name} {why}: the grant {item.grant_id} is for somebody else to decide "
            "on (access.review_separation)"
        )
    return replace(
        item,
        decision=wanted.decision,
        decided=change.now,
        decided_by=change.actor.id,
        decided_by_name=change.actor.name,
        reason=wanted.reason,
        ended=change.now if wanted.decision == REVOKE else None,
    )


def _decide(change: Change, review: StoredReview, decided: list[StoredItem]) -> None:
    ended = [item for item in decided if item.decision == REVOKE]
    change.record(
        *(
            change.changed(
                "review", "decided", (review.id, review.name),
                before={"decision": "none"},
                after={
                    "decision": item.decision, "grant": item.grant_id, "role": item.role,
                    "holder": _holder(item),
                },
                reason=item.reason,
            )
            for item in decided
        ),
        *_ends(change, review, ended),
    )  # fmt: skip
    ids = [item.grant_id for item in ended]
    grant_store.revoke_all(change.connection, ids, change.now, change.actor.id)
    store.decide(change.connection, decided)


def _final(change: Change, item: StoredItem) -> StoredItem:
    """As it is when the review ends."""
    if item.decision not in (UNDECIDED, GONE):
        return item
    if item.decision == GONE:
        return replace(item, decided=change.now)
    return replace(
        item, decision=UNCONFIRMED, decided=change.now, decided_by=change.actor.id,
        decided_by_name=change.actor.name, reason=NOT_CONFIRMED, ended=change.now,
    )  # fmt: skip


def _ends(change: Change, review: StoredReview, items: list[StoredItem]) -> list[Changed]:
    """The records of grants that end by a review."""
    stored = {grant.id: grant for grant in change.state.grants}
    return [
        grants.revoked(change, stored[item.grant_id], _holder(item), item.reason, review=review.id)
        for item in items
    ]


def _closing(change: Change, closed: StoredReview, counts: dict[str, int]) -> Changed:
    assert closed.json_sha256
    assert closed.csv_sha256
    return change.changed(
        "review",
        "closed",
        (closed.id, closed.name),
        before={"closed": "no"},
        after={
            "closed": iso(closed.closed),
            "items": str(closed.size),
            **{decision: str(count) for decision, count in counts.items()},
            "json_sha256": closed.json_sha256,
            "csv_sha256": closed.csv_sha256,
        },
        reason=closed.note or "",
    )


def _holder(item: StoredItem) -> str:
    return f"{item.holder_kind} {item.holder_name}"
