"""The file operations of the log, in one place: what can fail, and what tests make fail."""

import os
from pathlib import Path


class Files:
    """Real files. Every method raises OSError where the operating system does."""

    def open(self, path: Path) -> int:
        """A segment for appending, made where it is not there, with its directory entry safe."""
        new = not path.exists()
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if new:
            self.sync_directory(path.parent)
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
            self.write(file, data)
            self.sync(file)
        finally:
            os.close(file)
        draft.replace(path)
