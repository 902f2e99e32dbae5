"""PostgreSQL as it is: TLS, rights, full disks, newer schemas, several processes at once; and no
error of it shows a password."""

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.conftest import environment
from tests.store.harness import IN_A_URL, PASSWORD, Server

from inhouse.audit.read import records
from inhouse.audit.record import KeyChanged
from inhouse.config.load import load_config
from inhouse.config.place import PostgresqlServer
from inhouse.config.schema import Config
from inhouse.config.secrets import Secret
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.keys import Keys
from inhouse.identity.watch import KeyWatcher
from inhouse.store.database import Database, DatabaseAway, database_at
from inhouse.store.keys import StoredKey, all_keys, note_use
from inhouse.store.keys import insert as insert_key
from inhouse.store.postgresql import WRITERS, PostgresqlDatabase
from inhouse.store.tables import metadata

MODELS = '[models]\nm = "vllm://127.0.0.1:1/m"\n'


@pytest.fixture
def name(postgresql: Server) -> str:
    return postgresql.database()


@pytest.fixture
def config(tmp_path: Path, postgresql: Server, name: str) -> Config:
    return configured(tmp_path / "one", postgresql.toml(name))


def configured(directory: Path, store: str) -> Config:
    directory.mkdir()
    file = directory / "inhouse.toml"
    file.write_text(MODELS + store)
    return load_config(file, directory / "data", {})


def place_of(config: Config) -> PostgresqlServer:
    assert isinstance(config.database, PostgresqlServer)
    return config.database


@pytest.fixture
def database(config: Config) -> Iterator[Database]:
    database = database_at(config.database)
    database.open(make=True)
    yield database
    database.close()


def key(key_id: str) -> StoredKey:
    return StoredKey(key_id, "anna", None, 1.0, 2.0)


def eventually(condition: Callable[[], object], within_s: float = 5) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def actions(config: Config) -> list[str]:
    return [r.action for r in records(config.audit_directory) if isinstance(r, KeyChanged)]


# What errors say


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"password": Secret("hunter2")}, "password authentication failed"),
    ({"user": "hunter"}, "password authentication failed"),
    ({"name": "nowhere"}, "does not exist"),
    ({"port": 1}, "refused"),
    ({"host": "/nowhere"}, "No such file"),
    ({"host": "no-such-host.invalid"}, "no-such-host.invalid"),
    ({"password": Secret("x' host='y")}, "password authentication failed"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=str)
def test_whatever_is_wrong_is_one_sentence_without_a_password(
    config: Config, change: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = replace(place_of(config), **change)
    with pytest.raises(DatabaseAway) as refused:
        database_at(wrong).open(make=True)
    sentence = str(refused.value)
    assert sentence.startswith(f"the database {wrong} is away: ")
    assert said in sentence
    assert len(sentence.splitlines()) == 1
    shown = sentence + caplog.text + repr(wrong) + repr(config)
    for password in (PASSWORD, IN_A_URL, wrong.password.reveal()):
        assert password not in shown


def test_a_reason_that_holds_the_password(config: Config) -> None:
    """A password that is a word of the server's own sentence is masked there, too."""
    wrong = replace(place_of(config), password=Secret("authentication"))
    with pytest.raises(DatabaseAway, match=r"password \*\*\* failed"):
        database_at(wrong).open(make=True)


def test_the_variables_of_libpq_do_not_lead_elsewhere(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {
        "PGHOST": "nowhere", "PGHOSTADDR": "192.0.2.9", "PGPORT": "1", "PGUSER": "x",
        "PGDATABASE": "x", "PGPASSWORD": "x", "PGSSLMODE": "verify-full", "PGOPTIONS": "-c x=y",
    }  # fmt: skip
    for variable, value in elsewhere.items():
        monkeypatch.setenv(variable, value)
    Keys(config).create("anna")


def test_a_password_from_the_file_of_libpq(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = replace(place_of(config), password=Secret(""))
    file = tmp_path / "pgpass"
    secret = PASSWORD.replace(":", "\\:")
    file.write_text(f"127.0.0.1:{place.port}:*:inhouse:{secret}\n")
    file.chmod(0o600)
    with pytest.raises(DatabaseAway, match="no password supplied"):
        database_at(place).open(make=True)
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert database_at(place).open(make=True)


# TLS


def encrypted(config: Config) -> bool:
    database = database_at(config.database)
    query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with database.reading() as connection:
        return bool(connection.execute(sa.text(query)).scalar_one())


def test_tls_that_is_verified(config: Config, postgresql: Server, tmp_path: Path) -> None:
    good = replace(
        place_of(config), host="localhost", sslmode="verify-full", authority=postgresql.ca
    )
    assert encrypted(replace(config, database=good))
    assert encrypted(config), "on this machine, TLS is taken where it is offered"
    assert not encrypted(replace(config, database=replace(good, sslmode="disable")))
    other = Server.authority(tmp_path)
    wrongs = [(replace(good, host="127.0.0.1"), "does not match host name"),
              (replace(good, authority=other), "certificate verify failed")]  # fmt: skip
    for wrong, said in wrongs:
        with pytest.raises(DatabaseAway, match=said):
            database_at(wrong).open(make=True)


# Migrations


def test_migrations_that_race(config: Config) -> None:
    databases = [database_at(config.database) for _ in range(6)]
    failed: list[BaseException] = []

    def opened(database: Database) -> None:
        try:
            database.open(make=True)
        except UsageError as error:
            failed.append(error)

    threads = [threading.Thread(target=opened, args=(each,)) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    Keys(config).create("anna")


def test_the_migrations_lead_to_the_tables_of_today(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_newer_schema_is_refused(config: Config, postgresql: Server, name: str) -> None:
    Keys(config)
    postgresql.admin("UPDATE alembic_version SET version_num = '9999'", name)
    for make in (Keys, KeyWatcher):
        with pytest.raises(UsageError, match=r"made by a newer release \(schema 9999"):
            make(config)


def test_an_older_schema_is_brought_up_with_its_keys(
    config: Config, postgresql: Server, name: str
) -> None:
    made = Keys(config).create("anna").key
    postgresql.admin(
        "DROP TABLE sessions, scim_members, scim_groups, scim_users; "
        "DROP TABLE pepper, users, teams, team_members, roles, grants, access_requests, "
        "review_items, reviews; "
        "ALTER TABLE api_keys DROP owner_id, DROP dialects, DROP purposes", name,
    )  # fmt: skip
    postgresql.admin("UPDATE alembic_version SET version_num = '0001'", name)
    assert [each.id for each in Keys(config).list()] == [made.id]
    assert postgresql.admin("SELECT count(*) FROM pepper", name) == [(1,)]


# What the server refuses


def test_a_user_without_rights(config: Config, postgresql: Server, name: str) -> None:
    postgresql.admin(f"ALTER DATABASE {name} OWNER TO postgres")
    with pytest.raises(UsageError, match=r"cannot be used: permission denied for schema public$"):
        Keys(config)


def test_a_database_that_is_read_only(config: Config, postgresql: Server, name: str) -> None:
    keys = Keys(config)
    postgresql.admin(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(
        UsageError, match=r"cannot be used: cannot execute .* read-only transaction"
    ):
        keys.create("anna")
    assert keys.list() == []
    watcher = KeyWatcher(config)
    watcher.start()
    watcher.stop()
    assert watcher.away_since is None


def test_a_full_disk_is_one_sentence(config: Config, postgresql: Server, name: str) -> None:
    keys = Keys(config)
    postgresql.admin(
        "CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'could not extend file' USING ERRCODE = 'disk_full', HINT = 'Check free disk space.'; "
        "END $$".replace("full()", "is_full()"), name,
    )  # fmt: skip
    postgresql.admin("CREATE TRIGGER f BEFORE INSERT ON api_keys EXECUTE FUNCTION is_full()", name)
    with pytest.raises(UsageError, match=r"cannot be used: could not extend file$"):
        keys.create("anna")
    assert actions(config) == ["created", "create-failed"]


def test_a_statement_that_takes_too_long_is_ended(
    config: Config, postgresql: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Keys(config)
    monkeypatch.setattr("inhouse.store.postgresql.STATEMENT_S", 1)
    database = database_at(config.database)

    def change() -> None:
        with database.writing() as connection:
            insert_key(connection, key("a"))
            connection.execute(sa.text("SELECT pg_sleep(30)"))

    with pytest.raises(UsageError, match=r"did not answer within 1 s; nothing was changed$"):
        change()
    assert postgresql.admin("SELECT count(*) FROM api_keys", name) == [(0,)]


# Several at once


def test_what_a_writer_reads_is_what_it_changes(config: Config, database: Database) -> None:
    """Sixteen writers that each add a key where they find as many as they were told."""
    others = [database_at(config.database) for _ in range(4)]
    added: list[int] = []

    def add(mine: Database) -> None:
        for _ in range(4):
            with mine.changing() as connection:
                count = len(all_keys(connection))
                insert_key(connection, key(f"k{count}"))
                added.append(count)

    threads = [threading.Thread(target=add, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(added) == list(range(16))


def test_a_reader_waits_for_no_writer_and_sees_one_view(database: Database, config: Config) -> None:
    other = database_at(config.database)
    with database.viewing() as (view, mark):
        with other.changing() as connection:
            insert_key(connection, key("a"))
            assert all_keys(view) == []
        assert all_keys(view) == []
    with database.viewing() as (view, later):
        assert len(all_keys(view)) == 1
    assert mark != later


def test_the_last_use_that_another_gateway_saw_stays(database: Database) -> None:
    with database.writing() as connection:
        insert_key(connection, key("a"))
        note_use(connection, {"a": 100.0})
        note_use(connection, {"a": 90.0})
        assert all_keys(connection)[0].last_used == 100.0


def test_gateways_on_two_machines(
    config: Config, tmp_path: Path, postgresql: Server, name: str
) -> None:
    """They share the keys where they share the pepper, and say so where they do not."""
    secret = Keys(config).create("anna").token.secret.reveal()
    other = configured(tmp_path / "two", postgresql.toml(name))
    pepper = other.secrets_directory / "pepper.key"
    for make in (Keys, KeyWatcher):
        with pytest.raises(UsageError, match=r"pepper.key is missing; copy it from a gateway on"):
            make(other)
    assert not pepper.exists()
    pepper.parent.mkdir(parents=True)
    pepper.write_bytes(os.urandom(32))
    pepper.chmod(0o600)
    for make in (Keys, KeyWatcher):
        with pytest.raises(UsageError, match="is not the pepper of the keys in postgresql://"):
            make(other)
    pepper.write_bytes((config.secrets_directory / "pepper.key").read_bytes())
    watchers = [KeyWatcher(each) for each in (config, other)]
    for watcher in watchers:
        watcher.start()
    try:
        assert [bool(each.ring.check(secret.encode(), time.time())) for each in watchers] == [
            True, True
        ]  # fmt: skip
        Keys(other).revoke("anna")
        eventually(lambda: not any(w.ring.check(secret.encode(), time.time()) for w in watchers))
    finally:
        for watcher in watchers:
            watcher.stop()


def test_first_gateways_at_once_agree_on_one_pepper(
    config: Config, tmp_path: Path, postgresql: Server, name: str
) -> None:
    others = [configured(tmp_path / f"m{n}", postgresql.toml(name)) for n in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "inhouse", "keys", "create", "anna", "--config", str(c.file),
             "--data", str(c.data)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )
        for c in others
    ]  # fmt: skip
    said = [process.communicate(timeout=60) for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2, 2, 2], said
    assert sum("pepper.key is missing" in err for _, err in said) == 3
    peppers = [c for c in others if (c.secrets_directory / "pepper.key").exists()]
    assert len(peppers) == 1
    assert postgresql.admin("SELECT count(*) FROM api_keys", name) == [(1,)]


def test_a_restored_backup_is_noticed_where_the_revision_is_the_same(
    config: Config, postgresql: Server, name: str, tmp_path: Path
) -> None:
    keys = Keys(config)
    anna = keys.create("anna").token.secret.reveal().encode()
    backup = tmp_path / "backup.sql"
    postgresql.dump(name, backup)
    watcher = KeyWatcher(config, poll_s=0.05)
    watcher.start()
    try:
        keys.revoke("anna")
        eventually(lambda: watcher.ring.check(anna, time.time()) is None)
        content = backup.read_text()
        assert "1\t1\n" in content
        backup.write_text(content.replace("1\t1\n", "1\t2\n"))  # the revision of the revocation
        postgresql.restore(name, backup)
        eventually(lambda: watcher.ring.check(anna, time.time()))
        eventually(lambda: watcher.away_since is None)
    finally:
        watcher.stop()


# A commit whose answer is lost


class Cut(PostgresqlDatabase):
    """Loses its connection in the commit, before or after the server has made it."""

    after = False

    def _commit(self, transaction: sa.Transaction, token: object) -> None:
        driver: Any = transaction.connection.connection.driver_connection
        real = driver.commit

        def lost() -> None:
            if self.after:
                real()
            driver.pgconn.finish()
            raise psycopg.OperationalError("the connection is lost")

        driver.commit = lost
        super()._commit(transaction, token)


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_whose_answer_is_lost_is_asked_for(
    config: Config, database: Database, *, after: bool
) -> None:
    cut = Cut(place_of(config), keep=False)
    cut.after = after
    with (
        contextlib.nullcontext() if after else pytest.raises(DatabaseAway, match="is away: "),
        cut.changing() as connection,
    ):
        insert_key(connection, key("a"))
    with database.reading() as connection:
        assert len(all_keys(connection)) == after


def test_a_writer_that_is_stopped_in_a_change_keeps_others_waiting_for_a_bounded_time(
    config: Config, postgresql: Server, name: str
) -> None:
    keys = Keys(config)
    with psycopg.connect(
        host="127.0.0.1", port=postgresql.port, user="inhouse", password=PASSWORD, dbname=name
    ) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS,))
        with pytest.raises(UsageError, match="is locked by another process; nothing was changed"):
            keys.create("anna")
    keys.create("anna")
    assert actions(config) == ["created"]


# Moving


def test_keys_move_from_a_file_to_a_server(tmp_path: Path, postgresql: Server, name: str) -> None:
    old = configured(tmp_path / "one", "")
    anna, berta = (Keys(old).create(owner, models=("m",)) for owner in ("anna", "berta"))
    Keys(old).revoke("berta")
    assert old.file is not None
    old.file.write_text(MODELS + postgresql.toml(name))
    options = ["--config", str(old.file), "--data", str(old.data)]
    command = [sys.executable, "-m", "inhouse", "keys", "import", str(old.data / "inhouse.db")]
    new = load_config(old.file, old.data, {})

    def moved() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, check=False, env=environment()
        )

    done = moved()
    assert (done.returncode, done.stdout) == (0, f"2 keys of {old.data}/inhouse.db\n")
    assert Keys(new).list() == Keys(old).list()
    assert actions(new)[-1] == "imported"
    watcher = KeyWatcher(new)
    watcher.start()
    watcher.stop()
    secrets = [made.token.secret.reveal().encode() for made in (anna, berta)]
    assert [bool(watcher.ring.check(each, time.time())) for each in secrets] == [True, False]
    again = moved()
    assert (again.returncode, again.stdout) == (1, "")
    assert "the database here is not empty: it has api_keys" in again.stderr
    assert actions(new)[-1] == "imported"
    assert Keys(new).list() == Keys(old).list()


def test_keys_under_another_pepper_do_not_move(config: Config, tmp_path: Path) -> None:
    other = configured(tmp_path / "two", "")
    Keys(other).create("anna")
    keys = Keys(config)
    with pytest.raises(NegativeAnswer, match="under another pepper"):
        keys.import_from(other.data / "inhouse.db")
    with pytest.raises(UsageError, match="there is no database"):
        keys.import_from(tmp_path / "nowhere.db")
    assert keys.list() == []
