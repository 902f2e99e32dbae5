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

    `ending` is how the process ended or what it told; `lines` are the engine's own.
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
    for line in lines:
        for cause in _CAUSES:
            if cause in line:
                return f"{ending}; llama.cpp says: {_in_words(line.partition(cause)[2])}"
    said = next((line for line in reversed(lines) if _ERROR.match(line)), "")
    said = said or (lines[-1] if lines else "")
    return f"{ending}; llama.cpp says: {_PREFIX.sub('', said)}" if said else ending


def _in_words(cause: str) -> str:
    if cause.strip() == _NO_MEMORY:
        return "not enough memory; fewer or smaller contexts need less"
    return cause.strip()
