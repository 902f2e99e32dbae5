"""Whether an engine answers: a pure count of failures and successes in a row.

    UNKNOWN ──answer──► UP ──`fall` failures in a row──► DOWN ──`rise` answers in a row──► UP
       └──failure──► DOWN

UNKNOWN takes no traffic: an engine is used once its model has answered, not before.
"""

import enum
from dataclasses import dataclass


class State(enum.Enum):
    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(slots=True)
class Health:
    """One engine's health. `reason` is the sentence of the last failure."""

    fall: int
    rise: int
    state: State = State.UNKNOWN
    reason: str = "has not answered yet"
    _row: int = 0  # answers (while DOWN) or failures (while UP) in a row

    @property
    def up(self) -> bool:
        return self.state is State.UP

    @property
    def known(self) -> bool:
        """Whether it was asked since it started."""
        return self.state is not State.UNKNOWN

    def answered(self) -> bool:
        """It answered. True where that changed its state."""
        if self.state is State.UP:
            self._row = 0
            return False
        self._row += 1
        if self.state is State.DOWN and self._row < self.rise:
            return False
        self._become(State.UP, "")
        return True

    def failed(self, reason: str) -> bool:
        """It did not. True where that changed its state."""
        self.reason = reason
        if self.state is State.DOWN:
            self._row = 0
            return False
        self._row += 1
        if self.state is State.UP and self._row < self.fall:
            return False
        self._become(State.DOWN, reason)
        return True

    def restarted(self, reason: str) -> bool:
        """The engine is another process now: nothing is known of it. True where something was."""
        known = self.known
        self._become(State.UNKNOWN, reason)
        return known

    def _become(self, state: State, reason: str) -> None:
        self.state = state
        self.reason = reason
        self._row = 0
