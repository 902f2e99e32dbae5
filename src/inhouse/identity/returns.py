"""Where a person goes after login: to a path of ours, and nowhere else (no open redirect)."""

import re

MAX_CHARS = 512
HOME = "/"
_PATH = re.compile(
    r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)*(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*)?"
    r"(?:\?[A-Za-z0-9._~%=&-]*)?"
)
_NOT_AGAIN = re.compile(r"/(?:login|logout)(?:[/?].*)?")


def path_of_ours(wanted: str) -> str:
    """`wanted` where it is a plain path of the console, of plain segments, perhaps with a query;
    else the first page. No scheme, no host, no `//`, no backslash, no dots that lead elsewhere,
    nothing encoded in the path; and not to login again."""
    plain = len(wanted) <= MAX_CHARS and _PATH.fullmatch(wanted) is not None
    return wanted if plain and not _NOT_AGAIN.fullmatch(wanted) else HOME
