"""Whole texts: many, long ones, and those that were made to cost."""

import random

import pytest

from inhouse.dlp.screen import MOST_LIKENESSES, MOST_NOTED, Findings, Screener
from inhouse.dlp.texts import STEP_CHARS, scan, steps

SCREENER = Screener()
CARD = "4111 1111 1111 1111"


def test_the_value_is_in_no_verdict() -> None:
    (verdict,) = scan(SCREENER, ["fine", f"card {CARD}"])
    assert (verdict.rule, verdict.place) == ("payment-card", "1:5-24")
    assert "4111" not in repr(verdict)


@pytest.mark.parametrize("before", [0, 7, STEP_CHARS - 10, STEP_CHARS, 3 * STEP_CHARS - 1])
def test_a_find_has_its_place_however_long_the_texts_are(before: int) -> None:
    long = "x" * (before - 1) + " " * (before > 0) + CARD + " y" * STEP_CHARS
    for texts in ([long], ["a", long], ["b" * 40_000, long, "c"], ["d"] * 50_000 + [long]):
        (verdict,) = scan(SCREENER, texts)
        assert verdict.place == f"{texts.index(long)}:{before}-{before + len(CARD)}"


def test_what_is_in_two_texts_is_in_none() -> None:
    assert scan(SCREENER, ["4111 1111 ", "1111 1111"]) == []


def test_arguments_are_read_without_their_escapes() -> None:
    (verdict,) = scan(SCREENER, [r'{"card":"\u0034111 1111 1111 1111"}'])
    assert verdict.rule == "payment-card"


def test_a_text_full_of_finds_is_noted_in_few_words() -> None:
    verdicts = scan(SCREENER, ["219-09-9999 " * 200_000])
    assert len(verdicts) == MOST_NOTED + 1
    assert verdicts[-1].place == "and more"


def test_a_text_full_of_likenesses_is_suspect_itself() -> None:
    (verdict,) = scan(SCREENER, ["4111 1111 1111 1112 " * MOST_LIKENESSES])
    assert verdict.place == "more likenesses than are looked at"


def test_a_long_text_leaves_turns_to_others() -> None:
    for texts in (["hello wo " * 100_000], ["hello"] * 100_000):
        chars = sum(map(len, texts))
        assert len(list(steps(SCREENER, texts, Findings()))) >= chars // STEP_CHARS - 1


def test_an_automaton_that_ran_full_still_finds() -> None:
    dice = random.Random(7)
    groups = ("".join(dice.choices("0123456789", k=dice.randint(1, 9))) for _ in range(100_000))
    text = " ".join(f"1{group}" for group in groups)
    found = {verdict.rule for verdict in scan(SCREENER, [f"{text} AKIAIOSFODNN7EXAMPLE"])}
    assert "aws-access-key" in found
