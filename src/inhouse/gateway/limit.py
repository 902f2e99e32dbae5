"""Limit: what one key may take, as a rate and at once.

The arithmetic is a pure function of a bucket's last state and the time; the stage is the thin
shell that keeps the states. A reservation is given back exactly once, whatever happens.
"""

import math
from dataclasses import dataclass

from inhouse.config.schema import LimitsSection
from inhouse.domain import Principal
from inhouse.errors import Code, Refusal


@dataclass(slots=True)
class Bucket:
    """A token bucket: `level` requests may go at `at` (seconds, monotonic)."""

    level: float
    at: float

    def take(self, now: float, per_minute: int) -> float:
        """Take one. 0.0 where it was there, else the seconds until it will be."""
        rate = per_minute / 60
        level = min(float(per_minute), self.level + (now - self.at) * rate)
        self.at = now
        if level < 1:
            self.level = level
            return (1 - level) / rate
        self.level = level - 1
        return 0.0


class Share:
    """What one key holds now: a context for as long as one of its requests runs."""

    __slots__ = ("bucket", "running")

    def __init__(self, now: float, per_minute: int) -> None:
        self.bucket = Bucket(float(per_minute), now)
        self.running = 0

    def __enter__(self) -> None:
        """Entered once per reservation: `Limiter.reserve` has counted it already."""

    def __exit__(self, *error: object) -> None:
        self.running -= 1


class Limiter:
    """The shares of all keys, in memory. One entry per key that was ever used here."""

    def __init__(self, limits: LimitsSection) -> None:
        self._per_minute = limits.requests_per_minute
        self._at_once = limits.concurrent_requests
        self._shares: dict[str, Share] = {}

    def reserve(self, principal: Principal, now: float) -> Share:
        """Take a request's worth, or 429 with the time after which it is there. The share is a
        context: leaving it gives the place back."""
        share = self._shares.get(principal.id)
        if share is None:
            share = self._shares[principal.id] = Share(now, self._per_minute)
        if self._at_once and share.running >= self._at_once:
            raise Refusal(
                Code.TOO_MANY_CONCURRENT,
                429,
                f"this key has {share.running} requests running; it may have {self._at_once}",
                retry_after_s=1,
            )
        wait_s = share.bucket.take(now, self._per_minute) if self._per_minute else 0.0
        if wait_s:
            raise Refusal(
                Code.RATE_LIMITED,
                429,
                f"this key may send {self._per_minute} requests a minute; "
                f"the next one in {math.ceil(wait_s)} s",
                retry_after_s=math.ceil(wait_s),
            )
        share.running += 1
        return share
