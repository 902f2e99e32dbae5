"""Deciding at a terminal, one grant after the other. What was answered is decided at once: who is
interrupted goes on where they were."""

import contextlib
import sys

from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.decisions import Decision, Decisions
from inhouse.identity.ledger import Ledger, iso, listed
from inhouse.identity.reviews import Reviews
from inhouse.store.reviews import KEEP, REVOKE, StoredItem

ANSWERS = {"k": KEEP, "keep": KEEP, "r": REVOKE, "revoke": REVOKE, "s": "", "skip": ""}


def walk(ledger: Ledger, actor: Actor, name: str) -> None:
    """Until nothing is left, or q, Ctrl-C or Ctrl-D."""
    review, items, others = Reviews(ledger).undecided(actor, name)
    decisions, decided, reason = Decisions(ledger), 0, ""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        for position, item in enumerate(items, start=1):
            print(f"\n{position} of {len(items)}: {_described(item)}")
            answer = _asked()
            if not answer:
                continue
            reason = _why(reason)
            try:
                decisions.decide(actor, review.id, [Decision(item.grant_id, answer, reason)])
            except (NegativeAnswer, UsageError) as error:  # somebody was first, or it has ended
                print(error)
            else:
                decided += 1
    print(f"\ndecided on {decided} of {len(items)} in '{review.name}'")
    if others:
        print(f"note: {others} more are for somebody else to decide on", file=sys.stderr)


def _described(item: StoredItem) -> str:
    """What a reviewer needs to know."""
    facts = {
        "for": f"models {listed(item.models)}; dialects {listed(item.dialects)}; "
        f"purposes {listed(item.purposes)}",
        "since": f"{iso(item.since)}, until {iso(item.until)}",
        "given by": f"{item.given_by_name} ({item.origin}): {item.why or 'no reason was given'}",
        "last seen": f"{iso(item.last_seen)}; a key was last used: {iso(item.last_used)}",
    }
    if item.holder_kind == "team":
        facts["members"] = ", ".join(item.members) or "nobody"
    lines = [f"{item.holder_kind} {item.holder_name} has the role {item.role}  {item.grant_id}"]
    return "\n".join([*lines, *(f"  {what + ':':<10} {said}" for what, said in facts.items())])


def _asked() -> str:
    """keep, revoke, or empty for neither. Raises EOFError to leave."""
    while True:
        answer = input("keep, revoke, skip or quit? [k/r/s/q] ").strip().lower()
        if answer in ("q", "quit"):
            raise EOFError
        if answer in ANSWERS:
            return ANSWERS[answer]


def _why(last: str) -> str:
    """A reason; the last one again where only Enter is pressed."""
    while True:
        reason = input(f"why? [{last}] " if last else "why? ").strip() or last
        if reason:
            return reason
