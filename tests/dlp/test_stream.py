"""However an answer is cut into events, the same is found, and nothing goes out unseen."""

import random
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.dlp.rules import RULES
from inhouse.dlp.screen import UNREADABLE, Screener
from inhouse.dlp.stream import MOST_TEXTS, PATIENCE, AnswerScreen
from inhouse.dlp.texts import scan

SCREENER = Screener()
CARD = "4111 1111 1111 1111"
EXAMPLES = [example for rule in RULES for example in (*rule.must, *rule.must_not)]
LONG_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ" + "a" * 1500 + "." + "s" * 43
FILLER = [
    "the",
    "card",
    "1234",
    "is",
    "0",
    "-",
    " ",
    " ",
    "eyJ",
    "\n",
    "\u00e9",
    "\\u0034",
    '{"',
    "://",
]
PART = st.one_of(
    st.sampled_from(FILLER), st.sampled_from(FILLER), st.sampled_from([*EXAMPLES, LONG_TOKEN])
)
TEXTS = st.lists(PART, max_size=30).map("".join)
SIZES = st.lists(st.integers(0, 40), max_size=60)


def cut(text: str, sizes: Sequence[int]) -> list[str]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]


def places(text: str) -> set[tuple[str, str]]:
    """Rule and span of what is found in a whole text."""
    found = scan(SCREENER, [text])
    return {(verdict.rule, verdict.place.partition(":")[2]) for verdict in found}


@settings(max_examples=500, deadline=None)
@given(TEXTS, SIZES)
def test_every_cut_finds_what_the_whole_holds(text: str, sizes: list[int]) -> None:
    for hold_back in (True, False):
        screen = AnswerScreen(SCREENER, hold_back=hold_back)
        out = [screen.feed(piece.encode(), [("a", piece)]) for piece in cut(text, sizes)]
        out.append(screen.close())
        assert set(screen.verdicts) == set(scan(SCREENER, [text]))
        assert b"".join(out).decode() == text


@settings(max_examples=500, deadline=None)
@given(TEXTS, SIZES)
def test_nothing_of_a_find_goes_out(text: str, sizes: list[int]) -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    starts = [int(span.partition("-")[0]) for _, span in places(text) if span]
    # An escape stands for fewer bytes than it has: then places are not those of what goes out.
    whole = len(text.encode()) if "\\" in text else min(starts, default=len(text.encode()))
    sent = 0
    for piece in cut(text, sizes):
        out = screen.feed(piece.encode(), [("a", piece)])
        if screen.verdicts:
            return
        sent += len(out)
        assert sent <= whole
    left = screen.close()
    assert screen.verdicts or sent + len(left) == len(text.encode())
    assert bool(screen.verdicts) == bool(starts)


@settings(max_examples=500, deadline=None)
@given(TEXTS, TEXTS, SIZES, SIZES, st.randoms(use_true_random=False))
def test_choices_that_alternate_are_looked_at_apart(
    one: str, other: str, some: list[int], more: list[int], dice: random.Random
) -> None:
    pieces = {0: cut(one, some[: PATIENCE - 2]), 1: cut(other, more[: PATIENCE - 2])}
    order = [0] * len(pieces[0]) + [1] * len(pieces[1])
    dice.shuffle(order)
    sent = {0: 0, 1: 0}
    screen = AnswerScreen(SCREENER, hold_back=True)
    events: list[tuple[int, str]] = [(choice, pieces[choice].pop(0)) for choice in order]
    stopped = False
    for number, (choice, piece) in enumerate(events):
        out = screen.feed(b"%c" % number, [(choice, piece)])
        stopped = stopped or bool(screen.verdicts)
        for gone in () if stopped else out:
            sent[events[gone][0]] += len(events[gone][1].encode())
    screen.close()
    found = {(verdict.rule, verdict.place.partition(":")[2]) for verdict in screen.verdicts}
    assert found == places(one) | places(other)
    for choice, text in enumerate((one, other)):
        for _, span in places(text):
            if span and "\\" not in text:
                assert sent[choice] <= int(span.partition("-")[0])


def test_other_texts_between_the_pieces_hide_nothing() -> None:
    for cuts in ([CARD], ["4111 1111 ", "1111 1111"], list(CARD)):
        screen = AnswerScreen(SCREENER, hold_back=True)
        screen.feed(b"", [("thinking", "the number is")])
        for piece in cuts:
            screen.feed(b"", [("said", piece), ("other", "x"), (None, "y 1")])
        screen.feed(b"", [("other", "!")])
        screen.close()
        assert [verdict.rule for verdict in screen.verdicts] == ["payment-card"]


def test_a_long_token_is_stopped_before_anything_of_it_goes_out() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    sent = b""
    for piece in cut("token: " + LONG_TOKEN, [4] * 500):
        out = screen.feed(piece.encode(), [("a", piece)])
        if screen.verdicts:
            break
        sent += out
    assert screen.verdicts
    assert b"token: ".startswith(sent)


def test_ordinary_text_is_not_held_back() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    for piece in ("Hello", " world", ", it is", " fine", "."):
        assert screen.feed(piece.encode(), [("a", piece)]) == piece.encode()


def test_a_text_that_pauses_holds_the_others_for_a_while_only() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    out = screen.feed(b"0", [("thinking", "so it is 4")])
    for _ in range(PATIENCE + 3):
        assert out == b""
        out = screen.feed(b"1", [("said", "yes, ")])
    assert out == b"0" + b"1" * (PATIENCE + 3)
    assert screen.verdicts == []


def test_a_whole_value_does_not_go_out_for_a_pause() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    screen.feed(b"0", [("thinking", f"so it is {CARD}")])
    for _ in range(PATIENCE + 3):
        screen.feed(b"1", [("said", "yes, ")])
    assert [verdict.rule for verdict in screen.verdicts] == ["payment-card"]


def test_the_rest_of_a_value_is_stopped_after_a_pause() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    screen.feed(b"0", [("thinking", f"so it is {CARD[:9]}")])
    for _ in range(PATIENCE + 3):
        screen.feed(b"1", [("said", "yes, ")])
    assert screen.verdicts == []
    screen.feed(b"0", [("thinking", f"{CARD[9:]} and")])
    assert [verdict.rule for verdict in screen.verdicts] == ["payment-card"]


def test_what_is_held_back_is_bounded() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    screen.feed(b"0", [("a", "4")])
    sent = sum(len(screen.feed(b"x" * 100_000, [("a", "")])) for _ in range(20))
    assert sent > 1_500_000


def test_an_answer_of_more_texts_than_are_looked_at_is_noted() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    for number in range(MOST_TEXTS + 1):
        assert screen.verdicts == []
        screen.feed(b"", [(number, "hello")])
    assert [verdict.rule for verdict in screen.verdicts] == [UNREADABLE]
