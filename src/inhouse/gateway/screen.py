"""Screen: sensitive data in what goes to a model, and in what comes back.

Three modes each way. `off` looks at nothing. `log` notes the rules that matched in the audit log.
`block` refuses a prompt; of an answer it lets nothing out that was not looked at, and ends it.
"""

from collections.abc import Callable

from inhouse.audit.record import VerdictNote
from inhouse.config.schema import DlpSection
from inhouse.dlp.screen import Screener, Verdict
from inhouse.dlp.stream import AnswerScreen
from inhouse.errors import Code, Refusal
from inhouse.upstream.dialects.shapes import Ask
from inhouse.upstream.dialects.spoken import events, spoken

OFF, BLOCK = "off", "block"


class AnswerGate:
    """Looks at one answer on its way out. This one lets everything through, unseen."""

    def __init__(self) -> None:
        self.verdicts: list[VerdictNote] = []

    def whole(self, body: bytes) -> None:
        """Look at an answer that goes out in one piece."""

    def pass_on(self, piece: bytes) -> bytes:
        """Whole events in, the events that may go out now out."""
        return piece

    def rest(self, ending: bytes) -> bytes:
        """What was held back, once the answer is complete."""
        return b""


class ScreenedAnswer(AnswerGate):
    """Looks at every text of an answer, across the borders of its events."""

    def __init__(
        self, screener: Screener, found: Callable[[str, str], None], *, block: bool
    ) -> None:
        super().__init__()
        self._screener = screener
        self._found = found
        self._block = block
        self._stream = AnswerScreen(screener, hold_back=block)

    def whole(self, body: bytes) -> None:
        self._judge(self._screener.scan([spoken(body)]))

    def pass_on(self, piece: bytes) -> bytes:
        out = [self._stream.feed(event, spoken(event)) for event in events(piece)]
        self._judge(self._stream.verdicts)
        return b"".join(out)

    def rest(self, ending: bytes) -> bytes:
        self._stream.feed(b"", spoken(ending))
        left = self._stream.close()
        self._judge(self._stream.verdicts)
        return left

    def _judge(self, verdicts: list[Verdict]) -> None:
        new = verdicts[len(self.verdicts) :]
        for verdict in new:
            self._found(verdict.rule, "answer")
        self.verdicts += _notes(new)
        if verdicts and self._block:
            raise _blocked("the answer", self.verdicts)


class Screening:
    """The screening of one gateway, as its configuration says."""

    def __init__(
        self, dlp: DlpSection, screener: Screener, found: Callable[[str, str], None]
    ) -> None:
        self._dlp = dlp
        self._screener = screener
        self._found = found

    def look(self, ask: Ask) -> list[VerdictNote]:
        """What is found in a prompt."""
        if self._dlp.prompt == OFF:
            return []
        verdicts = self._screener.scan(ask.texts)
        for verdict in verdicts:
            self._found(verdict.rule, "prompt")
        return _notes(verdicts)

    def judge(self, verdicts: list[VerdictNote]) -> None:
        """A refusal, where what was found blocks the prompt."""
        if verdicts and self._dlp.prompt == BLOCK:
            raise _blocked("the prompt", verdicts)

    def answer(self) -> AnswerGate:
        """The gate that one answer goes through."""
        if self._dlp.answer == OFF:
            return AnswerGate()
        return ScreenedAnswer(self._screener, self._found, block=self._dlp.answer == BLOCK)


def _notes(verdicts: list[Verdict]) -> list[VerdictNote]:
    return [VerdictNote(rule=verdict.rule, place=str(verdict.place)) for verdict in verdicts]


def _blocked(what: str, verdicts: list[VerdictNote]) -> Refusal:
    rules = ", ".join(sorted({verdict.rule for verdict in verdicts}))
    return Refusal(
        Code.CONTENT_BLOCKED,
        403,
        f"{what} holds data that may not pass here ({rules}); take it out and send again",
    )
