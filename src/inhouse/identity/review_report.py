"""The report of a closed review: the same bytes whenever it is asked for, so that a file that was
handed to somebody can be held against the audit log, which has its digest.

The form has a number. What changes it takes another number, and the old one stays readable: a
report that was signed off is made again years later.
"""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inhouse.identity.ledger import iso
from inhouse.store.reviews import StoredItem, StoredReview

FORMAT = 1
COLUMNS = (
    "review", "review_id", "grant", "holder_kind", "holder", "holder_id", "members", "role",
    "models", "dialects", "purposes", "since", "until", "given_by", "given_by_id", "why", "origin",
    "last_seen", "last_used", "decision", "decided", "decided_by", "decided_by_id", "reason",
    "ended",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula


@dataclass(frozen=True, slots=True)
class Report:
    """Both forms of one report, as bytes of UTF-8."""

    json: bytes
    csv: bytes

    @property
    def json_sha256(self) -> str:
        return hashlib.sha256(self.json).hexdigest()

    @property
    def csv_sha256(self) -> str:
        return hashlib.sha256(self.csv).hexdigest()


def report_of(review: StoredReview, items: Iterable[StoredItem]) -> Report:
    """What was decided on which grant, by whom, when and why, in the order of the review."""
    rows = [item_row(item) for item in items]
    document = {
        "format": FORMAT,
        "review": review_row(review),
        "counts": dict(sorted(Counter(row["decision"] for row in rows).items())),
        "items": rows,
    }
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    return Report(text.encode(), _csv(review, rows).encode())


def review_row(review: StoredReview) -> dict[str, Any]:
    """A review as people and programs read it."""
    return {
        "id": review.id,
        "name": review.name,
        "scope": review.scope,
        "scope_of": review.scope_of,
        "size": review.size,
        "opened": iso(review.opened),
        "opened_by": review.opened_by_name,
        "opened_by_id": review.opened_by,
        "due": iso(review.due),
        "reviewers": None if review.reviewers is None else list(review.reviewer_names or ()),
        "reviewer_ids": None if review.reviewers is None else list(review.reviewers),
        "separation": review.separate,
        "closed": _iso(review.closed),
        "closed_by": review.closed_by_name,
        "closed_by_id": review.closed_by,
        "note": review.note or "",
    }


def item_row(item: StoredItem) -> dict[str, Any]:
    """An item as people and programs read it."""
    return {
        "grant": item.grant_id,
        "holder_kind": item.holder_kind,
        "holder": item.holder_name,
        "holder_id": item.holder,
        "members": list(item.members),
        "role": item.role,
        "models": _list(item.models),
        "dialects": _list(item.dialects),
        "purposes": _list(item.purposes),
        "since": iso(item.since),
        "until": _iso(item.until),
        "given_by": item.given_by_name,
        "given_by_id": item.given_by,
        "why": item.why,
        "origin": item.origin,
        "last_seen": _iso(item.last_seen),
        "last_used": _iso(item.last_used),
        "decision": item.decision,
        "decided": _iso(item.decided),
        "decided_by": item.decided_by_name,
        "decided_by_id": item.decided_by,
        "reason": item.reason,
        "ended": _iso(item.ended),
    }


def _csv(review: StoredReview, rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        whole = row | {"review": review.name, "review_id": review.id}
        writer.writerow([_cell(column, whole[column]) for column in COLUMNS])
    return out.getvalue()


def _cell(column: str, value: object) -> str:
    """None is any model, dialect or purpose, and else nothing. What a spreadsheet would compute
    gets an apostrophe: names and reasons are written by whoever asks."""
    if value is None:
        return "any" if column in ("models", "dialects", "purposes") else ""
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _iso(at: float | None) -> str | None:
    return None if at is None else iso(at)
