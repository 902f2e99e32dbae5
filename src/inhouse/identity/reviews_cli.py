"""`inhouse reviews`: open, list, show, assign, remind, decide, close, report and verify."""

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inhouse.config.cli import ConfigOption, DataOption, JsonOption
from inhouse.identity.terminal import ReasonOption, done, iso, ledger, moment, names_of, rows

if TYPE_CHECKING:
    from inhouse.identity.actor import Actor
    from inhouse.identity.review_items import Scope
    from inhouse.identity.reviews import Progress, Reviews
    from inhouse.store.reviews import StoredItem

reviews = typer.Typer(help="Access reviews: is each grant still needed?", no_args_is_help=True)

ReviewArgument = Annotated[str, typer.Argument(metavar="REVIEW", help="its id, or its name")]
ReviewersOption = Annotated[
    str,
    typer.Option(metavar="USER,...", show_default="whoever has reviews:decide", help="who decides"),
]
LIST = ("id", "name", "about", "due", "state", "undecided", "decided", "gone")
ITEMS = ("grant", "who", "role", "models", "since", "given by", "last seen", "decision", "by")
WAIT = ("name", "email", "items", "may decide")


@reviews.command("open")
def open_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="for people: 'third quarter'")],
    role: Annotated[str, typer.Option(metavar="ROLE", help="grants of this role only")] = "",
    team: Annotated[str, typer.Option(metavar="TEAM", help="a team's and its members'")] = "",
    model: Annotated[str, typer.Option(metavar="MODEL", help="that let use this model")] = "",
    unseen: Annotated[
        int | None, typer.Option(metavar="DAYS", min=1, help="of users unseen for so long")
    ] = None,
    due: Annotated[str, typer.Option(metavar="WHEN", help="30d or 2027-01-31")] = "30d",
    reviewers: ReviewersOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Ask about every grant that stands now, or about some."""
    every, actor = _reviews(config, data)
    review = every.open(
        actor,
        name,
        due=moment(due) or 0.0,
        scope=_scope(role=role, team=team, model=model, unseen=unseen),
        reviewers=names_of(reviewers),
    )
    sentence = f"{review.id}: {review.size} grants to decide on until {iso(review.due)}"
    _say(json, _review(every.show(actor, review.id)[0]), sentence)


@reviews.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="closed ones too")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show the reviews that are open, and how far they are."""
    found, actor = _reviews(config, data)
    plain = [_review(each) for each in found.list(actor, every=every)]
    rows(json, plain, LIST, "no reviews; open one with: inhouse reviews open NAME")


@reviews.command()
def show(
    review: ReviewArgument,
    undecided: Annotated[bool, typer.Option("--undecided", help="only these")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show who has what, since when, from whom, and what was decided."""
    from inhouse.store.reviews import UNDECIDED

    every, actor = _reviews(config, data)
    progress, items = every.show(actor, review)
    items = [item for item in items if not undecided or item.decision == UNDECIDED]
    if json:
        print(json_module.dumps(_review(progress) | {"items": [_item(item) for item in items]}))
        return
    print(_sentence(progress))
    rows(False, [_shown(item) for item in items], ITEMS, "nothing is undecided")


@reviews.command()
def assign(
    review: ReviewArgument,
    reviewers: ReviewersOption = "",
    anybody: Annotated[bool, typer.Option("--anybody", help="whoever has reviews:decide")] = False,
    due: Annotated[str, typer.Option(metavar="WHEN", help="30d or 2027-01-31")] = "",
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Name other reviewers, or another day."""
    every, actor = _reviews(config, data)
    changed = every.assign(
        actor, review, reviewers=names_of(reviewers), anybody=anybody, due=moment(due),
        reason=reason,
    )  # fmt: skip
    who = ", ".join(changed.reviewer_names or ("whoever has reviews:decide",))
    sentence = f"{changed.id}: {who} until {iso(changed.due)}"
    _say(json, _review(every.show(actor, changed.id)[0]), sentence)


@reviews.command()
def remind(
    review: ReviewArgument,
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Show who still has to decide, and on how many grants."""
    every, actor = _reviews(config, data)
    found = every.remind(actor, review)
    plain = [
        {
            "id": each.id, "name": each.name, "email": each.email, "items": each.items,
            "may_decide": "yes" if each.may else "no",
        }
        for each in found.waiting
    ]  # fmt: skip
    if json:
        document = {
            "id": found.review.id,
            "name": found.review.name,
            "due": iso(found.review.due),
            "overdue": found.overdue,
            "waiting": plain,
            "nobodys": found.nobodys,
        }
        print(json_module.dumps(document))
        return
    rows(False, plain, WAIT, "nobody has to decide anything")
    if found.overdue:
        print(f"note: it was due {iso(found.review.due)}", file=sys.stderr)
    if found.nobodys:
        print(
            f"note: on {found.nobodys} grants none of these may decide; name somebody with: "
            f"inhouse reviews assign {found.review.id} --reviewers USER",
            file=sys.stderr,
        )


@reviews.command()
def decide(
    review: ReviewArgument,
    grants: Annotated[
        list[str] | None,
        typer.Argument(metavar="[GRANT]...", help="by id; one after the other if left out"),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="they stay")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="they end now")] = False,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Keep grants, or revoke them; at a terminal, one after the other.

    Without GRANT each undecided one is shown, and asked about.
    """
    from inhouse.errors import UsageError
    from inhouse.identity.actor import Actor
    from inhouse.identity.decisions import Decision, Decisions
    from inhouse.identity.review_walk import walk
    from inhouse.store.reviews import KEEP, REVOKE

    if not grants:
        if keep or revoke or json:
            raise UsageError("name the grants to keep or to revoke; see: inhouse reviews show")
        if not sys.stdin.isatty():
            raise UsageError("to be asked takes a terminal; else name GRANT, --keep or --revoke")
        walk(ledger(config, data), Actor.local(), review)
        return
    if keep == revoke:
        raise UsageError("say --keep or --revoke")
    opened = ledger(config, data)
    what = KEEP if keep else REVOKE
    wanted = [Decision(each, what, reason) for each in grants]
    decided = Decisions(opened).decide(Actor.local(), review, wanted)
    sentence = "\n".join(
        f"{item.decision}: {item.grant_id}, {item.role} of {item.holder_kind} {item.holder_name}"
        for item in decided
    )
    done(opened.config, json, [_item(item) for item in decided], sentence)


@reviews.command()
def close(
    review: ReviewArgument,
    revoke_undecided: Annotated[
        bool, typer.Option("--revoke-undecided", help="what nobody confirmed ends")
    ] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="stands in the report")] = "",
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """End a review for good, and sign its report off."""
    from inhouse.identity.actor import Actor
    from inhouse.identity.decisions import Decisions
    from inhouse.identity.reviews import Progress

    opened = ledger(config, data)
    closed = Decisions(opened).close(
        Actor.local(), review, revoke_undecided=revoke_undecided, note=note
    )
    plain = _review(Progress(closed.review, closed.counts)) | {"counts": closed.counts}
    counts = ", ".join(f"{count} {decision}" for decision, count in closed.counts.items())
    sentence = (
        f"{closed.review.id} is closed: {counts}\n"
        f"report as JSON: sha256 {closed.report.json_sha256}\n"
        f"report as CSV:  sha256 {closed.report.csv_sha256}"
    )
    done(opened.config, json, plain, sentence)


@reviews.command()
def report(
    review: ReviewArgument,
    csv: Annotated[bool, typer.Option("--csv", help="a table, instead of JSON")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Print the report of a closed review, always the same bytes: JSON, or --csv."""
    from inhouse.errors import UsageError
    from inhouse.identity.actor import Actor
    from inhouse.identity.decisions import Decisions

    if csv and json:
        raise UsageError("--csv and --json are two forms; give one")
    found = Decisions(ledger(config, data)).report(Actor.local(), review).report
    sys.stdout.buffer.write(found.csv if csv else found.json)
    sys.stdout.flush()
    digest = found.csv_sha256 if csv else found.json_sha256
    print(f"sha256 {digest}, as at the closing", file=sys.stderr)


@reviews.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a report, JSON or CSV")],
    config: ConfigOption = None,
    data: DataOption = None,
    json: JsonOption = False,
) -> None:
    """Hold a report against the audit log: is it the one that was signed off?"""
    from inhouse.errors import UsageError
    from inhouse.identity.actor import Actor
    from inhouse.identity.decisions import Decisions

    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    record = Decisions(ledger(config, data)).held_against_log(Actor.local(), content, str(file))
    plain = {
        "review": record.id, "name": record.name, "closed": iso(record.time),
        "closed_by": record.actor, "note": record.reason,
    }  # fmt: skip
    sentence = f"{file} is the report of '{record.name}', {record.id}"
    _say(json, plain, f"{sentence}, closed {plain['closed']} by {record.actor}")


def _reviews(config: Path | None, data: Path | None) -> "tuple[Reviews, Actor]":
    from inhouse.identity.actor import Actor
    from inhouse.identity.reviews import Reviews

    return Reviews(ledger(config, data)), Actor.local()


def _scope(*, role: str, team: str, model: str, unseen: int | None) -> "Scope":
    from inhouse.errors import UsageError
    from inhouse.identity.review_items import EVERYTHING, Scope

    given = {"role": role, "team": team, "model": model, "unseen": str(unseen or "")}
    chosen = [(kind, of) for kind, of in given.items() if of]
    if len(chosen) > 1:
        raise UsageError("a review is about one of --role, --team, --model and --unseen")
    return Scope(*chosen[0]) if chosen else EVERYTHING


def _say(json: bool, plain: object, sentence: str) -> None:
    print(json_module.dumps(plain) if json else sentence)


def _review(progress: "Progress") -> dict[str, Any]:
    from inhouse.identity.review_items import Scope
    from inhouse.store.reviews import GONE

    review, gone = progress.review, progress.counts.get(GONE, 0)
    return {
        "id": review.id,
        "name": review.name,
        "about": Scope(review.scope, review.scope_of).described(),
        "opened": iso(review.opened),
        "opened_by": review.opened_by,
        "due": iso(review.due),
        "reviewers": None if review.reviewers is None else list(review.reviewer_names or ()),
        "separation": review.separate,
        "state": "open" if review.closed is None else "closed",
        "items": review.size,
        "undecided": progress.undecided,
        "decided": review.size - progress.undecided - gone,
        "gone": gone,
        "closed": None if review.closed is None else iso(review.closed),
        "closed_by": review.closed_by,
        "note": review.note,
        "json_sha256": review.json_sha256,
        "csv_sha256": review.csv_sha256,
    }


def _sentence(progress: "Progress") -> str:
    plain = _review(progress)
    who = ", ".join(plain["reviewers"] or ("whoever has reviews:decide",))
    until = f"due {plain['due']}" if plain["closed"] is None else f"closed {plain['closed']}"
    return (
        f"{plain['id']} '{plain['name']}', about {plain['about']}, {until}\n"
        f"to be decided by {who}\n"
        f"{plain['undecided']} undecided, {plain['decided']} decided, {plain['gone']} gone"
    )


def _item(item: "StoredItem") -> dict[str, Any]:
    from inhouse.identity.review_report import item_row

    return item_row(item)


def _shown(item: "StoredItem") -> dict[str, Any]:
    members = f" ({', '.join(item.members) or 'nobody'})" if item.holder_kind == "team" else ""
    return {
        "grant": item.grant_id,
        "who": f"{item.holder_kind} {item.holder_name}{members}",
        "role": item.role,
        "models": "any" if item.models is None else list(item.models),
        "since": iso(item.since),
        "given_by": item.given_by_name,
        "last_seen": iso(item.last_seen) if item.last_seen else "never",
        "decision": item.decision or "undecided",
        "by": item.decided_by_name,
    }
