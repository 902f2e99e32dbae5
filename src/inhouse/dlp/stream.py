"""Screens an answer that comes in events, and lets none out before its texts were looked at.

    event, with pieces of texts ──► a window for each text ──► events out, in order

An answer has several texts at once: choices, tool calls, what is thought and what is said. Each
is looked at for itself, so that nothing between two pieces of one hides what they make together.

With `hold_back`, an event stays here while one of its texts ends in the beginning of something
sensitive; those behind it stay too. Most texts end in no such thing, and go out at once.
"""

from collections import deque
from collections.abc import Hashable, Iterable

from inhouse.dlp.screen import Findings, Screener
from inhouse.dlp.window import Window

MOST_TEXTS = 4096
"""Texts of one answer that are looked at; an answer with more is one that cannot be."""

PATIENCE = 32
"""Events without a piece of a text that holds them back, beyond one for each other text."""

MOST_HELD_BYTES = 262_144

Piece = tuple[Hashable, str]
"""A text's key and what came of it. The key None is of a text that is complete in itself."""


class AnswerScreen:
    """The state of one answer. `verdicts` is what was found so far."""

    def __init__(self, screener: Screener, *, hold_back: bool) -> None:
        self._screener = screener
        self._hold_back = hold_back
        self._findings = Findings()
        self.verdicts = self._findings.verdicts
        self._windows: dict[Hashable, Window] = {}
        self._texts = 0  # seen so far, complete ones among them
        self._events = 0
        self._held: deque[tuple[bytes, list[tuple[Window, int]]]] = deque()
        self._held_bytes = 0

    def unreadable(self, why: str) -> None:
        """An event came that cannot be looked at."""
        self._findings.unreadable(why)

    def feed(self, event: bytes, pieces: Iterable[Piece]) -> bytes:
        """Take an event and its texts; the events that may go out now, unless `verdicts` grew:
        look at them first, for one may begin in what is returned."""
        self._events += 1
        waits = []
        for key, text in pieces:
            window = self._windows.get(key) or self._begin(key)
            window.add(text)
            window.last = self._events
            if key is None:
                window.end()
            elif window.clear < window.length:
                waits.append((window, window.length))
        if not self._hold_back or not (waits or self._held):
            return event
        self._held.append((event, waits))
        self._held_bytes += len(event)
        return self._released()

    def close(self) -> bytes:
        """The answer has ended: look at the rest; what was held back."""
        for window in self._windows.values():
            window.end()
        return self._released()

    def _begin(self, key: Hashable) -> Window:
        window = Window(self._screener, self._findings, self._texts)
        self._texts += 1
        if key is None:
            return window
        if len(self._windows) >= MOST_TEXTS:
            self.unreadable(f"more than {MOST_TEXTS} texts at once")
            return window
        self._windows[key] = window
        return window

    def _released(self) -> bytes:
        """The first events of those held that wait for nothing any more."""
        out = []
        while self._held and self._may_go(self._held[0][1]):
            event, _ = self._held.popleft()
            self._held_bytes -= len(event)
            out.append(event)
        return b"".join(out)

    def _may_go(self, waits: list[tuple[Window, int]]) -> bool:
        for window, length in waits:
            if window.clear < length:
                if not self._waited_enough(window):
                    return False
                window.end()
        return True

    def _waited_enough(self, window: Window) -> bool:
        """Whether a text paused for so long that what it holds back should go out. It is looked
        at as if it had ended, so that of a value no more goes out than its beginning."""
        paused = self._events - window.last
        return paused > PATIENCE + len(self._windows) or self._held_bytes > MOST_HELD_BYTES
