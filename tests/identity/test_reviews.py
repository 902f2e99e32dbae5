"""Access reviews: their life, who may decide, what ends meanwhile, two people at once, and what is
left when something fails."""

import csv
import hashlib
import io
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.identity.conftest import written
from tests.identity.people import DAY_S, Company, Hand, counted

from inhouse.audit.record import Changed
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable, NegativeAnswer, NotPermitted, NotThere, UsageError
from inhouse.identity.bounds import Bounds
from inhouse.identity.decisions import Decision, Decisions
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.review_items import Scope
from inhouse.identity.review_report import COLUMNS, report_of
from inhouse.identity.reviews import Reviews
from inhouse.identity.users import Users
from inhouse.store.keys import note_use
from inhouse.store.reviews import GONE, KEEP, REVOKE, UNCONFIRMED, UNDECIDED
from inhouse.store.tables import grants as grants_table
from inhouse.store.tables import reviews as reviews_table
from inhouse.store.tables import users as users_table
from inhouse.store.users import note_seen


@pytest.fixture
def company(config: Config) -> Company:
    """Anna and Ben use models, Rita and Rolf decide; all of it was given by whoever is local."""
    company = Company(config)
    for name in ("anna", "ben"):
        company.person(name, "user")
    for name in ("rita", "rolf"):
        company.person(name, "reviewer")
    return company


def keep(grant: str, reason: str = "needed") -> Decision:
    return Decision(grant, KEEP, reason)


def revoke(grant: str, reason: str = "not needed") -> Decision:
    return Decision(grant, REVOKE, reason)


def grant_of(company: Company, name: str) -> str:
    """The one that stands."""
    state, now = company.ledger.state(), company.clock()
    user = next(user.id for user in state.users if user.name == name)
    (grant,) = (each.id for each in state.grants if each.holder == user and each.stands(now))
    return grant


def items_of(company: Company, review: str = "q3") -> dict[str, str]:
    """What became of each grant, by its holder's name."""
    _, items = Reviews(company.ledger).show(company.local, review)
    return {item.holder_name: item.decision for item in items}


def decide(company: Company, who: str, *decisions: Decision) -> None:
    Decisions(company.ledger).decide(company.acting(who), "q3", decisions)


def test_a_life(company: Company) -> None:
    """Opened, decided, closed; restarted between all of it."""
    anna, ben = grant_of(company, "anna"), grant_of(company, "ben")
    rita, rolf = grant_of(company, "rita"), grant_of(company, "rolf")
    review = company.open()
    company.restart()
    decide(company, "rita", keep(anna, "still asks models"), revoke(ben, "moved to sales"))
    assert ben not in company.standing()
    company.restart()
    progress, _ = Reviews(company.ledger).show(company.local, "q3")
    assert progress.counts == {KEEP: 1, REVOKE: 1, UNDECIDED: 2}
    with pytest.raises(NegativeAnswer, match="2 of the 4 grants of 'q3' are undecided"):
        Decisions(company.ledger).close(company.local, "q3")
    decide(company, "rita", keep(rolf))
    decide(company, "rolf", keep(rita))
    company.clock.at += 60
    closed = Decisions(company.ledger).close(company.local, review.id, note="all is well")
    assert closed.counts == {KEEP: 3, REVOKE: 1}
    assert company.standing() == {anna, rita, rolf}
    company.restart()
    again = Decisions(company.ledger).report(company.local, "q3")
    assert again.report == closed.report

    changes = [r for r in company.records() if isinstance(r, Changed)]
    of_review = [r for r in changes if r.noun == "review"]
    assert [r.action for r in of_review] == ["opened", *["decided"] * 4, "closed"]
    assert {r.id for r in of_review} == {review.id}
    assert of_review[0].after["items"] == "4"
    last = of_review[-1]
    assert last.reason == "all is well"
    assert last.after["json_sha256"] == hashlib.sha256(closed.report.json).hexdigest()
    assert last.after["csv_sha256"] == hashlib.sha256(closed.report.csv).hexdigest()
    (ended,) = [r for r in changes if (r.noun, r.action) == ("grant", "revoked")]
    assert (ended.id, ended.after["review"], ended.reason) == (ben, review.id, "moved to sales")
    assert ended.before["role"] == "user"
    assert ended.actor == company.acting("rita").id


def test_the_report_says_who_had_what_and_what_was_decided(company: Company) -> None:
    company.team("research", "anna", "ben")
    team = company.give(
        "research", "service", "team", bounds=Bounds(models=("m",)), reason="=HYPERLINK(1)"
    )
    company.open("q3", Scope("team", "research"))
    Users(company.ledger).change(company.local, "anna", new_name="anna b")
    rest = [keep(grant_of(company, name)) for name in ("anna b", "ben")]
    decide(company, "rita", revoke(team.id, "the project is over"), *rest)
    closed = Decisions(company.ledger).close(company.local, "q3")
    document = json.loads(closed.report.json)
    assert document["counts"] == {KEEP: 2, REVOKE: 1}
    assert document["review"]["separation"] is True
    by_holder = {item["holder"]: item for item in document["items"]}
    assert set(by_holder) == {"anna", "ben", "research"}, "names as they were at the opening"
    assert by_holder["research"]["members"] == ["anna", "ben"]
    assert by_holder["research"]["models"] == ["m"]
    assert by_holder["anna"]["models"] is None
    assert by_holder["research"]["decided_by"] == "rita"
    assert by_holder["research"]["ended"] is not None
    table = list(csv.DictReader(io.StringIO(closed.report.csv.decode())))
    assert list(table[0]) == list(COLUMNS)
    row = next(row for row in table if row["holder"] == "research")
    assert row["why"] == "'=HYPERLINK(1)", "no spreadsheet computes it"
    assert (row["models"], row["dialects"], row["decision"]) == ("m", "any", REVOKE)


def test_what_a_reviewer_is_told_of_a_grant(company: Company) -> None:
    with company.ledger.database.writing() as connection:
        anna = next(u for u in company.ledger.state().users if u.name == "anna")
        note_seen(connection, {anna.id: company.clock.at - 5})
    key = Keys(company.config, clock=company.clock, ledger=company.ledger).create(
        "laptop", user="anna"
    )
    with company.ledger.database.writing() as connection:
        note_use(connection, {key.key.id: company.clock.at - 3})
    company.team("research", "anna", "ben")
    company.give("research", "service", "team")
    company.open()
    _, items = Reviews(company.ledger).show(company.local, "q3")
    told = {item.holder_name: item for item in items}
    assert (told["anna"].last_seen, told["anna"].last_used) == (
        company.clock.at - 5,
        company.clock.at - 3,
    )
    assert told["research"].last_seen == company.clock.at - 5
    assert told["ben"].last_seen is None
    assert told["anna"].given_by_name == company.local.name


@pytest.mark.parametrize("what", ["holds it", "is in the team", "is in the group", "gave it"])
def test_nobody_decides_on_what_is_theirs(company: Company, what: str) -> None:
    company.person("boss", "admin", "reviewer")
    groups: tuple[str, ...] = ()
    if what == "holds it":
        grant = grant_of(company, "rita")
    elif what == "is in the team":
        company.team("deciders", "rita")
        grant = company.give("deciders", "user", "team").id
    elif what == "is in the group":
        grant, groups = company.give("all-staff", "user", "group").id, ("all-staff",)
    else:
        grant = Grants(company.ledger).give(company.acting("boss"), "anna", "operator").id
    company.open()
    who = company.acting("boss" if what == "gave it" else "rita", *groups)
    for decision in (keep(grant), revoke(grant)):
        with pytest.raises(NotPermitted, match="somebody else"):
            Decisions(company.ledger).decide(who, "q3", [decision])
    _, mine, others = Reviews(company.ledger).undecided(who, "q3")
    assert grant not in [item.grant_id for item in mine]
    assert others >= 1
    decide(company, "rolf", keep(grant))


def test_without_separation_they_do(tmp_path: Path) -> None:
    company = Company(written(tmp_path, "[access]\nreview_separation = false\n"))
    company.person("rita", "reviewer")
    mine = grant_of(company, "rita")
    company.open()
    decide(company, "rita", keep(mine))
    assert items_of(company) == {"rita": KEEP}


def test_separation_is_as_it_was_when_the_review_was_opened(company: Company) -> None:
    mine = grant_of(company, "rita")
    company.open()
    settings = company.config.settings
    access = replace(settings.access, review_separation=False)
    company.config = replace(company.config, settings=replace(settings, access=access))
    company.restart()
    with pytest.raises(NotPermitted):
        decide(company, "rita", keep(mine))


def test_one_wrong_decision_and_none_is_made(company: Company) -> None:
    company.open()
    anna, rita = grant_of(company, "anna"), grant_of(company, "rita")
    with pytest.raises(NotPermitted):
        decide(company, "rita", revoke(anna), keep(rita))
    assert anna in company.standing()
    assert set(items_of(company).values()) == {UNDECIDED}


def test_who_may_do_what_of_it(company: Company) -> None:
    company.person("audrey", "auditor")
    anna = grant_of(company, "anna")
    user, auditor, rita = (company.acting(name) for name in ("anna", "audrey", "rita"))
    reviews, decisions = Reviews(company.ledger), Decisions(company.ledger)
    due = company.clock.at + DAY_S
    for actor in (user, auditor, rita):
        with pytest.raises(NotPermitted, match="reviews:write"):
            reviews.open(actor, "mine", due=due)
    review = company.open()
    for actor in (user, auditor):
        with pytest.raises(NotPermitted, match="reviews:decide"):
            decisions.decide(actor, review.id, [keep(anna)])
    for actor in (user, auditor, rita):
        with pytest.raises(NotPermitted, match="reviews:write"):
            decisions.close(actor, review.id, revoke_undecided=True)
    with pytest.raises(NotPermitted, match="reviews:read"):
        reviews.show(user, review.id)
    assert reviews.show(auditor, review.id)[0].undecided == 5
    assert len(reviews.list(rita)) == 1
    decisions.close(company.local, review.id, revoke_undecided=True)
    report = decisions.report(auditor, review.id).report
    assert decisions.held_against_log(auditor, report.json, "a.json").id == review.id
    with pytest.raises(NotPermitted, match="audit:read"):
        decisions.held_against_log(rita, report.json, "a.json")


def test_named_reviewers_and_nobody_else(company: Company) -> None:
    company.open("q3", Scope("role", "user"), "rita")
    anna = grant_of(company, "anna")
    with pytest.raises(NotPermitted, match="rolf is none of the reviewers of 'q3': rita"):
        decide(company, "rolf", keep(anna))
    with pytest.raises(NotPermitted, match="none of the reviewers"):
        Decisions(company.ledger).decide(company.local, "q3", [keep(anna)])
    Reviews(company.ledger).assign(company.local, "q3", reviewers=("rolf",), reason="rita is away")
    decide(company, "rolf", keep(anna))
    with pytest.raises(NotPermitted, match="rita is none"):
        decide(company, "rita", keep(grant_of(company, "ben")))
    Reviews(company.ledger).assign(company.local, "q3", anybody=True)
    decide(company, "rita", keep(grant_of(company, "ben")))
    assigned = [r for r in company.records() if isinstance(r, Changed) and r.action == "assigned"]
    assert assigned[0].reason == "rita is away"
    assert assigned[0].before["reviewers"] != assigned[0].after["reviewers"]


def test_who_is_reminded(company: Company) -> None:
    company.open("q3", Scope("role", "user"), "rita", "rolf", "anna", days=1)
    reminders = Reviews(company.ledger).remind(company.local, "q3")
    assert [(w.name, w.items, w.may) for w in reminders.waiting] == [
        ("rita", 2, True), ("rolf", 2, True), ("anna", 1, False)
    ]  # fmt: skip
    assert (reminders.overdue, reminders.nobodys) == (False, 0)
    Users(company.ledger).deactivate(company.local, "rita")
    Reviews(company.ledger).assign(company.local, "q3", reviewers=("anna",))
    company.clock.at += 2 * DAY_S
    reminders = Reviews(company.ledger).remind(company.local, "q3")
    assert (reminders.overdue, reminders.nobodys) == (True, 2)
    with pytest.raises(NegativeAnswer, match="rita is inactive"):
        Reviews(company.ledger).assign(company.local, "q3", reviewers=("rita",))


@pytest.mark.parametrize(
    ("scope", "holders"),
    [
        (Scope(), {"anna", "ben", "carl", "research", "billing", "rita", "rolf"}),
        (Scope("role", "service"), {"research", "billing"}),
        (Scope("team", "research"), {"carl", "research"}),
        (Scope("model", "m"), {"anna", "ben", "research"}),
        (Scope("unseen", "30"), {"anna", "ben", "rita", "rolf"}),
    ],
)
def test_which_grants(company: Company, scope: Scope, holders: set[str]) -> None:
    company.clock.at += 40 * DAY_S
    company.person("carl", "operator")
    company.team("research", "carl")
    company.give("research", "service", "team", bounds=Bounds(models=("m",)))
    Users(company.ledger).create(company.local, "billing")
    company.give("billing", "service", bounds=Bounds(models=("another",)))
    ended = company.give("ben", "admin")
    Grants(company.ledger).revoke(company.local, ended.id)
    company.open("q3", scope)
    assert set(items_of(company)) == holders
    _, items = Reviews(company.ledger).show(company.local, "q3")
    assert ended.id not in {item.grant_id for item in items}


@pytest.mark.parametrize(
    ("scope", "match"),
    [
        (Scope("role", "usr"), "there is no role 'usr'; near: user"),
        (Scope("team", "none"), "there is no team 'none'"),
        (Scope("role", "scim"), "no grant stands that it would be about: role scim"),
        (Scope("unseen", "0"), "a review is about"),
        (Scope("unseen", "x"), "a review is about"),
        (Scope("moon", "x"), "a review is about"),
    ],
)
def test_a_review_about_nothing_is_refused(company: Company, scope: Scope, match: str) -> None:
    with pytest.raises((NegativeAnswer, UsageError), match=match):
        company.open("q3", scope)
    assert Reviews(company.ledger).list(company.local, every=True) == []


def test_names_and_days_that_cannot_be(company: Company) -> None:
    company.open()
    with pytest.raises(NegativeAnswer, match="there is a review 'q3' already"):
        company.open()
    with pytest.raises(UsageError, match="over already"):
        company.open("late", days=-1)
    with pytest.raises(NotThere, match="there is no review 'q3-2026'; see"):
        Reviews(company.ledger).show(company.local, "q3-2026")
    with pytest.raises(UsageError, match="a reason is needed"):
        decide(company, "rita", keep(grant_of(company, "anna"), " "))
    with pytest.raises(NotThere, match="is not in the review"):
        decide(company, "rita", keep("grt_nothing"))
    with pytest.raises(UsageError, match="'burn' is no decision"):
        decide(company, "rita", Decision(grant_of(company, "anna"), "burn", "x"))


def test_what_ends_meanwhile_is_gone(company: Company) -> None:
    """Revoked by somebody, expired, taken with its user; and what is given later is not in it."""
    anna, ben = grant_of(company, "anna"), grant_of(company, "ben")
    rolf = grant_of(company, "rolf")
    short = company.give("rita", "user", expires=company.clock.at + 100)
    company.open()
    Grants(company.ledger).revoke(company.local, anna, "a mistake")
    Users(company.ledger).remove(company.local, "ben")
    company.clock.at += 200
    later = company.give("rolf", "user")
    _, items = Reviews(company.ledger).show(company.local, "q3")
    states = {item.grant_id: item.decision for item in items}
    assert [states[each] for each in (anna, ben, short.id)] == [GONE] * 3
    assert later.id not in states
    with pytest.raises(NegativeAnswer, match="needs no decision"):
        decide(company, "rita", keep(anna))
    decide(company, "rita", keep(rolf))
    decide(company, "rolf", keep(grant_of(company, "rita")))
    closed = Decisions(company.ledger).close(company.local, "q3")
    assert closed.counts == {GONE: 3, KEEP: 2}
    rows = {row["grant"]: row for row in json.loads(closed.report.json)["items"]}
    assert rows[short.id]["ended"] == rows[short.id]["until"]
    assert rows[ben]["holder"] == "ben"


def test_a_kept_grant_that_ends_before_the_closing_is_said_to_have(company: Company) -> None:
    anna = grant_of(company, "anna")
    company.open("q3", Scope("role", "user"))
    decide(company, "rita", keep(anna), keep(grant_of(company, "ben")))
    Grants(company.ledger).revoke(company.local, anna)
    report = Decisions(company.ledger).close(company.local, "q3").report
    rows = {row["grant"]: row for row in json.loads(report.json)["items"]}
    assert (rows[anna]["decision"], rows[anna]["ended"] is not None) == (KEEP, True)
    assert rows[grant_of(company, "ben")]["ended"] is None


def test_what_nobody_confirms_ends(company: Company) -> None:
    anna = grant_of(company, "anna")
    review = company.open()
    decide(company, "rita", keep(anna))
    before = company.standing()
    closed = Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)
    assert closed.counts == {KEEP: 1, UNCONFIRMED: 3}
    assert company.standing() == {anna}
    ended = [r for r in company.records() if isinstance(r, Changed) and r.action == "revoked"]
    assert {r.id for r in ended} == before - {anna}
    assert {r.after["review"] for r in ended} == {review.id}


def test_after_the_closing_nothing_changes(company: Company) -> None:
    anna = grant_of(company, "anna")
    company.open()
    closed = Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)
    count = len(company.records())
    for attempt in (
        lambda: decide(company, "rita", keep(anna)),
        lambda: Decisions(company.ledger).close(company.local, "q3"),
        lambda: Reviews(company.ledger).assign(company.local, "q3", reviewers=("rolf",)),
        lambda: Reviews(company.ledger).remind(company.local, "q3"),
    ):
        with pytest.raises((NegativeAnswer, NotPermitted)):
            attempt()
    company.give("rita", "reviewer")
    with pytest.raises(NegativeAnswer, match=r"was closed .* by local:"):
        decide(company, "rita", keep(anna))
    assert len(company.records()) == count + 1, "the grant that was given, and nothing else"
    Users(company.ledger).remove(company.local, "anna")
    assert Decisions(company.ledger).report(company.local, "q3").report == closed.report


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE review_items SET decision = 'keep' WHERE position = 1",
        "UPDATE review_items SET reason = 'as the boss said' WHERE position = 2",
        "UPDATE reviews SET note = 'approved by everybody'",
        "UPDATE reviews SET json_sha256 = csv_sha256",
    ],
)
def test_a_store_that_was_changed_after_the_closing_is_told(
    company: Company, statement: str
) -> None:
    company.open()
    Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)
    company.sql(statement)
    with pytest.raises(NegativeAnswer, match="was changed after it was closed"):
        Decisions(company.ledger).report(company.local, "q3")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM review_items WHERE position = 1",
        "UPDATE review_items SET decision = 'well' WHERE position = 1",
    ],
)
def test_no_item_escapes_its_decision(company: Company, statement: str) -> None:
    company.open()
    company.sql(statement)
    with pytest.raises(UsageError, match="the store has 3 of the 4 items"):
        Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)


def test_a_file_is_held_against_the_log(company: Company) -> None:
    company.open()
    closed = Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)
    decisions = Decisions(company.ledger)
    for file in (closed.report.json, closed.report.csv):
        assert decisions.held_against_log(company.local, file, "report").name == "q3"
    forged = closed.report.json.replace(b'"unconfirmed"', b'"keep"')
    with pytest.raises(NotThere, match="is no report of a review"):
        decisions.held_against_log(company.local, forged, "report")
    # whoever writes the digest of a forgery into the store has not written it into the log
    digest = hashlib.sha256(forged).hexdigest()
    with company.ledger.database.writing() as connection:
        connection.execute(sa.update(reviews_table).values(json_sha256=digest))
    with pytest.raises(NotThere):
        decisions.held_against_log(company.local, forged, "report")


def test_without_the_log_nothing_is_decided(company: Company) -> None:
    anna = grant_of(company, "anna")
    with company.without_log():
        with pytest.raises((UsageError, AuditUnavailable)):
            company.open()
        assert Reviews(company.ledger).list(company.local) == []
    company.open()
    standing = company.standing()
    with company.without_log():
        with pytest.raises((UsageError, AuditUnavailable)):
            decide(company, "rita", revoke(anna))
        with pytest.raises((UsageError, AuditUnavailable)):
            Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)
        with pytest.raises((UsageError, AuditUnavailable)):
            Reviews(company.ledger).assign(company.local, "q3", reviewers=("rita",))
    assert company.standing() == standing
    assert set(items_of(company).values()) == {UNDECIDED}
    decide(company, "rita", revoke(anna))


def test_a_commit_that_fails_is_taken_back_in_the_log(company: Company) -> None:
    anna = grant_of(company, "anna")
    company.open()
    company.sql("ALTER TABLE revision RENAME TO elsewhere")
    with pytest.raises(UsageError):
        decide(company, "rita", revoke(anna))
    with pytest.raises(UsageError):
        Decisions(company.ledger).close(company.local, "q3", revoke_undecided=True)
    company.sql("ALTER TABLE elsewhere RENAME TO revision")
    assert anna in company.standing()
    assert set(items_of(company).values()) == {UNDECIDED}
    actions = [(r.noun, r.action) for r in company.records() if isinstance(r, Changed)]
    for what in (("review", "decide-failed"), ("review", "close-failed")):
        assert actions.count(what) == 1
    assert actions.count(("grant", "revoke-failed")) == 5
    closing = [r for r in company.records() if isinstance(r, Changed) and r.action == "closed"]
    assert len(closing) == 1
    report = report_of(
        Reviews(company.ledger).show(company.local, "q3")[0].review,
        Reviews(company.ledger).show(company.local, "q3")[1],
    )
    with pytest.raises(NotThere):
        Decisions(company.ledger).held_against_log(company.local, report.json, "report")


def at_once(config: Config, clock: Hand, *acts: Callable[[Ledger], object]) -> list[object]:
    """What each of these answers or raises, all begun in the same moment, each with a connection
    of its own."""
    start = threading.Barrier(len(acts))
    results: list[object] = [None] * len(acts)

    def run(number: int, act: Callable[[Ledger], object]) -> None:
        ledger = Ledger(config, clock=clock)
        start.wait(10)
        try:
            results[number] = act(ledger)
        except Exception as error:  # noqa: BLE001 - what it raises is looked at by the test
            results[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return results


def test_two_reviewers_at_once(company: Company) -> None:
    """On one grant the first is heard, and the other is told; on two grants both are."""
    anna, ben = grant_of(company, "anna"), grant_of(company, "ben")
    company.open()
    rita, rolf = company.acting("rita"), company.acting("rolf")
    one, two = at_once(
        company.config, company.clock,
        lambda ledger: Decisions(ledger).decide(rita, "q3", [keep(anna)]),
        lambda ledger: Decisions(ledger).decide(rolf, "q3", [revoke(anna)]),
    )  # fmt: skip
    refused = [each for each in (one, two) if isinstance(each, Exception)]
    assert len(refused) == 1
    # where the revocation came first, the grant has ended, and its decision is told
    assert "decided already to" in str(refused[0]), refused
    first = REVOKE if refused[0] is one else KEEP
    assert items_of(company)["anna"] == first
    assert (anna in company.standing()) == (first == KEEP)
    results = at_once(
        company.config, company.clock,
        lambda ledger: Decisions(ledger).decide(rita, "q3", [revoke(ben)]),
        lambda ledger: Decisions(ledger).decide(rolf, "q3", [keep(grant_of(company, "rita"))]),
    )  # fmt: skip
    assert not [each for each in results if isinstance(each, Exception)]
    decided = [r for r in company.records() if isinstance(r, Changed) and r.action == "decided"]
    assert len(decided) == 3


@pytest.mark.parametrize("round_", range(3))
def test_closings_and_a_decision_at_once(company: Company, round_: int) -> None:
    """One closes, the other is told; a decision is in the report, or it is refused."""
    anna = grant_of(company, "anna")
    company.open()
    rita = company.acting("rita")

    def close(ledger: Ledger) -> object:
        return Decisions(ledger).close(company.local, "q3", revoke_undecided=True)

    one, two, decision = at_once(
        company.config, company.clock, close, close,
        lambda ledger: Decisions(ledger).decide(rita, "q3", [keep(anna)]),
    )  # fmt: skip
    told = [each for each in (one, two) if isinstance(each, NegativeAnswer)]
    assert len(told) == 1, (one, two)
    assert "was closed" in str(told[0])
    kept = not isinstance(decision, Exception)
    assert kept or "was closed" in str(decision)
    assert items_of(company)["anna"] == (KEEP if kept else UNCONFIRMED)
    assert (anna in company.standing()) == kept
    Decisions(company.ledger).report(company.local, "q3")
    closings = [r for r in company.records() if isinstance(r, Changed) and r.action == "closed"]
    assert len(closings) == 1


def fill(company: Company, count: int) -> None:
    """So many people with a grant each."""
    now = company.clock.at
    with company.ledger.database.writing() as connection:
        connection.execute(
            sa.insert(users_table),
            [
                {
                    "id": f"usr_{number:016}", "kind": "person", "issuer": "https://idp.example",
                    "subject": f"{number}", "name": f"person {number}", "active": True,
                    "created": now, "source": "oidc",
                }
                for number in range(count)
            ],
        )  # fmt: skip
        connection.execute(
            sa.insert(grants_table),
            [
                {
                    "id": f"grt_{number:016}", "holder_kind": "user",
                    "holder": f"usr_{number:016}", "role": "user", "created": now,
                    "given_by": "import", "reason": "as before", "origin": "given",
                }
                for number in range(count)
            ],
        )  # fmt: skip


def test_a_big_review_takes_no_more_statements_than_a_small_one(config: Config) -> None:
    company = Company(config)
    company.person("rita", "reviewer")
    rita = company.acting("rita")
    counts: list[list[int]] = []
    fill(company, 2000)
    for name, scope, grants in (("small", Scope("role", "reviewer"), 1), ("big", Scope(), 2001)):
        counts.append([])
        with counted() as seen:
            company.open(name, scope)
        counts[-1].append(len(seen))
        with counted() as seen:
            _, mine, others = Reviews(company.ledger).undecided(rita, name)
            Reviews(company.ledger).remind(company.local, name)
            Reviews(company.ledger).list(company.local)
        counts[-1].append(len(seen))
        assert len(mine) + others == grants
        if mine:
            with counted() as seen:
                Decisions(company.ledger).decide(
                    rita, name, [keep(item.grant_id) for item in mine[:1000]]
                )
            assert len(seen) < 20, seen
        with counted() as seen:
            if name == "big":
                closed = Decisions(company.ledger).close(company.local, name, revoke_undecided=True)
                assert closed.counts == {KEEP: 1000, UNCONFIRMED: 1001}
            else:
                Decisions(company.ledger).close(company.local, name, revoke_undecided=True)
                company.give("rita", "reviewer")
        counts[-1].append(len(seen))
    assert len(company.standing()) == 1000
    small, big = counts
    assert big[0] == small[0]
    assert big[1] <= small[1] + 1  # items of one review more
    assert max(big) < 40
