"""Opens the database: a file with safe settings, at the schema that this code knows.

A new database is made beside its place and linked into it, so that no reader ever sees half of
one, and of two processes that make it at once both get the first one's.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from inhouse.errors import UsageError
from inhouse.store.tables import SCHEMA_VERSION

BUSY_TIMEOUT_S = 5.0
Transaction = sa.Connection
_BESIDE = ("", "-journal", "-wal", "-shm")  # what SQLite keeps with a database


class Database:
    """A database at today's schema. Its transactions are for this room's queries."""

    def __init__(self, path: Path, *, make: bool) -> None:
        """Open it, or upgrade it; made where it is not there and `make` says so.

        Raises UsageError with one sentence.
        """
        self.path = path
        if make and not path.exists():
            _make(path)
        self._engine = _engine(path)
        with self._told():
            self._upgrade()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One view of the data. Raises UsageError where the database cannot be read."""
        with self._told(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that has the right to write from its first moment on, so that what it
        reads is what it changes; committed at the end. Raises UsageError where that cannot be."""
        with self._told(), self._engine.connect() as connection:
            connection.execution_options(immediate=True)
            with connection.begin():
                yield connection

    def mark(self) -> tuple[int, ...]:
        """Which file it is, and when it was written. Raises UsageError where there is none."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise UsageError(f"the database {self.path} is away: {error.strerror}") from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _upgrade(self) -> None:
        if self._is_current():
            return
        with self.writing() as connection:
            if not self._is_current():  # another process may have been first
                _migrate(connection)

    def _is_current(self) -> bool:
        found = self._version()
        if found is not None and found > SCHEMA_VERSION:
            raise UsageError(
                f"the database {self.path} was made by a newer release (schema {found}; "
                f"this one knows {SCHEMA_VERSION}); install that release or restore a backup"
            )
        return found == SCHEMA_VERSION

    def _version(self) -> str | None:
        with self.reading() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
            return str(row[0]) if row else None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the database as one sentence."""
        try:
            yield
        except SQLAlchemyError as error:
            raise UsageError(_sentence(self.path, error)) from error


def _sentence(path: Path, error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if "locked" in str(cause):
        return f"the database {path} is locked by another process; nothing was changed; try again"
    return f"the database {path} cannot be used: {cause}"


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


def _make(path: Path) -> None:
    """A database for its owner alone: it names who may do what."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        Database(draft, make=False)
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(draft, path)
    except OSError as error:
        raise UsageError(f"the database {path} cannot be made: {error.strerror}") from error
    finally:
        for ending in _BESIDE:
            draft.with_name(draft.name + ending).unlink(missing_ok=True)


def _migrate(connection: sa.Connection) -> None:
    from inhouse.store.migrate import upgrade  # alembic is imported only to migrate

    upgrade(connection)
