"""What is stored of access reviews and their items, as values; and the statements.

An item keeps the grant as it was when the review was opened, with the names of that day: users are
renamed and removed, and the report still says what was decided on.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import (
    moment,
    moment_or_none,
    names,
    names_or_none,
    read,
    text,
    text_or_none,
    truth,
)
from inhouse.store.rows import written as listed
from inhouse.store.tables import review_items as items
from inhouse.store.tables import reviews

ALL = "all"
ROLE = "role"
TEAM = "team"
MODEL = "model"
UNSEEN = "unseen"
SCOPES = (ALL, ROLE, TEAM, MODEL, UNSEEN)

UNDECIDED = ""
KEEP = "keep"
REVOKE = "revoke"
UNCONFIRMED = "unconfirmed"  # revoked at the closing, since nobody had decided
GONE = "gone"  # it had ended before anybody decided
DECISIONS = (UNDECIDED, KEEP, REVOKE, UNCONFIRMED, GONE)


@dataclass(frozen=True, slots=True)
class StoredReview:
    """One review. Times in seconds since the epoch; `reviewers` are ids, None for whoever has the
    permission."""

    id: str
    name: str
    scope: str
    scope_of: str
    size: int
    opened: float
    opened_by: str
    opened_by_name: str
    due: float
    separate: bool
    reviewers: tuple[str, ...] | None = None
    reviewer_names: tuple[str, ...] | None = None
    closed: float | None = None
    closed_by: str | None = None
    closed_by_name: str | None = None
    note: str | None = None
    json_sha256: str | None = None
    csv_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One grant of a review, as it was at the opening, and what was decided."""

    review_id: str
    grant_id: str
    position: int
    holder_kind: str
    holder: str
    holder_name: str
    role: str
    since: float
    given_by: str
    given_by_name: str
    why: str
    origin: str
    members: tuple[str, ...] = ()  # of a team: names
    models: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    until: float | None = None
    last_seen: float | None = None  # of a team: the last of its members, as `last_used`
    last_used: float | None = None  # the newest use of a key
    decision: str = UNDECIDED
    decided: float | None = None
    decided_by: str | None = None
    decided_by_name: str | None = None
    reason: str = ""
    ended: float | None = None


_LISTS_OF_REVIEW = ("reviewers", "reviewer_names")
_LISTS_OF_ITEM = ("members", "models", "dialects", "purposes")
_DECIDED = ("decision", "decided", "decided_by", "decided_by_name", "reason", "ended")
_CLOSED = ("closed", "closed_by", "closed_by_name", "note", "json_sha256", "csv_sha256")


def all_reviews(connection: sa.Connection) -> list[StoredReview]:
    """Every review that ever was, oldest first."""
    rows = connection.execute(sa.select(reviews).order_by(reviews.c.opened, reviews.c.id)).all()
    return [each for row in rows if (each := read(_review, row, "the review", row.id))]


def items_of(connection: sa.Connection, review_id: str) -> list[StoredItem]:
    """In the order of the review."""
    found = sa.select(items).where(items.c.review_id == review_id).order_by(items.c.position)
    rows = connection.execute(found).all()
    return [each for row in rows if (each := read(_item, row, "the item", row.grant_id))]


def counts(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """How many items of each review have which decision."""
    found = sa.select(items.c.review_id, items.c.decision, sa.func.count())
    counted: dict[str, dict[str, int]] = {}
    for review_id, decision, count in connection.execute(
        found.group_by(items.c.review_id, items.c.decision)
    ):
        counted.setdefault(str(review_id), {})[str(decision)] = int(count)
    return counted


def insert(connection: sa.Connection, review: StoredReview, its: list[StoredItem]) -> None:
    connection.execute(sa.insert(reviews).values(_values(review, _LISTS_OF_REVIEW)))
    connection.execute(sa.insert(items), [_values(item, _LISTS_OF_ITEM) for item in its])


def assign(connection: sa.Connection, review: StoredReview) -> None:
    """Other reviewers, another day."""
    connection.execute(
        sa.update(reviews)
        .where(reviews.c.id == review.id)
        .where(reviews.c.closed.is_(None))
        .values(
            reviewers=listed(review.reviewers),
            reviewer_names=listed(review.reviewer_names),
            due=review.due,
        )
    )


def decide(connection: sa.Connection, decided: list[StoredItem]) -> None:
    """What was decided on these, in one statement."""
    if not decided:
        return
    connection.execute(
        sa.update(items)
        .where(items.c.review_id == sa.bindparam("of_review"))
        .where(items.c.grant_id == sa.bindparam("of_grant"))
        .values({name: sa.bindparam(f"new_{name}") for name in _DECIDED}),
        [
            {"of_review": item.review_id, "of_grant": item.grant_id}
            | {f"new_{name}": getattr(item, name) for name in _DECIDED}
            for item in decided
        ],
    )


def close(connection: sa.Connection, review: StoredReview) -> None:
    connection.execute(
        sa.update(reviews)
        .where(reviews.c.id == review.id)
        .where(reviews.c.closed.is_(None))
        .values({name: getattr(review, name) for name in _CLOSED})
    )


def _values(value: StoredReview | StoredItem, lists: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in value.__dataclass_fields__}
    return found | {name: listed(found[name]) for name in lists}


def _review(row: sa.Row[Any]) -> StoredReview:
    if row.scope not in SCOPES:
        raise ValueError("what it is about is none")
    return StoredReview(
        id=text(row.id),
        name=text(row.name),
        scope=row.scope,
        scope_of=text(row.scope_of),
        size=int(row.size),
        opened=moment(row.opened),
        opened_by=text(row.opened_by),
        opened_by_name=text(row.opened_by_name),
        due=moment(row.due),
        separate=truth(row.separate),
        reviewers=names_or_none(row.reviewers),
        reviewer_names=names_or_none(row.reviewer_names),
        closed=moment_or_none(row.closed),
        closed_by=text_or_none(row.closed_by),
        closed_by_name=text_or_none(row.closed_by_name),
        note=text_or_none(row.note),
        json_sha256=text_or_none(row.json_sha256),
        csv_sha256=text_or_none(row.csv_sha256),
    )


def _item(row: sa.Row[Any]) -> StoredItem:
    if row.decision not in DECISIONS:
        raise ValueError("its decision is none")
    return StoredItem(
        review_id=text(row.review_id),
        grant_id=text(row.grant_id),
        position=int(row.position),
        holder_kind=text(row.holder_kind),
        holder=text(row.holder),
        holder_name=text(row.holder_name),
        role=text(row.role),
        since=moment(row.since),
        given_by=text(row.given_by),
        given_by_name=text(row.given_by_name),
        why=text(row.why),
        origin=text(row.origin),
        members=names(row.members),
        models=names_or_none(row.models),
        dialects=names_or_none(row.dialects),
        purposes=names_or_none(row.purposes),
        until=moment_or_none(row.until),
        last_seen=moment_or_none(row.last_seen),
        last_used=moment_or_none(row.last_used),
        decision=row.decision,
        decided=moment_or_none(row.decided),
        decided_by=text_or_none(row.decided_by),
        decided_by_name=text_or_none(row.decided_by_name),
        reason=text(row.reason),
        ended=moment_or_none(row.ended),
    )
