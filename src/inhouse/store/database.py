"""The database as the other rooms see it, whichever it is: opened at the schema that this code
knows, read in one view, changed by one writer at a time.

    reading()    one view of the data, whatever others change meanwhile
    viewing()    ... and a mark that tells this view from every other one
    writing()    the one writer: what it reads is what it changes
    changing()   ... and every watcher sees it

Every wait has a deadline, and every error is one sentence without a password.
"""

import abc
import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inhouse.config.place import Place, SqliteFile
from inhouse.errors import UsageError
from inhouse.store.revision import bump, revision_of
from inhouse.store.tables import SCHEMA_VERSION

Transaction = sa.Connection
Mark = tuple[object, ...]
"""Equal for two views only where they hold the same data."""


class DatabaseAway(UsageError):
    """There is no connection to the database's server now. There may be one later."""


def database_at(place: Place, *, keep: bool = False) -> "Database":
    """The database at its place, not yet opened. `keep`: look often, over a kept connection."""
    if isinstance(place, SqliteFile):
        from inhouse.store.sqlite import SqliteDatabase

        return SqliteDatabase(place.path)
    from inhouse.store.postgresql import PostgresqlDatabase  # and its driver, for those who need it

    return PostgresqlDatabase(place, keep=keep)


class Database(abc.ABC):
    """One database. Everything raises UsageError, and DatabaseAway where nobody answers."""

    shared: ClassVar[bool]  # whether gateways on other machines may use it too
    _reading: ClassVar[dict[str, Any]]  # options of a transaction that reads
    _writing: ClassVar[dict[str, Any]]  # ... and of one that writes

    def __init__(self, name: str, engine: sa.Engine) -> None:
        """`name`: as sentences call it, without a password."""
        self.name = name
        self._engine = engine

    def open(self, *, make: bool) -> bool:
        """Bring it to today's schema, made where it is not there and `make` says so; whether it
        was made."""
        made = make and not self.exists()
        if made:
            self._make()
        with self._told():
            if not self._is_current():
                self._upgrade()
        return made

    @abc.abstractmethod
    def exists(self) -> bool:
        """Whether there is anything in its place."""

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """One view of the data."""
        with self._told(), self._engine.connect() as connection:
            connection.execution_options(**self._reading)
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def viewing(self) -> Iterator[tuple[Transaction, Mark]]:
        """One view of the data, and its mark. A database that was replaced or restored has
        another mark, even where its revision is the same."""
        outside = self._mark_outside()
        with self.reading() as connection:
            yield connection, (*outside, *self._mark_inside(connection))

    @contextlib.contextmanager
    def writing(self, *, patient: bool = False) -> Iterator[Transaction]:
        """A transaction that is the only one to write from its first moment on; committed at the
        end. With `patient` it waits for others, and may take, as long as a migration takes."""
        with self._told(), self._engine.connect() as connection:
            connection.execution_options(**self._writing)
            with connection.begin() as transaction:
                token = self._lock(connection, patient)
                yield connection
                self._commit(transaction, token)

    @contextlib.contextmanager
    def changing(self) -> Iterator[Transaction]:
        """A transaction that writes, and whose commit every watcher sees."""
        with self.writing() as connection:
            yield connection
            bump(connection)

    @abc.abstractmethod
    def _make(self) -> None:
        """Make what `_upgrade` fills."""

    def _lock(self, connection: Transaction, patient: bool) -> object:
        """Become the one writer; what `_commit` wants to know of it."""
        return None

    def _commit(self, transaction: sa.Transaction, token: object) -> None:
        transaction.commit()

    def _mark_outside(self) -> Mark:
        """The part of the mark that is taken before the view."""
        return ()

    def _mark_inside(self, connection: Transaction) -> Mark:
        return (revision_of(connection),)

    @abc.abstractmethod
    def _told_as(self, error: SQLAlchemyError) -> UsageError:
        """An error as one sentence."""

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._told_as(error) from error

    def _upgrade(self) -> None:
        with self.writing(patient=True) as connection:
            if not self._is_current():  # another process may have been first
                from inhouse.store.migrate import upgrade  # alembic is imported only to migrate

                upgrade(connection)

    def _is_current(self) -> bool:
        with self.reading() as connection:
            found = version_of(connection)
        if found is not None and found > SCHEMA_VERSION:
            raise UsageError(
                f"the database {self.name} was made by a newer release (schema {found}; "
                f"this one knows {SCHEMA_VERSION}); install that release or restore a backup"
            )
        return found == SCHEMA_VERSION


def version_of(connection: Transaction) -> str | None:
    """The newest migration that was run; None where there was none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None
