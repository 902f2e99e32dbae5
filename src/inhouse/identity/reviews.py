"""Access reviews: somebody asks whether each grant is still needed, others answer, and what nobody
confirms ends.

    open ──► decide: keep, or revoke (which ends the grant) ──► close ──► report, for good
               │                                                  │
               └─ one who neither holds nor gave it               └─ refused while any is undecided,
                                                                     unless those shall be revoked

A review is about the grants that stood when it was opened; what is given later is the next one's.
"""

from collections import Counter
from dataclasses import dataclass, replace

from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.directory import View
from inhouse.identity.ledger import Change, Ledger, because, iso, named, new_id, not_there
from inhouse.identity.review_items import (
    EVERYTHING,
    Decider,
    Scope,
    grants_of,
    items_for,
    when_ended,
    why_not,
)
from inhouse.identity.users import find_user
from inhouse.store import reviews as store
from inhouse.store.database import Transaction
from inhouse.store.reviews import GONE, UNDECIDED, StoredItem, StoredReview
from inhouse.store.state import State, read_state
from inhouse.store.users import StoredUser

DECIDE = "reviews:decide"
LOCAL = "local:"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a review is. `counts` by decision; what has ended undecided counts as gone."""

    review: StoredReview
    counts: dict[str, int]

    @property
    def undecided(self) -> int:
        return self.counts.get(UNDECIDED, 0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who still has to decide, and on how many items. `may` is no where no grant of the store
    gives them the permission; one of a group of the provider is not seen here."""

    id: str
    name: str
    email: str | None
    items: int
    may: bool


@dataclass(frozen=True, slots=True)
class Reminders:
    """For an open review."""

    review: StoredReview
    overdue: bool
    waiting: tuple[Waiting, ...]
    nobodys: int  # undecided items on which none of those may decide


class Reviews:
    """What may be done to reviews; what is decided in them is in `decisions.py`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def open(
        self,
        actor: Actor,
        name: str,
        *,
        due: float,
        scope: Scope = EVERYTHING,
        reviewers: tuple[str, ...] | None = None,
    ) -> StoredReview:
        """Ask about the grants that stand now. `reviewers` are users, or `local:NAME`; whoever has
        reviews:decide if None. They need that permission too."""
        actor.needs("reviews:write")
        name = named(name, "a review's name")
        with self._ledger.change(actor) as change:
            if any(name in (each.name, each.id) for each in store.all_reviews(change.connection)):
                raise NegativeAnswer(f"there is a review '{name}' already; take another name")
            scope = scope.checked(change.state)
            ids, names = _reviewers(change.state, reviewers)
            review = StoredReview(
                id=new_id("rev_"), name=name, scope=scope.kind, scope_of=scope.of, size=0,
                opened=change.now, opened_by=actor.id, opened_by_name=actor.name,
                due=_checked_due(due, change.now), reviewers=ids, reviewer_names=names,
                separate=self._ledger.config.settings.access.review_separation,
            )  # fmt: skip
            items = items_for(change.state, review.id, grants_of(change.state, scope, change.now))
            if not items:
                raise NegativeAnswer(f"no grant stands that it would be about: {scope.described()}")
            review = replace(review, size=len(items))
            change.record(
                change.changed("review", "opened", (review.id, name), after=described(review))
            )
            store.insert(change.connection, review, items)
        return review

    def assign(
        self,
        actor: Actor,
        name: str,
        *,
        reviewers: tuple[str, ...] | None = None,
        anybody: bool = False,
        due: float | None = None,
        reason: str = "",
    ) -> StoredReview:
        """Other reviewers (`anybody`: whoever has the permission), or another day."""
        actor.needs("reviews:write")
        if reviewers is None and not anybody and due is None:
            raise UsageError("say which reviewers, or until when")
        with self._ledger.change(actor) as change:
            before = open_review(change, name)
            after = before
            if reviewers is not None or anybody:
                ids, names = _reviewers(change.state, None if anybody else reviewers)
                after = replace(after, reviewers=ids, reviewer_names=names)
            if due is not None:
                after = replace(after, due=_checked_due(due, change.now))
            change.record(
                change.changed(
                    "review", "assigned", (after.id, after.name), before=described(before),
                    after=described(after), reason=because(reason),
                )
            )  # fmt: skip
            store.assign(change.connection, after)
        return after

    def show(self, actor: Actor, name: str) -> tuple[Progress, list[StoredItem]]:
        """One, by id or name, and its items. One whose grant has ended undecided is `gone`."""
        _sees(actor)
        with self._ledger.database.reading() as connection:
            review = find_review(connection, name)
            state = read_state(connection) if review.closed is None else State()
            items = _as_it_is(connection, state, review, self._ledger.clock())
        return _progress(review, items), items

    def undecided(self, actor: Actor, name: str) -> tuple[StoredReview, list[StoredItem], int]:
        """What this actor may decide on now, and how many others are left to somebody else."""
        actor.needs(DECIDE)
        with self._ledger.database.reading() as connection:
            review, state = find_review(connection, name), read_state(connection)
            items = _as_it_is(connection, state, review, self._ledger.clock())
        left = [item for item in items if item.decision == UNDECIDED and review.closed is None]
        if not is_reviewer(review, actor):
            return review, [], len(left)
        who = Decider.of(actor, state)
        theirs = [item for item in left if not why_not(review, item, who)]
        return review, theirs, len(left) - len(theirs)

    def remind(self, actor: Actor, name: str) -> Reminders:
        """Who still has to decide, most items first."""
        _sees(actor)
        now = self._ledger.clock()
        with self._ledger.database.reading() as connection:
            review, state = find_review(connection, name), read_state(connection)
            if review.closed is not None:
                raise _closed_already(review)
            items = _as_it_is(connection, state, review, now)
        left = [item for item in items if item.decision == UNDECIDED]
        view = View(state, self._ledger.separate)
        waiting, covered = [], set[str]()
        for who in _who_decides(view, review, now):
            teams = view.teams_of.get(who.id, frozenset())
            them = Decider(who.id, who.id, teams, frozenset())
            theirs = [item.grant_id for item in left if not why_not(review, item, them)]
            may = who.id.startswith(LOCAL) or _may(view, who.id, now)
            if theirs:
                waiting.append(Waiting(who.id, who.name, who.email, len(theirs), may))
            if may:
                covered.update(theirs)
        waiting.sort(key=lambda each: (-each.items, each.name, each.id))
        nobodys = sum(item.grant_id not in covered for item in left)
        return Reminders(review, now > review.due, tuple(waiting), nobodys)

    def list(self, actor: Actor, *, every: bool = False) -> list[Progress]:
        """Those that are open, or all, oldest first."""
        _sees(actor)
        with self._ledger.database.reading() as connection:
            found = [r for r in store.all_reviews(connection) if every or r.closed is None]
            counted = store.counts(connection)
            state = read_state(connection) if any(r.closed is None for r in found) else State()
            return [
                Progress(review, counted.get(review.id, {}))
                if review.closed is not None
                else _progress(review, _as_it_is(connection, state, review, self._ledger.clock()))
                for review in found
            ]


def _as_it_is(
    connection: Transaction, state: State, review: StoredReview, now: float
) -> list[StoredItem]:
    items = checked(review, store.items_of(connection, review.id))
    return items if review.closed is not None else with_gone(items, state, now)


def _progress(review: StoredReview, items: list[StoredItem]) -> Progress:
    return Progress(review, dict(Counter(item.decision for item in items)))


def find_review(connection: Transaction, name: str) -> StoredReview:
    """The review of that id, else of that name. Raises NotThere."""
    every = store.all_reviews(connection)
    found = [r for r in every if r.id == name] or [r for r in every if r.name == name]
    if found:
        return found[0]
    raise not_there("review", name, (r.name for r in every), "inhouse reviews list --all")


def open_review(change: Change, name: str) -> StoredReview:
    """One that may still be changed. Raises NotThere, NegativeAnswer."""
    review = find_review(change.connection, name)
    if review.closed is not None:
        raise _closed_already(review)
    return review


def checked(review: StoredReview, items: list[StoredItem]) -> list[StoredItem]:
    """These, if they are all that the review was opened with: none escapes its decision because
    its row is gone or cannot be read."""
    if len(items) != review.size:
        raise UsageError(
            f"the store has {len(items)} of the {review.size} items of the review "
            f"'{review.name}'; restore it from backup"
        )
    return items


def with_gone(items: list[StoredItem], state: State, now: float) -> list[StoredItem]:
    """Items as they are now: what has ended is told, and is gone where nobody had decided."""
    grants = {grant.id: grant for grant in state.grants}
    found = []
    for item in items:
        ended = when_ended(grants.get(item.grant_id), now)
        decision = GONE if item.decision == UNDECIDED and ended is not None else item.decision
        found.append(replace(item, decision=decision, ended=ended))
    return found


def is_reviewer(review: StoredReview, actor: Actor) -> bool:
    return review.reviewers is None or actor.id in review.reviewers


def described(review: StoredReview) -> dict[str, str]:
    """For records."""
    reviewers = "whoever may" if review.reviewers is None else ", ".join(review.reviewers)
    return {
        "scope": Scope(review.scope, review.scope_of).described(),
        "items": str(review.size),
        "due": iso(review.due),
        "reviewers": reviewers,
        "separation": "yes" if review.separate else "no",
    }


def _sees(actor: Actor) -> None:
    if not actor.may(DECIDE):
        actor.needs("reviews:read")


def _closed_already(review: StoredReview) -> NegativeAnswer:
    return NegativeAnswer(
        f"the review '{review.name}' was closed {iso(review.closed)} by {review.closed_by_name}; "
        "nothing about it changes any more"
    )


def _checked_due(due: float, now: float) -> float:
    if due <= now:
        raise UsageError("the review would be over already; give it a day in the future")
    return due


def _reviewers(
    state: State, names: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Ids and names."""
    if names is None:
        return None, None
    found: dict[str, str] = {}
    for name in names:
        if name.startswith(LOCAL):
            found[named(name, "a reviewer's name")] = name
            continue
        user = find_user(state, name)
        if not user.active:
            raise NegativeAnswer(f"{user.name} is inactive, and cannot decide anything")
        found[user.id] = user.name
    if not found:
        raise UsageError("a review has at least one reviewer")
    return tuple(found), tuple(found.values())


def _who_decides(view: View, review: StoredReview, now: float) -> list[StoredUser]:
    if review.reviewers is None:
        return [user for user in view.users.values() if _may(view, user.id, now)]
    names = dict(zip(review.reviewers, review.reviewer_names or (), strict=True))
    return [
        view.users.get(each) or StoredUser(each, "", "", "", name, None, False, 0.0)
        for each, name in names.items()
    ]


def _may(view: View, user: str, now: float) -> bool:
    return DECIDE in view.rights(user, frozenset(), now).permissions
