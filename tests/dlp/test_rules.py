"""Each rule finds what it must, and nothing that it must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.dlp.rules import RULES, Rule, luhn, mod_97
from inhouse.dlp.screen import Screener

SCREENER = Screener()
IDS = [rule.id for rule in RULES]


def found(text: str) -> set[str]:
    return {verdict.rule for verdict in SCREENER.scan([text])}


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_examples(rule: Rule) -> None:
    for example in rule.must:
        assert rule.id in found(f"It is {example} and no other."), example
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
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert found(text) == set()


@given(st.integers(10**14, 10**15 - 1))
def test_of_ten_last_digits_one_is_right(number: int) -> None:
    assert sum(luhn(f"{number}{digit}") for digit in range(10)) == 1


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=11, max_size=30))
def test_check_digits_of_accounts(account: str) -> None:
    right = [f"DE{check:02}{account}" for check in range(2, 99) if mod_97(f"DE{check:02}{account}")]
    assert len(right) == 1


def test_the_value_is_in_no_verdict() -> None:
    (verdict,) = SCREENER.scan(["fine", "card 4111 1111 1111 1111"])
    assert (verdict.rule, verdict.place) == ("payment-card", "1:5-24")
    assert "4111" not in repr(verdict)
