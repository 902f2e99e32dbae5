"""On- and offboarding: everything in one step, or nothing."""

from dataclasses import dataclass, field

import pytest
from tests.identity.people import DAY_S, Company

from inhouse.audit.record import Changed, KeyChanged
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable, NegativeAnswer, NotPermitted, NotThere, UsageError
from inhouse.identity.bounds import Bounds
from inhouse.identity.grants import Grants
from inhouse.identity.joining import Joining
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Change
from inhouse.identity.requests import Requests
from inhouse.identity.reviews import Reviews
from inhouse.identity.users import Users
from inhouse.store.users import StoredUser


@dataclass
class TwoSessions:
    """Of everybody; as whoever keeps sessions hands it in."""

    ended: list[str] = field(default_factory=list)

    def of(self, change: Change, user: StoredUser) -> list[str]:
        return [f"{user.name}-1", f"{user.name}-2"]

    def end(self, change: Change, ids: list[str]) -> None:
        self.ended += ids


@pytest.fixture
def company(config: Config) -> Company:
    """Anna has a key, two grants, a team with a grant, and asks for more."""
    company = Company(config)
    company.person("anna", "user")
    company.person("ben", "user")
    company.team("research", "anna", "ben")
    company.give("research", "service", "team")
    company.give("anna", "operator", bounds=Bounds(models=("m",)), expires=2e9)
    keys = Keys(company.config, clock=company.clock, ledger=company.ledger)
    keys.create("laptop", user="anna")
    keys.create("desktop", user="ben")
    Requests(company.ledger).ask(company.local, "admin", reason="to help", user="anna")
    return company


def live_keys(company: Company) -> set[str]:
    return {key.owner for key in company.ledger.state().keys if key.revoked is None}


def roles_of(company: Company, name: str) -> set[str]:
    return {g.role for g in Users(company.ledger).show(company.local, name).grants}


def test_everything_is_taken_away_in_one_step(company: Company) -> None:
    count = len(company.records())
    sessions = TwoSessions()
    taken = Joining(company.ledger, sessions).offboard(company.local, "anna", "left the company")
    assert taken.deactivated
    assert not taken.user.active
    assert len(taken.keys) == 1
    assert {grant.role for grant in taken.grants} == {"user", "operator"}
    assert (taken.teams, len(taken.requests)) == (("research",), 1)
    assert sessions.ended == list(taken.sessions) == ["anna-1", "anna-2"]
    shown = Users(company.ledger).show(company.local, "anna")
    assert (shown.teams, shown.grants, shown.keys, shown.permissions) == ((), (), (), ())
    assert Requests(company.ledger).list(company.local) == []
    assert live_keys(company) == {"desktop"}
    assert roles_of(company, "ben") == {"user", "service"}, "nobody else loses anything"

    group = company.records()[count:]
    assert all(record.after["offboarding"] == taken.id for record in group)
    assert [r.action if isinstance(r, KeyChanged) else f"{r.noun} {r.action}" for r in group] == [
        "user offboarded", "revoked", "grant revoked", "grant revoked", "team taken away",
        "request denied", "session ended", "session ended",
    ]  # fmt: skip
    first = group[0]
    assert isinstance(first, Changed)
    assert (first.reason, first.before["active"], first.after["active"]) == (
        "left the company", "yes", "no"
    )  # fmt: skip


def test_coming_back_brings_nothing_back(company: Company) -> None:
    Joining(company.ledger).offboard(company.local, "anna", "left")
    Users(company.ledger).reactivate(company.local, "anna")
    assert roles_of(company, "anna") == set()
    assert live_keys(company) == {"desktop"}


def test_who_was_deactivated_still_leaves(company: Company) -> None:
    Users(company.ledger).deactivate(company.local, "anna")
    taken = Joining(company.ledger).offboard(company.local, "anna", "left")
    assert (taken.deactivated, len(taken.keys)) == (False, 1)
    with pytest.raises(NegativeAnswer, match="anna is inactive and has nothing left"):
        Joining(company.ledger).offboard(company.local, "anna", "left")


def test_open_reviews_that_wait_for_them_are_told(company: Company) -> None:
    company.person("rita", "reviewer")
    company.open("q3", days=30)
    company.clock.at += DAY_S
    review = company.open("q4")
    Reviews(company.ledger).assign(company.local, review.id, reviewers=("rita", "ben"))
    taken = Joining(company.ledger).offboard(company.local, "rita", "left")
    assert taken.reviews == ("q4",)


def test_leaving_takes_a_permission_and_a_reason(company: Company) -> None:
    with pytest.raises(NotPermitted, match="users:write"):
        Joining(company.ledger).offboard(company.acting("ben"), "anna", "I do not like her")
    with pytest.raises(UsageError, match="a reason is needed"):
        Joining(company.ledger).offboard(company.local, "anna", "")
    with pytest.raises(NotThere, match="near: anna"):
        Joining(company.ledger).offboard(company.local, "ana", "left")
    assert live_keys(company) == {"laptop", "desktop"}


def test_without_the_log_nobody_leaves_and_nobody_comes(company: Company) -> None:
    sessions = TwoSessions()
    with company.without_log():
        with pytest.raises((UsageError, AuditUnavailable)):
            Joining(company.ledger, sessions).offboard(company.local, "anna", "left")
        with pytest.raises((UsageError, AuditUnavailable)):
            Joining(company.ledger).onboard(company.local, "carl", like="anna")
    assert sessions.ended == []
    assert roles_of(company, "anna") == {"user", "operator", "service"}
    assert live_keys(company) == {"laptop", "desktop"}
    assert len(company.ledger.state().users) == 2


def test_a_commit_that_fails_leaves_everything_and_the_log_says_so(company: Company) -> None:
    company.sql("ALTER TABLE revision RENAME TO elsewhere")
    with pytest.raises(UsageError):
        Joining(company.ledger).offboard(company.local, "anna", "left")
    company.sql("ALTER TABLE elsewhere RENAME TO revision")
    assert roles_of(company, "anna") == {"user", "operator", "service"}
    assert live_keys(company) == {"laptop", "desktop"}
    failed = [r.action for r in company.records() if r.action.endswith("-failed")]
    assert failed == [
        "offboard-failed", "revoke-failed", "revoke-failed", "revoke-failed", "take-away-failed",
        "deny-failed",
    ]  # fmt: skip


def test_somebody_comes_as_another_is(company: Company) -> None:
    company.team("sales")
    Grants(company.ledger).break_glass(company.local, "admin", reason="fire", user="anna")
    begun = Joining(company.ledger).onboard(
        company.local, "carl", issuer="https://idp.example", subject="c", like="anna",
        teams=("sales", "research"),
    )  # fmt: skip
    assert set(begun.teams) == {"sales", "research"}
    assert roles_of(company, "carl") == {"user", "operator", "service"}, "not the emergency's"
    operator = next(grant for grant in begun.grants if grant.role == "operator")
    assert (operator.models, operator.expires) == (("m",), 2e9)
    assert operator.given_by == company.local.id
    assert operator.origin == "given"
    group = [r for r in company.records() if r.after.get("onboarding") == begun.id]
    assert [r.action for r in group] == ["created", "added", "added", "given", "given"]


def test_nobody_is_made_twice_or_as_oneself(company: Company) -> None:
    company.person("boss", "admin")
    joining = Joining(company.ledger)
    with pytest.raises(NegativeAnswer, match="there is a person 'anna' already"):
        joining.onboard(company.local, "another", issuer="https://idp.example", subject="sub-anna")
    with pytest.raises(NotPermitted, match="nobody hands on their own grants"):
        joining.onboard(company.acting("boss"), "friend", like="boss")
    with pytest.raises(NotThere):
        joining.onboard(company.local, "carl", teams=("nowhere",))
    assert "carl" not in {user.name for user in company.ledger.state().users}
