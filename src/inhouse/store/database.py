"""Opens the database: a file with safe settings, at the schema that this code knows."""

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, OperationalError

from inhouse.errors import UsageError
from inhouse.store.tables import SCHEMA_VERSION

BUSY_TIMEOUT_MS = 5000
SQLITE = "sqlite:///"


class Database:
    """A database at today's schema. `engine` is for the queries of this room alone."""

    def __init__(self, url: str) -> None:
        """Open it, make it or upgrade it. Raises UsageError with one sentence."""
        self.url = url
        if url.startswith(SQLITE):
            _make_file(Path(url.removeprefix(SQLITE)))
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _settle_sqlite)
        try:
            self._upgrade()
        except (OperationalError, DatabaseError) as error:
            raise UsageError(f"the database {self._name} cannot be used: {error.orig}") from error

    @property
    def _name(self) -> str:
        return str(self.engine.url.render_as_string(hide_password=True)).removeprefix(SQLITE)

    def _upgrade(self) -> None:
        found = self._version()
        if found == SCHEMA_VERSION:
            return
        if found is not None and found > SCHEMA_VERSION:
            raise UsageError(
                f"the database {self._name} was made by a newer release (schema {found}; "
                f"this one knows {SCHEMA_VERSION}); install that release or restore a backup"
            )
        from inhouse.store.migrate import upgrade  # alembic is imported only to migrate

        upgrade(self.engine)

    def _version(self) -> str | None:
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
            return str(row[0]) if row else None


def _make_file(path: Path) -> None:
    """A file for its owner alone: it names who may do what."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise UsageError(f"the database {path} cannot be opened: {error.strerror}") from error


def _settle_sqlite(connection: "object", _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]  # a DBAPI connection
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
