"""The file operations of the log, in one place: what can fail, and what tests make fail."""

import os
from pathlib import Path


class Files:
    """Real files. Every method raises OSError where the operating system does."""

    owner: tuple[int, int] | None = None  # whose the files made here are; None: this process's

    def own(self, file: int) -> None:
        """Give a file that was made to its owner."""
        if self.owner is not None:
            os.fchown(file, *self.owner)

    def open(self, path: Path) -> int:
        """A segment that is there, for appending."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)

    def create(self, path: Path) -> int:
        """A new segment, for appending, with its directory entry safe."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        try:
            self.own(file)
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
        file = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def replace(self, path: Path, data: bytes) -> None:
        """Put `data` in place of a small file, so that a reader sees the old or the new."""
        draft = path.with_name(path.name + ".new")
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self.own(file)
            self.write(file, data)
            self.sync(file)
        finally:
            os.close(file)
        draft.replace(path)
