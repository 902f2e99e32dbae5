"""Screen: sensitive data in what goes to a model, and in what comes back.

Three modes each way. `off` looks at nothing. `log` notes the rules that matched in the audit log.
`block` refuses a prompt; of an answer it lets nothing out that was not looked at, and ends it.
What cannot be looked at is noted or blocked like a find.
"""

import asyncio
from collections.abc import Callable, Sequence

from inhouse.audit.record import VerdictNote
from inhouse.config.schema import DlpSection
from inhouse.dlp.screen import UNREADABLE, Findings, Screener, Verdict
from inhouse.dlp.stream import AnswerScreen
from inhouse.dlp.texts import clear, steps
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.shapes import Ask
from inhouse.upstream.dialects.spoken import Unreadable, events, spoken, spoken_whole, token

OFF, BLOCK = "off", "block"


class AnswerGate:
    """Looks at one answer on its way out. This one lets everything through, unseen."""

    looks = False

    def __init__(self) -> None:
        self.verdicts: list[VerdictNote] = []

    async def whole(self, body: bytes) -> None:
        """Look at an answer that goes out in one piece."""

    def pass_on(self, piece: bytes) -> bytes:
        """Whole events in, the events that may go out now out."""
        return piece

    def rest(self, ending: bytes) -> bytes:
        """What was held back, once the answer is complete."""
        return b""


class ScreenedAnswer(AnswerGate):
    """Looks at every text of an answer, across the borders of its events."""

    looks = True

    def __init__(
        self, screener: Screener, found: Callable[[str, str], None], *, block: bool
    ) -> None:
        super().__init__()
        self._screener = screener
        self._found = found
        self._block = block
        self._stream = AnswerScreen(screener, hold_back=block)

    async def whole(self, body: bytes) -> None:
        findings = Findings()
        try:
            await _scan(self._screener, spoken_whole(body), findings)
        except Unreadable:
            findings.unreadable("the answer")
        self._judge(findings.verdicts)

    def pass_on(self, piece: bytes) -> bytes:
        text = token(piece)
        if text is not None:
            out = self._stream.feed(piece, (text,))
        else:
            out = b"".join(map(self._look, events(piece)))
        if self._stream.verdicts:
            self._judge(self._stream.verdicts)
        return out

    def rest(self, ending: bytes) -> bytes:
        left = self._look(ending, goes_out=b"") + self._stream.close()
        self._judge(self._stream.verdicts)
        return left

    def _look(self, event: bytes, goes_out: bytes | None = None) -> bytes:
        """What may go out once an event was looked at.

        A comment goes nowhere where it would go unseen: no client reads it.
        """
        try:
            texts = spoken(event)
        except Unreadable:
            self._stream.unreadable("an event")
            texts = []
        if texts is None:
            return b"" if self._block or goes_out is not None else event
        return self._stream.feed(event if goes_out is None else goes_out, texts)

    def _judge(self, verdicts: list[Verdict]) -> None:
        if not verdicts:
            return
        new = verdicts[len(self.verdicts) :]
        for verdict in new:
            self._found(verdict.rule, "answer")
        self.verdicts += _notes(new)
        if self._block:
            raise _blocked("the answer", self.verdicts)


class Screening:
    """The screening of one gateway, as its configuration says."""

    def __init__(
        self, dlp: DlpSection, screener: Screener, found: Callable[[str, str], None]
    ) -> None:
        self._dlp = dlp
        self._screener = screener
        self._found = found

    async def look(self, ask: Ask) -> list[VerdictNote]:
        """What is found in a prompt."""
        if self._dlp.prompt == OFF or clear(self._screener, ask.texts):
            return []
        findings = Findings()
        await _scan(self._screener, ask.texts, findings)
        for verdict in findings.verdicts:
            self._found(verdict.rule, "prompt")
        return _notes(findings.verdicts)

    def judge(self, verdicts: list[VerdictNote]) -> None:
        """A refusal, where what was found blocks the prompt."""
        if verdicts and self._dlp.prompt == BLOCK:
            raise _blocked("the prompt", verdicts)

    def answer(self) -> AnswerGate:
        """The gate that one answer goes through."""
        if self._dlp.answer == OFF:
            return AnswerGate()
        return ScreenedAnswer(self._screener, self._found, block=self._dlp.answer == BLOCK)


async def _scan(screener: Screener, texts: Sequence[str], findings: Findings) -> None:
    """Look at texts, and let everybody else have a turn while they are long."""
    for _ in steps(screener, texts, findings):
        await asyncio.sleep(0)


def _notes(verdicts: list[Verdict]) -> list[VerdictNote]:
    return [VerdictNote(rule=verdict.rule, place=verdict.place) for verdict in verdicts]


def _blocked(what: str, verdicts: list[VerdictNote]) -> Refusal:
    rules = {verdict.rule for verdict in verdicts}
    if rules == {UNREADABLE}:
        sentence = f"{what} cannot be looked at for sensitive data, so it may not pass"
    else:
        sentence = f"{what} holds data that may not pass here ({', '.join(sorted(rules))})"
    return Refusal(Code.CONTENT_BLOCKED, 403, sentence)
