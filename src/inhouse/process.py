"""What a serving process is to its system: one per data directory, ended by signals, with enough
open files."""

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from inhouse.config.owner import require_owner
from inhouse.errors import UsageError

log = logging.getLogger("inhouse")

OPEN_FILES = 65_536
OTHER_FILES = 128  # besides connections: log, store, listeners, the loop


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """One gateway per data directory, for as long as the context lasts.

    The directory itself is locked, so that nobody gets in who takes the file away; and the file,
    which says who it is, for file systems that lock no directory.
    """
    require_owner(data)
    with contextlib.ExitStack() as files:
        try:
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = _opened(data, os.O_RDONLY | os.O_DIRECTORY, files)
            file = _opened(data / "lock", os.O_RDWR | os.O_CREAT, files)
            _lock_directory(directory)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.write(file, str(os.getpid()).encode())
        except BlockingIOError as error:
            holder = os.pread(file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise UsageError(
                f"{data} is in use by another 'inhouse up' (process {holder}); "
                "stop it, or choose another directory with --data"
            ) from error
        except OSError as error:
            raise UsageError(
                f"{data} cannot be the data directory: {error.strerror}; choose another with --data"
            ) from error
        yield


@contextlib.contextmanager
def locked_log(directory: Path, data: Path) -> Iterator[None]:
    """One gateway per log, too, where that stands outside of the data directory: a second one
    would close the requests of the first."""
    if directory.is_relative_to(data):
        yield
        return
    with contextlib.ExitStack() as files:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _lock_directory(_opened(directory, os.O_RDONLY | os.O_DIRECTORY, files))
        except BlockingIOError as error:
            raise UsageError(
                f"the audit log in {directory} is in use by another 'inhouse up'; stop it, or "
                "choose another audit.directory"
            ) from error
        except OSError as error:
            raise UsageError(
                f"the audit log's directory {directory} cannot be used: {error.strerror}"
            ) from error
        yield


def _opened(path: Path, flags: int, files: contextlib.ExitStack) -> int:
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    files.callback(os.close, file)
    return file


def _lock_directory(directory: int) -> None:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        log.debug("this file system locks no directory; the file in it is locked")


class Signals:
    """SIGINT and SIGTERM: the first ends the start or the run, the second ends the process.

    SIGHUP is as the first of them, unless whoever started us wants it ignored (nohup). A terminal
    that is closed sends it twice, so that no second one ends the process.
    """

    def __init__(self, said: Callable[[], None]) -> None:
        self.stop = asyncio.Event()
        self._said = said
        self._starting = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self._hung_up)

    def started(self) -> None:
        """From now on the run ends by itself once `stop` is set."""
        self._starting = None

    def _hung_up(self) -> None:
        if not self.stop.is_set():
            self._asked()

    def _asked(self) -> None:
        if self.stop.is_set():
            os._exit(130)  # asked twice: at once, and the engines follow their closed pipe
        self._said()
        self.stop.set()
        if self._starting is not None:
            self._starting.cancel()


def raise_open_files() -> None:
    """A stream is two sockets; the usual limit of 1,024 files ends at 500 of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_within(wanted: int) -> int:
    """As many client connections as the open files allow, `wanted` at most: each may hold one to an
    engine besides, and the log must always be able to open a file."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    room = max(1, (files - OTHER_FILES) // 2)
    if room < wanted:
        log.warning(
            "%d open files are allowed, enough for %d client connections; "
            "gateway.max_connections wants %d: raise the limit (ulimit -n, LimitNOFILE)",
            *(files, room, wanted),
        )
    return min(wanted, room)
