"""Undoes the escapes of JSON in a text that comes in pieces.

The arguments of a tool call are JSON within a text, and a model may write any character of it as
an escape. A text that begins as JSON does is read as JSON; any other stays as it is.
"""

import re

_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt])|(?:u[0-9a-fA-F]{0,3})?\Z)')
_MEANING = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Plain:
    """The state of one text. `rest` is an escape that has not ended."""

    __slots__ = ("_json", "rest")

    def __init__(self) -> None:
        self._json: bool | None = None  # not known yet
        self.rest = ""

    def read(self, piece: str) -> str:
        """A piece without escapes."""
        if self._json is None and (begin := piece.lstrip()):
            self._json = begin[0] in '{["'
        if not self._json or ("\\" not in piece and not self.rest):
            return piece
        piece, self.rest = self.rest + piece, ""
        return _ESCAPE.sub(self._undone, piece)

    def _undone(self, escape: re.Match[str]) -> str:
        code, letter = escape.groups()
        if letter is not None:
            return _MEANING.get(letter, letter)
        if code is None:
            self.rest = escape.group()
            return ""
        # Half of a pair, for a character that no rule has a use for.
        return (
            "\N{REPLACEMENT CHARACTER}" if code[0] in "dD" and code[1] > "7" else chr(int(code, 16))
        )


def plain(text: str) -> str:
    """A whole text without escapes."""
    if "\\" not in text:
        return text
    reader = Plain()
    return reader.read(text) + reader.rest
