"""Numbers of cards and accounts, and what may stand next to them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.dlp.accounts import CARD, IBAN, card, iban, luhn, mod_97


@given(st.integers(10**14, 10**15 - 1))
def test_of_ten_last_digits_one_is_right(number: int) -> None:
    assert sum(luhn(f"{number}{digit}") for digit in range(10)) == 1


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=11, max_size=30))
def test_check_digits_of_accounts(account: str) -> None:
    right = [f"DE{check:02}{account}" for check in range(2, 99) if mod_97(f"DE{check:02}{account}")]
    assert len(right) == 1


NONE = None
"""Not even a likeness."""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4111 1111 1111 1111 123", "4111 1111 1111 1111"),
        ("4111111111111111 12", "4111111111111111"),
        ("3400 000000 00009 12", "3400 000000 00009"),
        ("4222222222222", "4222222222222"),
        ("5-5-0-0-0-0-0-0-0-0-0-0-0-0-0-4", "5-5-0-0-0-0-0-0-0-0-0-0-0-0-0-4"),
        ("2223003122003222", "2223003122003222"),
        ("5111 1111 1111 1111", ""),  # the check digit
        ("411111111111111112", NONE),  # it does not end where a card's number would
        ("41111111111111111111111", NONE),
        ("3311 1111 1111 1113", NONE),  # no brand
        ("34000000000000000", NONE),  # not one of its lengths
    ],
)
def test_cards(text: str, number: str | None) -> None:
    match = re.match(CARD, text)
    assert (match and text[: card(match.group())]) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("BE68 5390 0754 7034 BIC GKCC BE BB", "BE68 5390 0754 7034"),
        ("BE68539007547034", "BE68539007547034"),
        ("ES91 2100 0418 4502 0005 1332 EUR 500", "ES91 2100 0418 4502 0005 1332"),
        ("BE69 5390 0754 7034", ""),
        ("BE68 5390 0754 70345", NONE),  # longer than its country's
        ("BE68 5390 0754", NONE),
        ("XX68 5390 0754 7034", NONE),  # no country that has any
    ],
)
def test_accounts(text: str, number: str | None) -> None:
    match = re.match(IBAN, text)
    assert (match and text[: iban(match.group())]) == number
