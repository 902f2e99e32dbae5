"""Rates and concurrency of one key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.config.schema import LimitsSection
from inhouse.domain import Principal
from inhouse.errors import Code, Refusal
from inhouse.gateway.limit import Bucket, Limiter

ANNA, BORIS = Principal("key:a", "anna"), Principal("key:b", "boris")


def test_a_rate_is_refused_with_the_time_to_wait() -> None:
    limiter = Limiter(LimitsSection(requests_per_minute=2, concurrent_requests=0))
    for _ in range(2):
        limiter.reserve(ANNA, 0.0)
    with pytest.raises(Refusal) as refused:
        limiter.reserve(ANNA, 0.0)
    assert (refused.value.code, refused.value.retry_after_s) == (Code.RATE_LIMITED, 30)
    limiter.reserve(BORIS, 0.0)
    limiter.reserve(ANNA, 30.0)


def test_places_are_given_back_whatever_happens() -> None:
    limiter = Limiter(LimitsSection(requests_per_minute=0, concurrent_requests=1))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.reserve(ANNA, 0.0):
            raise ZeroDivisionError
    with limiter.reserve(ANNA, 0.0):
        with pytest.raises(Refusal) as refused:
            limiter.reserve(ANNA, 0.0)
        assert refused.value.code is Code.TOO_MANY_CONCURRENT


@given(
    st.integers(1, 1000),
    st.lists(st.floats(0, 30, allow_nan=False), max_size=200),
)
def test_no_schedule_passes_the_rate(per_minute: int, pauses: list[float]) -> None:
    bucket, now, taken = Bucket(float(per_minute), 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now, per_minute) == 0.0
    assert taken <= per_minute + now * per_minute / 60 + 1e-6


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_the_time_to_wait_is_true(per_minute: int, tries: int) -> None:
    bucket = Bucket(float(per_minute), 0.0)
    waits = [bucket.take(0.0, per_minute) for _ in range(tries)]
    if waits[-1]:
        assert bucket.take(waits[-1] + 1e-6, per_minute) == 0.0
