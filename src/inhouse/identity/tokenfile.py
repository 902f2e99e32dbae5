"""The tokens of `inhouse login`, in a file that only its owner can read.

$XDG_CONFIG_HOME/inhouse/login.json    0600, in a directory of 0700; replaced whole
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from inhouse.errors import NegativeAnswer, UsageError

MAX_BYTES = 1_000_000


class Kept(msgspec.Struct, frozen=True):
    """Who logged in, where, and with what. Times in seconds since the epoch."""

    issuer: str
    client_id: str
    subject: str
    name: str
    groups: list[str]
    scopes: list[str]
    access_token: str
    refresh_token: str  # empty where the provider gave none
    expires: float  # of the access token

    def __repr__(self) -> str:
        return f"Kept({self.issuer!r}, {self.subject!r})"


def place(environ: Mapping[str, str] = os.environ) -> Path:
    home = environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return base / "inhouse" / "login.json"


def read(path: Path) -> Kept:
    """Raises NegativeAnswer where nobody is logged in, and UsageError where the file is not as we
    leave it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as opened:
            facts = os.fstat(opened.fileno())
            content = opened.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise NegativeAnswer("nobody is logged in here; run: inhouse login") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid():
        raise UsageError(f"{path} is not a file of yours; remove it, and run: inhouse login")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise UsageError(
            f"{path} may be read by others (mode {mode:o}), who may have its tokens; run: "
            "inhouse logout, and then: inhouse login"
        )
    try:
        return msgspec.json.decode(content, type=Kept)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not what inhouse login wrote; run: inhouse login") from error


def write(path: Path, kept: Kept) -> None:
    """Raises UsageError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(msgspec.json.encode(kept))
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be removed: {error.strerror}") from error


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """One command at a time: a refresh token may be good for one use. Raises UsageError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{path.parent} cannot be written: {error.strerror}") from error
    with os.fdopen(file, "wb") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
