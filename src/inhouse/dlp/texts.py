"""Screens texts that are there as a whole, in steps that are short, however long they are.

Short texts are looked at together, with an end of line between them, across which no rule goes.
A long one is looked at in slices, as an answer is that comes in events.
"""

from collections.abc import Iterator, Sequence

from inhouse.dlp.plain import plain
from inhouse.dlp.screen import Findings, Screener, Verdict
from inhouse.dlp.window import Window

STEP_CHARS = 65_536
"""What is looked at in one step: less than a millisecond, where little is found."""


def scan(screener: Screener, texts: Sequence[str]) -> list[Verdict]:
    """What is sensitive in these texts."""
    findings = Findings()
    for _ in steps(screener, texts, findings):
        pass
    return findings.verdicts


def clear(screener: Screener, texts: Sequence[str]) -> bool:
    """Whether one step is enough to see that nothing in these texts can be sensitive."""
    size = 0
    for text in texts:
        size += len(text) + 1
    return size <= STEP_CHARS and not screener.matching(_joined(texts))


def _joined(texts: Sequence[str]) -> bytes:
    return "\n".join(map(plain, texts)).encode("utf-8", "replace")


def steps(screener: Screener, texts: Sequence[str], findings: Findings) -> Iterator[None]:
    """Look at texts; between two steps somebody else may have a turn."""
    first, size = 0, 0
    for index, text in enumerate(texts):
        if size + len(text) > STEP_CHARS and index > first:
            _together(screener, texts, first, index, findings)
            yield
            first, size = index, 0
        size += len(text) + 1
        if size > STEP_CHARS:
            yield from _in_slices(screener, text, index, findings)
            first, size = index + 1, 0
    _together(screener, texts, first, len(texts), findings)


def _together(
    screener: Screener, texts: Sequence[str], first: int, last: int, findings: Findings
) -> None:
    if not screener.matching(_joined(texts[first:last])):
        return
    for index in range(first, last):
        window = Window(screener, findings, index)
        window.add(texts[index])
        window.end()


def _in_slices(screener: Screener, text: str, index: int, findings: Findings) -> Iterator[None]:
    window = Window(screener, findings, index)
    for start in range(0, len(text), STEP_CHARS):
        window.add(text[start : start + STEP_CHARS])
        yield
    window.end()
