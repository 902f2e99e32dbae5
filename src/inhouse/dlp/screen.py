"""Screens texts against all rules at once.

One pass of an automaton over the text says which rules can match at all; only those are run, and
their validators have the last word. A text without anything sensitive costs the one pass.
"""

from dataclasses import dataclass

import re2

from inhouse.dlp.rules import LONGEST, RULES, Rule


@dataclass(frozen=True, slots=True)
class Verdict:
    """A rule matched. `place` is the text's index and the span in it; the value is not kept."""

    rule: str
    klass: str
    place: str


class Screener:
    """The rules, compiled."""

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = rules
        self._patterns = [re2.compile(rule.pattern) for rule in rules]
        self._any = re2.Set.SearchSet()
        for rule in rules:
            self._any.Add(rule.pattern)
        self._any.Compile()
        self.longest = max((rule.longest for rule in rules), default=LONGEST)

    def scan(self, texts: list[str]) -> list[Verdict]:
        """What is sensitive in these texts, in order."""
        verdicts = []
        for index, text in enumerate(texts):
            if self._any.Match(text):
                verdicts += [
                    Verdict(rule.id, rule.klass, f"{index}:{start}-{end}")
                    for rule, start, end in self.spans(text)
                ]
        return verdicts

    def spans(self, text: str) -> list[tuple[Rule, int, int]]:
        """Every valid match in a text: the rule, and from where to where."""
        found = []
        for number in sorted(self._any.Match(text) or ()):
            rule = self._rules[number]
            found += [
                (rule, match.start(), match.end())
                for match in self._patterns[number].finditer(text)
                if rule.valid(match.group())
            ]
        return found
