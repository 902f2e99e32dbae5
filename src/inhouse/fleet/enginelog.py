"""What an engine says, in a file of bounded size, without a word of any request.

While the model is loaded, every line is written. Once it serves, llama.cpp may quote what a
client sent (a grammar that does not parse goes to stderr at every log level), so from then on
only the marks of a crash are written, and the rest is counted.
"""

import asyncio
import itertools
import re
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

from inhouse.telemetry import Clock

MAX_BYTES = 10_000_000
KEPT = 3  # older files: NAME.1, NAME.2, NAME.3
MAX_LINE = 2_000
REMEMBERED = 50  # lines, to say why a start failed
READ_BYTES = 65_536

_CRASH = re.compile(
    rb"\S*\.(c|cc|cpp|cu|h):\d+: (GGML_ASSERT\(|fatal error|CUDA error)"
    rb"|terminate called after throwing an instance of '[\w:]+'$"
    rb"|CUDA error"
)


class EngineLog:
    """The log of one engine, over all its starts. A disk that is full loses lines, no more."""

    def __init__(self, path: Path, clock: Clock = time.time, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._serving = False
        self._withheld = 0
        self.lines: deque[str] = deque(maxlen=REMEMBERED)  # since the last start

    def started(self, sentence: str) -> None:
        """A new process speaks, and nobody has asked it anything yet."""
        self._serving = False
        self._withheld = 0
        self.lines.clear()
        self.note(sentence)

    def serving(self, sentence: str) -> None:
        """From now on requests reach it, and its lines may quote them."""
        self.note(sentence)
        self._serving = True

    def ended(self, sentence: str) -> None:
        if self._withheld:
            self.note(f"{self._withheld} lines withheld: they may quote requests")
        self.note(sentence)

    def note(self, sentence: str) -> None:
        """A line of ours among the engine's."""
        self._write(f"inhouse: {sentence}".encode())

    async def take(self, stream: asyncio.StreamReader) -> None:
        """Write what comes until the engine closes the stream."""
        rest = b""
        while data := await stream.read(READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._line(line)
            if len(rest) > MAX_LINE:
                self._line(rest)
                rest = b""
        if rest:
            self._line(rest)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _line(self, line: bytes) -> None:
        line = line.rstrip()[:MAX_LINE]
        if not line:
            return
        if self._serving and not _CRASH.match(line):
            self._withheld += 1
            return
        self.lines.append(line.decode("utf-8", "replace"))
        self._write(line)

    def _write(self, line: bytes) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime(self._clock()))
        try:
            file = self._file or self._open()
            file.write(now.encode() + line + b"\n")
            if file.tell() > self._max_bytes:
                self._rotate()
        except OSError:
            self.close()

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._file = self._path.open("ab", buffering=0)
        return self._file

    def _rotate(self) -> None:
        self.close()
        names = [self._path.name, *(f"{self._path.name}.{n}" for n in range(1, KEPT + 1))]
        files = [self._path.with_name(name) for name in names]
        for newer, older in reversed(list(itertools.pairwise(files))):
            if newer.exists():
                newer.replace(older)
