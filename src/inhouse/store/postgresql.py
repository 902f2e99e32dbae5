"""PostgreSQL: a database that several gateways share.

One writer at a time, as in SQLite: whoever writes holds an advisory lock until the commit, so that
what it reads is what it changes, no transaction fails for another one's sake, and two processes
that migrate do so one after the other. Readers see one view and wait for nobody.

A server that does not answer, whatever the reason, costs PATIENCE_S: the server ends what takes
longer, and where it is too dead even for that, we hang up.
"""

import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from inhouse.config.place import PostgresqlServer
from inhouse.errors import UsageError
from inhouse.store.database import Database, DatabaseAway, Mark, Transaction, version_of

log = logging.getLogger("inhouse.store")

CONNECT_S = 3
LOCK_S = 4
STATEMENT_S = 5
PATIENCE_S = 6.0
MIGRATION_LOCK_S = 60  # another process may be migrating
MIGRATION_S = 600
IDLE_S = 60  # a process that was stopped in the middle of a change gives way after it
OUTCOME_S = 5.0  # for a commit whose answer was lost
OUTCOME_POLL_S = 0.2
OLDEST = 130_000  # release 13: the outcome of a transaction can be asked for
WRITERS = int.from_bytes(b"inhouse")
"""The advisory lock of whoever writes."""

GONE = ("08", "57P", "53300")  # SQLSTATEs of a server that takes no connection, or ended one
_MARK = sa.text(
    "SELECT r.value, r.xmin::text, d.oid, pg_postmaster_start_time() "
    "FROM revision r, pg_database d WHERE d.datname = current_database()"
)
T = TypeVar("T")


class PatientConnection(psycopg.Connection[Any]):
    """A connection that hangs up when an answer takes too long: a server that is stopped, or a
    network that loses everything, never says so."""

    patience_s = PATIENCE_S

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.patience_s:g} s") from error


class PostgresqlDatabase(Database):
    """A database of a server."""

    shared = True
    _reading: ClassVar[dict[str, Any]] = {
        "isolation_level": "REPEATABLE READ", "postgresql_readonly": True
    }  # fmt: skip
    # after the lock every statement sees what the writers before it committed
    _writing: ClassVar[dict[str, Any]] = {"isolation_level": "READ COMMITTED"}

    def __init__(self, server: PostgresqlServer, *, keep: bool) -> None:
        super().__init__(str(server), _engine(server, keep=keep))
        self._password = server.password

    def exists(self) -> bool:
        with self.reading() as connection:
            return version_of(connection) is not None

    def _make(self) -> None:
        """The server has it; the migrations fill it."""

    def _lock(self, connection: Transaction, patient: bool) -> object:
        if patient:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_S}s'")
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{MIGRATION_S}s'")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITERS)))
        return connection.execute(sa.text("SELECT pg_current_xact_id()::text")).scalar_one()

    def _upgrade(self) -> None:
        with self._told(), self._engine.connect() as connection:
            _refuse_old_server(self.name, connection)
        with _patience(self._engine):
            super()._upgrade()

    def _commit(self, transaction: sa.Transaction, token: object) -> None:
        """Commit; where the answer is lost, ask what became of it."""
        try:
            transaction.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            log.warning("the answer to a commit was lost; asking for its outcome")
            if not self._was_committed(str(token)):
                raise

    def _was_committed(self, xid: str) -> bool:
        status = sa.text("SELECT pg_xact_status(CAST(:xid AS xid8))").bindparams(xid=xid)
        end = time.monotonic() + OUTCOME_S
        while time.monotonic() < end:
            with contextlib.suppress(SQLAlchemyError), self._engine.connect() as connection:
                outcome = connection.execute(status).scalar_one()
                if outcome in ("committed", "aborted"):
                    return bool(outcome == "committed")
            time.sleep(OUTCOME_POLL_S)
        raise DatabaseAway(
            f"the database {self.name} went away in the middle of a change, and it is not known "
            "whether it was made; look once it is back"
        )

    def _mark_inside(self, connection: Transaction) -> Mark:
        """The revision and who wrote it, in which database, since which start of the server: a
        backup that is put back differs in one of them."""
        return tuple(connection.execute(_MARK).one())

    def _told_as(self, error: SQLAlchemyError) -> UsageError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None) or ""
        if state == "55P03":  # lock_not_available
            return UsageError(
                f"the database {self.name} is locked by another process; nothing was changed; "
                "try again"
            )
        if state == "57014":  # query_canceled, by statement_timeout
            return UsageError(
                f"the database {self.name} did not answer within {STATEMENT_S} s; nothing was "
                "changed"
            )
        reason = self._without_password(str(cause))
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        unconnected = isinstance(cause, psycopg.OperationalError) and not state
        if lost or unconnected or state.startswith(GONE):
            return DatabaseAway(f"the database {self.name} is away: {reason}")
        return UsageError(f"the database {self.name} cannot be used: {reason}")

    def _without_password(self, text: str) -> str:
        """The first line of what the driver says, which may hold what it connected with."""
        line = (text.strip().splitlines() or ["no reason was given"])[0]
        line = line.removeprefix("connection failed: ")
        password = self._password.reveal()
        return line.replace(password, "***") if password else line


@contextlib.contextmanager
def _patience(engine: sa.Engine) -> Iterator[None]:
    """Connections wait as long as a migration takes; none of them is kept."""

    def wait_long(connection: PatientConnection, *_: object) -> None:
        connection.patience_s = MIGRATION_S

    sa.event.listen(engine, "checkout", wait_long)
    try:
        yield
    finally:
        sa.event.remove(engine, "checkout", wait_long)
        engine.dispose()


def _refuse_old_server(name: str, connection: Transaction) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, PatientConnection)
    version = driver.info.server_version
    if version < OLDEST:
        raise UsageError(
            f"the database {name} is PostgreSQL {version // 10_000}; Inhouse needs "
            f"{OLDEST // 10_000} or newer"
        )


def _engine(server: PostgresqlServer, *, keep: bool) -> sa.Engine:
    def connect() -> PatientConnection:
        return PatientConnection.connect(prepare_threshold=None, **_parameters(server))

    pool: dict[str, Any] = {"poolclass": sa.NullPool}
    if keep:  # one that was lost meanwhile is noticed before it is used
        pool = {"pool_size": 1, "max_overflow": 3, "pool_timeout": 1, "pool_pre_ping": True}
    return sa.create_engine(
        "postgresql+psycopg://", creator=connect, use_native_hstore=False,
        hide_parameters=True, **pool,
    )  # fmt: skip


def _parameters(server: PostgresqlServer) -> dict[str, Any]:
    """What libpq is told. What it is not told, it takes from its own variables and files: a
    password from PGPASSFILE or ~/.pgpass, a client's certificate from ~/.postgresql."""
    given = {
        "host": server.host,
        "hostaddr": "",  # not from the environment
        "port": server.port,
        "user": server.user,
        "dbname": server.name,
        "password": server.password.reveal() or None,
        "sslmode": server.sslmode,
        "sslrootcert": str(server.authority) if server.authority else None,
        # a password in plain text only to a server that was verified
        "require_auth": None if server.sslmode.startswith("verify") else "!password",
        "gssencmode": "disable",
        "target_session_attrs": "any",
        "connect_timeout": CONNECT_S,
        "application_name": "inhouse",
        "options": f"-c statement_timeout={STATEMENT_S}s -c lock_timeout={LOCK_S}s "
        f"-c idle_in_transaction_session_timeout={IDLE_S}s",
    }
    return {name: value for name, value in given.items() if value is not None}
