"""Looks at one text that comes in pieces, and keeps of it what a match could still need.

    pieces ──► [ one byte before it | what has begun ] ──► looked at, clear

A match is believed once nothing that follows can change it: the text went on behind it, or ended.
Everything before what has begun is clear. So the same is found however the text is cut.
"""

from inhouse.dlp.plain import Plain
from inhouse.dlp.screen import Findings, Screener


class Window:
    """The state of one text.

    `length` is how much of it came, in bytes. Before `clear` there is nothing that was not looked
    at to its end, and nothing of which more could come.
    """

    __slots__ = (
        "_at",
        "_begin",
        "_findings",
        "_index",
        "_plain",
        "_screener",
        "_text",
        "clear",
        "last",
        "length",
    )

    def __init__(self, screener: Screener, findings: Findings, index: int) -> None:
        self._screener = screener
        self._findings = findings
        self._index = index
        self._plain = Plain()
        self._text = b""
        self._at = 0  # where `_text` begins in the whole
        self._begin = 0  # where in `_text` that begins which is not clear
        self.clear = self.length = 0
        self.last = 0  # the event that brought the last piece

    def add(self, piece: str) -> None:
        """Look at what came, as far as more of the text can change nothing of it."""
        plain = self._plain
        text = self._text + plain.read(piece).encode("utf-8", "replace")
        end = self._at + len(text)
        # An escape that has not ended will be a character at least.
        self.length = end + 1 if plain.rest else end
        rules = self._screener.matching_or_begun(text)
        stop = self._screener.begun(text, self._begin) if rules else len(text)
        if rules:
            self._examine(text, rules, stop)
        keep = stop - 1 if stop else 0  # whether a word begins depends on what is before it
        self._text = text[keep:]
        self._at += keep
        self._begin = stop - keep
        self.clear = self._at + self._begin

    def end(self) -> None:
        """Look at the rest: nothing more comes, or nothing came for so long that what was held
        back goes out. The state stays, so that more may come nevertheless."""
        text = self._text + self._plain.rest.encode("utf-8", "replace")
        rules = self._screener.matching(text)
        if rules:
            self._examine(text, rules, len(text))
        self.clear = self.length

    def _examine(self, text: bytes, rules: list[int], stop: int) -> None:
        found = self._screener.examine(text, rules, self._begin, stop, self._findings)
        for rule, start, end in found:
            place = f"{self._index}:{self._at + start}-{self._at + end}"
            self._findings.found(rule, place)
