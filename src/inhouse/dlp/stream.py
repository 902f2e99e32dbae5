"""Screens an answer that comes in events, and lets none out before its text was looked at.

    events in ──► window of text: [ already looked at | new ] ──► events out

A match may lie across events, so the last `longest` characters stay in the window, and with
`hold_back` the events that carry them stay here. Whether the text came in one event or in many
changes nothing of what is found.
"""

from collections import deque

from inhouse.dlp.screen import Screener, Verdict


class AnswerScreen:
    """The state of one answer. `verdicts` is what was found so far."""

    def __init__(self, screener: Screener, *, hold_back: bool) -> None:
        self._screener = screener
        self._hold_back = hold_back
        self._window = ""
        self._window_at = 0  # where the window begins in the whole text
        self._length = 0  # of the whole text so far
        self._held: deque[tuple[int, bytes]] = deque()  # where an event's text ends, the event
        self._seen: set[tuple[str, int]] = set()
        self.verdicts: list[Verdict] = []

    def feed(self, event: bytes, text: str) -> bytes:
        """Take an event and its text; the events that may go out now, unless `verdicts` grew:
        look at them first, for one may begin in what is returned."""
        self._length += len(text)
        if text:
            self._window += text
            self._look(ended=False)
        if not self._hold_back:
            return event
        self._held.append((self._length, event))
        return self._released(self._length - self._screener.longest)

    def close(self) -> bytes:
        """The answer has ended: look at the rest; what was held back."""
        self._look(ended=True)
        return self._released(self._length)

    def _released(self, up_to: int) -> bytes:
        """The events whose text ends before anything that a match could still begin in."""
        out = []
        while self._held and self._held[0][0] <= up_to:
            out.append(self._held.popleft()[1])
        return b"".join(out)

    def _look(self, *, ended: bool) -> None:
        """Look at the window; then keep of it what a match that is not complete could need.

        A match that touches the window's end may grow with the next event, or turn out to be
        none: it is believed once the text went on behind it, or ended.
        """
        longest = self._screener.longest
        for rule, start, end in self._screener.spans(self._window):
            if end == len(self._window) and not ended:
                continue
            at = self._window_at + start
            if (rule.id, at) not in self._seen:
                self._seen.add((rule.id, at))
                place = f"{at}-{self._window_at + end}"
                self.verdicts.append(Verdict(rule.id, rule.klass, place))
        excess = len(self._window) - 2 * longest
        if excess > 0:
            self._window = self._window[excess:]
            self._window_at += excess
