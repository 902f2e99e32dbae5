"""Keys in files of their own: made once, read by their owner alone."""

import os
import secrets
import stat
from pathlib import Path

from inhouse.errors import UsageError

KEY_BYTES = 32


def read_or_create(path: Path) -> bytes:
    """The 32 bytes in `path`; made, with their directory, where there are none yet.

    A key is written beside its place and linked into it, so that no reader ever sees half of one,
    and of two processes that make it at once both get the first one's.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _read(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        _create(path)
    except FileExistsError:
        pass  # another process was first: its key is the key
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return _read(path)


def read_existing(path: Path) -> bytes:
    """The 32 bytes in `path`, which must be there."""
    try:
        return _read(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _create(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_bytes(KEY_BYTES))
        os.fsync(file)
    finally:
        os.close(file)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"{path} does not hold a key of {KEY_BYTES} bytes, as Inhouse makes them; "
            "restore it from backup"
        )
    if mode & 0o077:
        raise UsageError(f"{path} may be read by others (mode {mode:o}); run: chmod 600 {path}")
    return key
