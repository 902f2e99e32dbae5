"""The log's lock: who holds it may append. Held through busy periods, given up for who asks.

A writer that is busy keeps the lock, so that a batch costs no lock of its own. Whoever waits makes
the file `lock.wanted`; the holder looks for it a few times a second and then stands back.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from inhouse.errors import AuditUnavailable

POLL_S = 0.002
TURN_S = 0.25  # how long a busy holder keeps it where others may be waiting
STAND_BACK_S = 0.01


class Lock:
    """An advisory lock on the log's directory, across processes."""

    def __init__(self, directory: Path, *, wait_s: float = 5.0) -> None:
        """Raises OSError where the directory cannot be used."""
        self._path = directory / "lock"
        self._wanted = directory / "lock.wanted"
        self._wait_s = wait_s
        self._file = self._open()
        self._since: float | None = None

    @property
    def held(self) -> bool:
        return self._since is not None

    def turn_over(self) -> bool:
        """Whether it was held so long that others may have their turn."""
        return self._since is not None and time.monotonic() - self._since > TURN_S

    def take(self) -> None:
        """Wait for it. Raises AuditUnavailable where another process does not let go, OSError
        where the directory is gone."""
        if not os.fstat(self._file).st_nlink:  # somebody took the directory's files away
            gone, self._file = self._file, self._open()
            os.close(gone)
        end = time.monotonic() + self._wait_s
        while not self._try():
            if time.monotonic() > end:
                raise AuditUnavailable(
                    f"another process has held {self._path} for more than {self._wait_s:g} s"
                )
            with contextlib.suppress(OSError):  # a full disk: then the wait is longer
                self._wanted.touch(0o600)
            time.sleep(POLL_S)
        self._since = time.monotonic()

    def release(self) -> None:
        if self._since is not None:
            self._since = None
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def stand_back(self) -> None:
        """Let go, and let whoever waits go first."""
        self.release()
        with contextlib.suppress(OSError):
            self._wanted.unlink()
            time.sleep(STAND_BACK_S)

    def close(self) -> None:
        self._since = None
        os.close(self._file)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _try(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
