"""The file operations of the log, in one place: what can fail, and what tests make fail.

No link is followed: who can write the directory must not choose which file is written.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from inhouse.errors import AuditUnavailable

SAFE = os.O_CLOEXEC | os.O_NOFOLLOW


def draft_of(path: Path) -> Path:
    """A name beside a file that nobody else takes, for what is to come in its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")


def same_file(file: int, path: Path) -> bool:
    """Whether a path still names an open file."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def disk(directory: Path) -> Iterator[None]:
    """An error of the disk, as the sentence that the operator needs."""
    try:
        yield
    except OSError as error:
        raise AuditUnavailable(f"{directory} cannot be written: {error.strerror}") from error


class Files:
    """Real files. Every method raises OSError where the operating system does."""

    def open(self, path: Path) -> int:
        """A segment that is there, for appending."""
        return os.open(path, os.O_RDWR | os.O_APPEND | SAFE)

    def create(self, path: Path) -> int:
        """A new segment, for appending, with its directory entry safe."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | SAFE, 0o600)
        try:
            self.sync_directory(path.parent)
        except OSError:
            os.close(file)
            raise
        return file

    def write(self, file: int, data: bytes) -> None:
        """All of it, or OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]

    def sync(self, file: int) -> None:
        os.fdatasync(file)

    def truncate(self, file: int, size: int) -> None:
        os.ftruncate(file, size)

    def close(self, file: int) -> None:
        os.close(file)

    def sync_directory(self, directory: Path) -> None:
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def replace(self, path: Path, data: bytes, still: Callable[[], bool] = lambda: True) -> bool:
        """Put `data` in place of a small file, so that a reader sees the old or the new, if it is
        `still` to be done when `data` is on the disk; whether it was."""
        draft = draft_of(path)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o600)
        try:
            try:
                self.write(file, data)
                self.sync(file)
            finally:
                os.close(file)
            if not still():
                return False
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        self.sync_directory(path.parent)
        return True
