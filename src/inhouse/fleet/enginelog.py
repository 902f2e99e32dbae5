"""What an engine says, in a file of bounded size; and its last complaint, for people."""

import asyncio
from collections import deque
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 10_000_000
KEPT = 3  # older files: NAME.1, NAME.2, NAME.3
_COMPLAINTS = (b"error", b"failed", b"invalid", b"not enough", b"GGML_ASSERT")


class EngineLog:
    """Takes an engine's standard error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._complaints: deque[str] = deque(maxlen=1)

    async def take(self, stream: asyncio.StreamReader) -> None:
        """Write what comes until the engine closes the stream."""
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line beyond the reader's bound: its rest comes as the next
                continue
            if not line:
                return
            self._write(line)
            if any(word in line for word in _COMPLAINTS):
                self._complaints.append(line.decode("utf-8", "replace").strip())

    def last_error(self) -> str:
        return self._complaints[-1] if self._complaints else ""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: bytes) -> None:
        try:
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            self._file.write(line)
            if self._file.tell() > MAX_BYTES:
                self._rotate()
        except OSError:
            self.close()  # a full disk loses an engine's chatter, and nothing else

    def _rotate(self) -> None:
        self.close()
        for number in range(KEPT, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = (
                self._path.with_name(f"{self._path.name}.{number - 1}")
                if number > 1
                else self._path
            )
            if newer.exists():
                newer.replace(older)
