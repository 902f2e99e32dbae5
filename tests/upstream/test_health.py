"""The count that takes an engine out and brings it back."""

from hypothesis import given
from hypothesis import strategies as st

from inhouse.upstream.health import Health, State


def test_one_answer_is_enough_to_begin() -> None:
    health = Health(fall=3, rise=2)
    assert not health.up
    assert health.answered()
    assert health.up


def test_one_failure_is_enough_before_the_first_answer() -> None:
    health = Health(fall=3, rise=2)
    assert health.failed("no model")
    assert (health.state, health.reason) == (State.DOWN, "no model")


def test_fall_three_rise_two() -> None:
    health = Health(fall=3, rise=2)
    health.answered()
    assert [health.failed("x") for _ in range(3)] == [False, False, True]
    assert [health.answered() for _ in range(2)] == [False, True]


def test_an_answer_between_failures_begins_the_count_anew() -> None:
    health = Health(fall=2, rise=2)
    health.answered()
    health.failed("x")
    health.answered()
    assert not health.failed("x")
    assert health.up


def test_a_failure_between_answers_begins_the_count_anew() -> None:
    health = Health(fall=1, rise=2)
    health.failed("x")
    health.answered()
    health.failed("x")
    assert not health.answered()
    assert not health.up


def test_a_restarted_engine_is_unknown() -> None:
    health = Health(fall=3, rise=2)
    health.answered()
    health.restarted("is starting")
    assert health.state is State.UNKNOWN
    assert health.answered()


@given(st.lists(st.booleans()), st.integers(1, 5), st.integers(1, 5))
def test_it_is_up_only_behind_enough_answers(events: list[bool], fall: int, rise: int) -> None:
    health = Health(fall, rise)
    for number, event in enumerate(events):
        health.answered() if event else health.failed("x")
        row = events[max(0, number + 1 - fall) : number + 1]
        if len(row) == fall and not any(row):
            assert not health.up
        tail = events[max(0, number + 1 - rise) : number + 1]
        if len(tail) == rise and all(tail):
            assert health.up
