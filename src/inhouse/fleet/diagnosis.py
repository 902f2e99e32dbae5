"""Why an engine did not start, in one sentence, from what is known afterwards."""

import re
import signal
from pathlib import Path

from inhouse.config import gguf

# The line with the cause; those around it only say that something failed.
_CAUSES = ("error loading model: ", "failed to initialize the context: ")
_PREFIX = re.compile(r"^[\d.]+ [A-Z] +")  # llama.cpp's time and level
_ERROR = re.compile(r"^[\d.]+ E ")
_NO_MEMORY = "std::bad_alloc"


def why(path: Path, ending: str, lines: list[str]) -> str:
    """The reason, with what would be right where that is known.

    `ending` is how the process ended or what it told, if anything; `lines` are the engine's own.
    """
    return _file(path) or _said(lines, ending)


def how(status: int) -> str:
    """How a process ended: 'by SIGKILL', 'with status 1'."""
    if status >= 0:
        return f"with status {status}"
    name = signal.Signals(-status).name
    return f"by {name} (out of memory?)" if name == "SIGKILL" else f"by {name}"


def _file(path: Path) -> str:
    """What is wrong with the file itself; empty where that is not the reason."""
    try:
        gguf.read(path)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except gguf.NotAModel as error:
        return f"it {error}"
    return ""


def _said(lines: list[str], ending: str) -> str:
    said = _cause(lines) or _last_error(lines)
    parts = [ending] if ending else []
    return (
        "; ".join([*parts, f"the engine says: {said}"] if said else parts) or "no reason is known"
    )


def _cause(lines: list[str]) -> str:
    for line in lines:
        for cause in _CAUSES:
            if cause in line:
                return _in_words(line.partition(cause)[2].strip())
    return ""


def _last_error(lines: list[str]) -> str:
    said = next((line for line in reversed(lines) if _ERROR.match(line)), "")
    return _PREFIX.sub("", said or (lines[-1] if lines else ""))


def _in_words(cause: str) -> str:
    return "not enough memory for its contexts" if cause == _NO_MEMORY else cause
