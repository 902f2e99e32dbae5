"""The log's lock: who holds it may append. Held through busy periods, given up for who asks.

A writer that is busy keeps the lock, so that a batch costs no lock of its own. Whoever waits makes
the file `lock.wanted`; the holder looks for it a few times a second and then stands back.

A process that was stopped with the lock in its hand must not stop the gateway: after its wait, the
gateway puts a new lock file in the old one's place. The other one finds that its lock is `lost`,
and what it wrote since does not count.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from inhouse.audit.files import SAFE, draft_of
from inhouse.errors import AuditUnavailable

POLL_S = 0.002
TURN_S = 0.25  # how long a busy holder keeps it where others may be waiting
STAND_BACK_S = 0.01


class Lock:
    """An advisory lock on the log's directory, across processes."""

    def __init__(
        self,
        directory: Path,
        *,
        wait_s: float = 5.0,
        takes_over: bool = False,
    ) -> None:
        """Raises OSError where the directory cannot be used."""
        self._path = directory / "lock"
        self._wanted = directory / "lock.wanted"
        self._wait_s = wait_s
        self._takes_over = takes_over
        self._file = self._open(self._path)
        self._since: float | None = None

    @property
    def held(self) -> bool:
        return self._since is not None

    @property
    def lost(self) -> bool:
        """Whether another file stands in the lock's place: it was taken over, or the directory's
        files were taken away."""
        return not os.fstat(self._file).st_nlink

    def turn_over(self) -> bool:
        """Whether it was held so long that others may have their turn."""
        return self._since is not None and time.monotonic() - self._since > TURN_S

    def take(self) -> bool:
        """Wait for it; True where it had to be taken over. Raises AuditUnavailable where another
        process does not let go, OSError where the directory is gone."""
        self._since = None
        end = time.monotonic() + self._wait_s
        taken_over = False
        while not self._try():
            if time.monotonic() > end:
                if not self._takes_over:
                    raise AuditUnavailable(
                        f"another process has held {self._path} for more than {self._wait_s:g} s"
                    )
                self._take_over()
                taken_over = True
                break
            with contextlib.suppress(OSError):  # a full disk: then the wait is longer
                os.close(self._open(self._wanted))
            time.sleep(POLL_S)
        self._since = time.monotonic()
        return taken_over

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

    def _open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | SAFE, 0o600)

    def _try(self) -> bool:
        if self.lost:
            gone, self._file = self._file, self._open(self._path)
            os.close(gone)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return not self.lost  # while it was opened, another may have been put in its place

    def _take_over(self) -> None:
        draft = draft_of(self._path)
        file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFE, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            draft.replace(self._path)
        except OSError:
            os.close(file)
            draft.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = file
