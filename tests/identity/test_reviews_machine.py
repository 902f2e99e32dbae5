"""Any order of grants, revocations, decisions, ends and closings, against a model of it in memory:
no grant ends unasked, none survives its revocation, and a report never changes."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.identity.conftest import written
from tests.identity.people import Company

from inhouse.errors import NegativeAnswer, NotPermitted
from inhouse.identity.decisions import Decision, Decisions
from inhouse.identity.grants import Grants
from inhouse.identity.review_items import Scope
from inhouse.identity.reviews import Reviews
from inhouse.store.reviews import GONE, KEEP, REVOKE, UNCONFIRMED, UNDECIDED

REVIEWERS = ("rita", "rolf")
WHO = st.sampled_from(REVIEWERS)
PICK = st.integers(min_value=0, max_value=30)


class ReviewMachine(RuleBasedStateMachine):
    """`grants`: holder and end of each that stands or stood; `reviews`: what was decided on each
    item."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="inhouse-reviews-"))
        self.company = Company(written(self.directory, ""))
        self.holder: dict[str, str] = {}
        self.ends: dict[str, float | None] = {}
        self.revoked: set[str] = set()
        self.reviews: dict[str, dict[str, str]] = {}
        self.reports: dict[str, bytes] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @initialize()
    def begin(self) -> None:
        for name in REVIEWERS:
            self.company.person(name, "reviewer")
        # what they decide by is no item of these reviews: it must not end under them
        self.never = self.company.standing()
        self.company.person("anna")
        self.actors = {name: self.company.acting(name) for name in REVIEWERS}

    def stands(self, grant: str) -> bool:
        end = self.ends[grant]
        return grant not in self.revoked and (end is None or self.company.clock.at < end)

    def open_ones(self) -> list[str]:
        return sorted(set(self.reviews) - set(self.reports))

    def state(self, review: str, grant: str) -> str:
        """What the model says of an item now."""
        decision = self.reviews[review][grant]
        return GONE if decision == UNDECIDED and not self.stands(grant) else decision

    @rule(holder=st.sampled_from(("anna", *REVIEWERS)), short=st.booleans())
    def give(self, holder: str, short: bool) -> None:
        end = self.company.clock.at + 50 if short else None
        grant = self.company.give(holder, "user", expires=end).id
        self.holder[grant], self.ends[grant] = holder, end

    @precondition(lambda self: self.holder)
    @rule(pick=PICK)
    def take(self, pick: int) -> None:
        grant = sorted(self.holder)[pick % len(self.holder)]
        try:
            Grants(self.company.ledger).revoke(self.company.local, grant)
        except NegativeAnswer:
            assert not self.stands(grant)
        else:
            assert self.stands(grant)
            self.revoked.add(grant)

    @rule(seconds=st.sampled_from((1, 60)))
    def wait(self, seconds: int) -> None:
        self.company.clock.at += seconds

    @rule()
    def restart(self) -> None:
        self.company.restart()

    @precondition(lambda self: len(self.reviews) < 4)
    @rule()
    def open(self) -> None:
        name = f"r{len(self.reviews)}"
        standing = {grant for grant in self.holder if self.stands(grant)}
        try:
            self.company.open(name, Scope("role", "user"))
        except NegativeAnswer:
            assert not standing
        else:
            self.reviews[name] = dict.fromkeys(standing, UNDECIDED)

    @precondition(lambda self: self.reviews)
    @rule(pick=PICK, which=PICK, who=WHO, decision=st.sampled_from((KEEP, REVOKE)))
    def decide(self, pick: int, which: int, who: str, decision: str) -> None:
        review = sorted(self.reviews)[which % len(self.reviews)]
        grant = sorted(self.reviews[review])[pick % len(self.reviews[review])]
        possible = (
            review not in self.reports
            and self.state(review, grant) == UNDECIDED
            and self.holder[grant] != who
        )
        try:
            Decisions(self.company.ledger).decide(
                self.actors[who], review, [Decision(grant, decision, "because")]
            )
        except (NegativeAnswer, NotPermitted):
            assert not possible
        else:
            assert possible
            self.reviews[review][grant] = decision
            if decision == REVOKE:
                self.revoked.add(grant)

    @precondition(lambda self: self.open_ones())
    @rule(which=PICK, revoke=st.booleans())
    def close(self, which: int, revoke: bool) -> None:
        review = self.open_ones()[which % len(self.open_ones())]
        items = self.reviews[review]
        left = {grant for grant in items if self.state(review, grant) == UNDECIDED}
        try:
            closed = Decisions(self.company.ledger).close(
                self.company.local, review, revoke_undecided=revoke
            )
        except NegativeAnswer:
            assert left
            assert not revoke
            return
        assert revoke or not left
        gone = {grant for grant in items if self.state(review, grant) == GONE}
        items |= dict.fromkeys(left, UNCONFIRMED) | dict.fromkeys(gone, GONE)
        self.revoked |= left
        self.reports[review] = closed.report.json

    @invariant()
    def grants_are_as_the_model_says(self) -> None:
        if hasattr(self, "never"):
            expected = {grant for grant in self.holder if self.stands(grant)}
            assert self.company.standing() == expected | self.never

    @invariant()
    def items_are_as_the_model_says(self) -> None:
        for review, items in self.reviews.items():
            _, found = Reviews(self.company.ledger).show(self.company.local, review)
            said = {item.grant_id: item.decision for item in found}
            assert said == {grant: self.state(review, grant) for grant in items}

    @invariant()
    def reports_never_change(self) -> None:
        for review, report in self.reports.items():
            again = Decisions(self.company.ledger).report(self.company.local, review)
            assert again.report.json == report


TestReviews = ReviewMachine.TestCase
TestReviews.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
