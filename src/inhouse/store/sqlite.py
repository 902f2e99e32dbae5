"""SQLite: a file with safe settings.

A new database is made beside its place and linked into it, so that no reader ever sees half of
one, and of two processes that make it at once both get the first one's.
"""

import contextlib
import os
import secrets
import sqlite3
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from inhouse.errors import UsageError
from inhouse.store.database import Database, Mark

BUSY_TIMEOUT_S = 5.0
_BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite keeps with a database


class SqliteDatabase(Database):
    """A database in a file."""

    shared = False
    _reading: ClassVar[dict[str, Any]] = {}
    _writing: ClassVar[dict[str, Any]] = {"immediate": True}

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _engine(path))
        self._path = path

    def exists(self) -> bool:
        return self._path.exists()

    def _mark_outside(self) -> Mark:
        """Which file it is, and when it was written."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise UsageError(f"the database {self._path} is away: {error.strerror}") from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _make(self) -> None:
        """A database for its owner alone: it names who may do what."""
        path = self._path
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            SqliteDatabase(draft).open(make=False)
            with contextlib.suppress(FileExistsError):  # another process was first
                os.link(draft, path)
        except OSError as error:
            raise UsageError(f"the database {path} cannot be made: {error.strerror}") from error
        finally:
            for ending in _BESIDE:
                draft.with_name(draft.name + ending).unlink(missing_ok=True)

    def _told_as(self, error: SQLAlchemyError) -> UsageError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        if "locked" in str(cause):
            return UsageError(
                f"the database {self.name} is locked by another process; nothing was changed; "
                "try again"
            )
        return UsageError(f"the database {self.name} cannot be used: {cause}")


def _engine(path: Path) -> sa.Engine:
    """Opens the file that is there, and never makes one."""
    name = f"file:{quote(os.fsencode(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        # None: transactions begin where we say so, not where the driver guesses
        return sqlite3.connect(name, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)
    event.listen(engine, "connect", _settle)
    event.listen(engine, "begin", _begin)
    return engine


def _settle(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
