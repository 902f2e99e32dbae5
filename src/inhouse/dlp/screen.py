"""Screens texts against all rules at once.

One pass of an automaton over the text says which rules can match at all; only those are run, and
their validators have the last word. A text without anything sensitive costs the one pass.

What a text can cost is bounded: a rule that found enough, or that was tried in vain too often, is
not tried again for that request.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import re2

from inhouse.dlp.rules import LONGEST, RULES, Rule

MOST_NOTED = 20
"""Finds of one rule that are noted; of those beyond only that there are some."""

MOST_LIKENESSES = 20_000
"""Numbers with a wrong check digit that one rule is tried on. One in ten has a right one by chance,
so only a text that was made for it has as many and none that is real: that is noted like a find."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule matched. `place` is the text's index and the span in it, in bytes of UTF-8, or says
    what else there is to say; the value is not kept."""

    rule: str
    klass: str
    place: str


class Findings:
    """What was found in one prompt or answer."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self._found: dict[str, int] = {}
        self._in_vain: dict[str, int] = {}
        self._done: set[str] = set()

    def wants(self, rule: Rule) -> bool:
        return rule.id not in self._done

    def in_vain(self, rule: Rule) -> None:
        """A number was one but for its check digit."""
        count = self._in_vain[rule.id] = self._in_vain.get(rule.id, 0) + 1
        if count >= MOST_LIKENESSES:
            self._finish(rule, "more likenesses than are looked at")

    def found(self, rule: Rule, place: str) -> None:
        count = self._found[rule.id] = self._found.get(rule.id, 0) + 1
        if count <= MOST_NOTED:
            self.verdicts.append(Verdict(rule.id, rule.klass, place))
        else:
            self._finish(rule, "and more")

    def unreadable(self, why: str) -> None:
        """Something could not be looked at: noted once."""
        if UNREADABLE not in self._done:
            self._done.add(UNREADABLE)
            self.verdicts.append(Verdict(UNREADABLE, "unknown", why))

    def _finish(self, rule: Rule, why: str) -> None:
        if rule.id not in self._done:
            self._done.add(rule.id)
            self.verdicts.append(Verdict(rule.id, rule.klass, why))


UNREADABLE = "unreadable"
"""Stands where a rule's name does, for what could not be looked at."""


Matching = Callable[[bytes], list[int] | None]


class Screener:
    """The rules, compiled. Texts are bytes of UTF-8 here.

    `matching` says which rules can match somewhere in a text, None for no rule at all;
    `matching_or_begun` is None only where nothing has begun at the text's end, either.
    """

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        begun = "(?:" + "|".join(rule.begun for rule in rules) + r")\z"
        patterns = [rule.pattern for rule in rules]
        self._rules = rules
        self._patterns = [re2.compile(pattern) for pattern in patterns]
        self._begun = re2.compile(begun)
        # The sets' own methods, for every event of every answer comes by here.
        self.matching: Matching = _set_of(patterns).Match
        self.matching_or_begun: Matching = _set_of([*patterns, begun]).Match

    def begun(self, text: bytes, start: int = 0) -> int:
        """Where, from `start`, that begins which could become a match with more text behind it."""
        match = self._begun.search(text, max(start, len(text) - LONGEST))
        return match.start() if match is not None else len(text)

    def examine(
        self, text: bytes, rules: Iterable[int], start: int, stop: int, findings: Findings
    ) -> Iterable[tuple[Rule, int, int]]:
        """The matches of some rules that begin within `start` and `stop`: the rule and the span.

        Every place where one can begin is tried once, whatever was found before it: a likeness
        hides nothing that begins within it.
        """
        for number in rules:
            if number < len(self._rules):
                yield from self._examine(text, number, start, stop, findings)

    def _examine(
        self, text: bytes, number: int, start: int, stop: int, findings: Findings
    ) -> Iterable[tuple[Rule, int, int]]:
        rule, search = self._rules[number], self._patterns[number].search
        while findings.wants(rule):
            match = search(text, start)
            if match is None or match.start() >= stop:
                return
            length = rule.valid(match.group().decode())
            if length:
                yield rule, match.start(), match.start() + length
            else:
                findings.in_vain(rule)
            start = match.start() + 1


def _set_of(patterns: list[str]) -> re2.Set:
    found = re2.Set.SearchSet()
    for pattern in patterns:
        found.Add(pattern)
    found.Compile()
    return found
