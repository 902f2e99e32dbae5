"""Each rule finds what it must, and nothing that it must not."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.dlp.rules import LONGEST, RULES, Rule, after
from inhouse.dlp.screen import Screener
from inhouse.dlp.texts import scan

SCREENER = Screener()
IDS = [rule.id for rule in RULES]


def found(text: str) -> set[str]:
    return {verdict.rule for verdict in scan(SCREENER, [text])}


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_examples(rule: Rule) -> None:
    for example in rule.must:
        for text in (example, f"It is {example} and no other.", f"({example})"):
            assert rule.id in found(text), text
    for example in rule.must_not:
        assert rule.id not in found(f"It is {example} and no other."), example


def test_no_two_rules_share_a_name() -> None:
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize(
    "text",
    [
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "The quick brown fox jumps over 13 lazy dogs on 2026-11-24 at 10:34.",
        "Call 555-0100 or see https://example.com:8443/path?id=12345678901",
        "SELECT * FROM users WHERE id = 42; -- comment",
        "FROM16 ROUNDS OF 2048 BITS EACH TO 4096",
        "| --- | ------------------------------- |",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert found(text) == set()


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_every_example_is_held_back_from_its_beginning(rule: Rule) -> None:
    for example in rule.must:
        (start, end), *_ = [
            (match.start(), match.end()) for match in re.finditer(rule.pattern, example)
        ]
        for cut in range(start + 1, end + 1):
            assert SCREENER.begun(example[:cut].encode()) <= start, example[:cut]


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_whatever_a_pattern_can_match_is_held_back_from_its_beginning(rule: Rule) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.from_regex(re.compile(rule.pattern.replace(r"\b", ""), re.ASCII), fullmatch=True))
    def check(match: str) -> None:
        assert len(match.encode()) <= LONGEST
        before = "a" if match[0] == ":" else "."
        for cut in {1, *range(2, len(match) + 1, 1 + len(match) // 40), len(match)}:
            assert SCREENER.begun((before + match[:cut]).encode()) <= 1, match[:cut]

    check()


@given(st.text(st.sampled_from("A5-_ /:@eyJ.x\u00e9"), max_size=40), st.integers(1, 300))
def test_what_is_held_back_is_bounded(unit: str, times: int) -> None:
    for text in (unit * times, "-----BEGIN " + unit * times, "a://" + unit * times):
        assert len(text.encode()) - SCREENER.begun(text.encode()) <= LONGEST
    assert len(SCREENER_TOKEN) - SCREENER.begun(SCREENER_TOKEN) <= LONGEST


SCREENER_TOKEN = b"eyJ" + b"a" * 5000

CUT = st.tuples(
    st.sampled_from([example for rule in RULES for example in rule.must]), st.integers(0, 60)
).map(lambda it: (it[0][: it[1]], it[0][it[1] :]))


@given(st.lists(CUT, min_size=1, max_size=4))
def test_no_rule_goes_across_the_end_of_a_line(cuts: list[tuple[str, str]]) -> None:
    lines = "\n".join(f"{begin}\n{rest}" for begin, rest in cuts)
    assert found(lines) == {rule for line in lines.split("\n") for rule in found(line)}


def test_a_head_as_far_as_it_was_said() -> None:
    said = re.compile(after("ab", "c*"))
    assert [bool(said.fullmatch(text)) for text in ("a", "ab", "abcc", "", "b", "ac")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
