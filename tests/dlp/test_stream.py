"""However an answer is cut into events, the same is found, and nothing goes out unseen."""

from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.dlp.rules import RULES
from inhouse.dlp.screen import Screener
from inhouse.dlp.stream import AnswerScreen

SCREENER = Screener()
EXAMPLES = [example for rule in RULES for example in (*rule.must, *rule.must_not)]
WORDS = st.sampled_from(["the", "card", "1234", "is", "0", "-", "eyJ", "\n", "é"])
TEXTS = st.lists(st.one_of(WORDS, WORDS, WORDS, st.sampled_from(EXAMPLES)), max_size=80).map(
    " ".join
)


def cut(text: str, sizes: list[int]) -> list[str]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]


def screened(pieces: list[str], *, hold_back: bool) -> tuple[set[tuple[str, str]], list[str]]:
    """What was found, and what had gone out before each piece was looked at."""
    screen = AnswerScreen(SCREENER, hold_back=hold_back)
    out = [screen.feed(piece.encode(), piece).decode() for piece in pieces]
    out.append(screen.close().decode())
    return {(verdict.rule, verdict.place) for verdict in screen.verdicts}, out


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 40), max_size=60))
def test_every_cut_finds_what_the_whole_holds(text: str, sizes: list[int]) -> None:
    whole = {(rule.id, f"{start}-{end}") for rule, start, end in SCREENER.spans(text)}
    for hold_back in (True, False):
        verdicts, out = screened(cut(text, sizes), hold_back=hold_back)
        assert {rule for rule, _ in verdicts} == {rule for rule, _ in whole}
        assert "".join(out) == text


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 40), max_size=60))
def test_nothing_of_a_find_goes_out_before_it_is_known(text: str, sizes: list[int]) -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    sent = ""
    for piece in cut(text, sizes):
        out = screen.feed(piece.encode(), piece).decode()
        if screen.verdicts:
            start = min(int(verdict.place.partition("-")[0]) for verdict in screen.verdicts)
            assert len(sent) <= start
            return
        sent += out


def test_a_long_answer_is_held_in_bounded_memory() -> None:
    screen = AnswerScreen(SCREENER, hold_back=True)
    sent = 0
    for _ in range(20_000):
        sent += len(screen.feed(b"hello world ", "hello world "))
    assert 240_000 - sent < 2 * SCREENER.longest
