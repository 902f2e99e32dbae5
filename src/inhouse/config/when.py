"""Times as people type them: a date, a time, or a span from now."""

import re
from datetime import UTC, datetime

_SPAN = re.compile(r"(\d{1,6})([smhd])")  # at most 2,700 years: a calendar knows the result
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def span_s(text: str) -> float | None:
    """The seconds in `90d`, `12h`, `30m` or `5s`; None where it is none of these."""
    match = _SPAN.fullmatch(text)
    return None if match is None else int(match.group(1)) * _SECONDS[match.group(2)]


def instant(text: str) -> float | None:
    """Of a date or a time, UTC where it names no zone: seconds since the epoch; None where it is
    neither."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
