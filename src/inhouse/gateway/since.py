"""Since when a model is there: clients sort by it, and show it.

The date of a model's file where Inhouse runs it; of one that runs elsewhere nothing is known, and
it is there since this process is.
"""

import time
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from inhouse.config.schema import Model

_STARTED = int(time.time())


def since(model: Model) -> int:
    """Seconds since 1970."""
    paths = [engine.path for engine in model.engines if engine.path is not None]
    return min(_STARTED, *map(_changed, paths)) if paths else _STARTED


@cache  # a model's file is opened once, at the start; asking the disk at each request is no use
def _changed(path: Path) -> int:
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return _STARTED


def stamp(seconds: int) -> str:
    """RFC 3339, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
