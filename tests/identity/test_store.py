"""The store when things go wrong: bad rows, locks, swapped and missing files, two at once."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.conftest import environment

from inhouse.audit.log import append_once
from inhouse.audit.read import records
from inhouse.audit.record import KeyChanged
from inhouse.config.load import load_config
from inhouse.config.place import SqliteFile
from inhouse.config.schema import Config
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.keys import DAY_S, Keys, live_secrets, old_secret_ends
from inhouse.identity.watch import KeyWatcher
from inhouse.store.postgresql import WRITERS


def path_of(config: Config) -> Path:
    assert isinstance(config.database, SqliteFile)
    return config.database.path


@contextlib.contextmanager
def following(config: Config) -> Iterator[KeyWatcher]:
    watcher = KeyWatcher(config, poll_s=0.02)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


@pytest.fixture
def watcher(config: Config) -> Iterator[KeyWatcher]:
    with following(config) as watcher:
        yield watcher


@contextlib.contextmanager
def connected(config: Config) -> Iterator[Any]:
    """A connection of somebody else, which commits where it says so."""
    place = config.database
    if isinstance(place, SqliteFile):
        with contextlib.closing(
            sqlite3.connect(place.path, timeout=10, isolation_level=None)
        ) as file:
            yield file
        return
    with contextlib.closing(
        psycopg.connect(
            host=place.host, port=place.port, user=place.user, dbname=place.name,
            password=place.password.reveal(), autocommit=True,
        )
    ) as connection:  # fmt: skip
        yield connection


def sql(config: Config, statement: str) -> None:
    with connected(config) as connection:
        connection.execute("BEGIN")
        connection.execute(statement)
        connection.execute("UPDATE revision SET value = value + 1")
        connection.execute("COMMIT")


def eventually(condition: "object", within_s: float = 5) -> None:
    end = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def works(watcher: KeyWatcher, secret: str) -> bool:
    return watcher.ring.check(secret.encode(), time.time()) is not None


def command(config: Config, *arguments: str) -> list[str]:
    options = ["--config", str(config.file), "--data", str(config.data)]
    return [sys.executable, "-m", "inhouse", "keys", *arguments, *options]


def start(config: Config, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(config, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def run(config: Config, *arguments: str) -> tuple[int, str, str]:
    process = start(config, *arguments)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def actions(config: Config) -> list[str]:
    return [r.action for r in records(config.audit_directory) if isinstance(r, KeyChanged)]


BAD_ROWS = [
    "UPDATE api_keys SET models = '[' WHERE owner = 'bad'",
    "UPDATE api_keys SET models = '3' WHERE owner = 'bad'",
    "UPDATE api_keys SET models = '[3]' WHERE owner = 'bad'",
    "UPDATE api_keys SET expires = 9e300 WHERE owner = 'bad'",
    "UPDATE api_keys SET revoked = -1 WHERE owner = 'bad'",
    "UPDATE api_key_secrets SET digest = '' WHERE key_id = "
    "(SELECT id FROM api_keys WHERE owner = 'bad')",
]
UNTYPED_ROWS = [  # which only SQLite lets in
    "UPDATE api_keys SET expires = 'never' WHERE owner = 'bad'",
    "UPDATE api_keys SET revoked = 'yes' WHERE owner = 'bad'",
    "UPDATE api_keys SET owner = x'ff' WHERE owner = 'bad'",
    "UPDATE api_key_secrets SET digest = 'text' WHERE key_id = "
    "(SELECT id FROM api_keys WHERE owner = 'bad')",
]


@pytest.mark.parametrize("statement", BAD_ROWS)
def test_a_row_that_makes_no_sense_is_that_keys_end_alone(
    config: Config, watcher: KeyWatcher, statement: str
) -> None:
    spoil_one_of_two(config, watcher, statement)


@pytest.mark.parametrize("statement", UNTYPED_ROWS)
def test_a_value_of_another_type_is_that_keys_end_alone(in_a_file: Config, statement: str) -> None:
    with following(in_a_file) as watcher:
        spoil_one_of_two(in_a_file, watcher, statement)


def spoil_one_of_two(config: Config, watcher: KeyWatcher, statement: str) -> None:
    keys = Keys(config)
    good, bad = keys.create("good"), keys.create("bad")
    eventually(lambda: works(watcher, bad.token.secret.reveal()))
    sql(config, statement)
    eventually(lambda: not works(watcher, bad.token.secret.reveal()))
    assert works(watcher, good.token.secret.reveal())
    keys.revoke("good")
    eventually(lambda: not works(watcher, good.token.secret.reveal()))
    assert watcher.away_since is None


def test_a_watcher_that_cannot_read_says_since_when_and_lives_on(
    config: Config, watcher: KeyWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    made = Keys(config).create("anna")
    eventually(lambda: works(watcher, made.token.secret.reveal()))
    assert watcher.away_since is None
    sql(config, "ALTER TABLE api_keys RENAME TO elsewhere")
    eventually(lambda: watcher.away_since is not None)
    assert works(watcher, made.token.secret.reveal())
    sql(config, "ALTER TABLE elsewhere RENAME TO api_keys")
    eventually(lambda: watcher.away_since is None)
    assert "a key revoked since then still works" in caplog.text


def test_whatever_goes_wrong_the_watcher_lives(
    config: Config, watcher: KeyWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(watcher.ring, "replace", None)  # a fault of our own: TypeError
        made = Keys(config).create("anna")
        eventually(lambda: watcher.away_since is not None)
    eventually(lambda: works(watcher, made.token.secret.reveal()))


def test_a_database_that_is_put_in_place_of_another_is_noticed(
    in_a_file: Config, tmp_path: Path
) -> None:
    with following(in_a_file) as watcher:
        keys = Keys(in_a_file)
        anna = keys.create("anna").token.secret.reveal()
        eventually(lambda: works(watcher, anna))
        backup = tmp_path / "backup.db"
        with contextlib.closing(sqlite3.connect(path_of(in_a_file))) as source:
            source.execute("VACUUM INTO ?", (str(backup),))
        keys.revoke("anna")
        eventually(lambda: not works(watcher, anna))
        sql(in_a_file, "UPDATE revision SET value = 0")  # so that revision 1 is both files'
        with contextlib.closing(sqlite3.connect(backup)) as connection:
            connection.execute("UPDATE revision SET value = 1")
            connection.commit()
        shutil.move(backup, path_of(in_a_file))
        eventually(lambda: works(watcher, anna))


def test_a_database_that_is_deleted_is_away_and_not_made_anew(in_a_file: Config) -> None:
    with following(in_a_file) as watcher:
        anna = Keys(in_a_file).create("anna").token.secret.reveal()
        eventually(lambda: works(watcher, anna))
        path_of(in_a_file).unlink()
        eventually(lambda: watcher.away_since is not None)
        time.sleep(0.1)
        assert works(watcher, anna)
        assert not path_of(in_a_file).exists()


def test_a_pepper_that_is_gone_is_not_replaced(config: Config) -> None:
    Keys(config).create("anna")
    pepper = config.secrets_directory / "pepper.key"
    pepper.unlink()
    for make in (Keys, KeyWatcher):
        with pytest.raises(UsageError, match=r"pepper\.key is missing; .*restore it from backup"):
            make(config)
    assert not pepper.exists()


@pytest.mark.parametrize("arguments", [("list",), ("revoke", "x"), ("rotate", "x")])
def test_without_a_database_nothing_is_made(config: Config, arguments: tuple[str, ...]) -> None:
    status, out, err = run(config, *arguments)
    in_a_file = isinstance(config.database, SqliteFile)
    where = config.data if in_a_file else config.database
    assert (status, out, err) == (2, "", f"inhouse: there are no keys in {where}\n")
    assert not config.data.exists()


def test_the_first_key_says_that_the_directory_is_new(config: Config) -> None:
    in_a_file = isinstance(config.database, SqliteFile)
    where = config.data if in_a_file else config.database
    assert f"{where} is new" in run(config, "create", "anna")[2]
    assert "is new" not in run(config, "create", "berta")[2]


def test_what_a_lock_keeps_from_happening_is_not_in_the_log(config: Config) -> None:
    Keys(config).create("anna")
    with connected(config) as other:
        if isinstance(config.database, SqliteFile):
            other.execute("BEGIN IMMEDIATE")
        else:
            other.execute("BEGIN")
            other.execute("SELECT pg_advisory_xact_lock(%s)", (WRITERS,))
        changes = (("revoke", "anna"), ("rotate", "anna"), ("create", "berta"))
        for process in [start(config, *arguments) for arguments in changes]:
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out) == (2, "")
            assert "is locked by another process; nothing was changed" in err
            assert "Traceback" not in err
        other.execute("ROLLBACK")
    assert actions(config) == ["created"]
    assert run(config, "revoke", "anna")[0] == 0


def test_a_change_that_is_not_committed_is_taken_back_in_the_log(config: Config) -> None:
    keys = Keys(config)
    keys.create("anna")
    if isinstance(config.database, SqliteFile):
        sql(config, "CREATE TRIGGER no BEFORE UPDATE ON revision WHEN OLD.value > 2 "
                    "BEGIN SELECT RAISE(FAIL, 'the disk is full'); END")  # fmt: skip
    else:
        sql(config, "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN RAISE 'the disk is full'; END $$")  # fmt: skip
        sql(config, "CREATE CONSTRAINT TRIGGER no AFTER UPDATE ON revision DEFERRABLE INITIALLY "
                    "DEFERRED FOR EACH ROW WHEN (OLD.value > 3) EXECUTE FUNCTION no()")  # fmt: skip
    sql(config, "SELECT 1")
    for change in (lambda: keys.revoke("anna"), lambda: keys.rotate("anna")):
        with pytest.raises(UsageError, match="the disk is full"):
            change()
    with pytest.raises(UsageError, match="the disk is full"):
        keys.create("berta")
    assert actions(config) == [
        "created", "revoked", "revoke-failed", "rotated", "rotate-failed", "created",
        "create-failed",
    ]  # fmt: skip
    assert [key.revoked for key in keys.list()] == [None]


def test_first_commands_at_once(config: Config) -> None:
    processes = [start(config, "create", f"owner {number}") for number in range(4)]
    ended = [(each.communicate(timeout=60), each.returncode) for each in processes]
    assert [status for _, status in ended] == [0, 0, 0, 0], [err for (_, err), _ in ended]
    assert len(Keys(config).list()) == 4
    beside = {path.name for path in config.data.iterdir()} - {"secrets", "audit"}
    if isinstance(config.database, SqliteFile):
        assert beside <= {"inhouse.db", "inhouse.db-wal", "inhouse.db-shm"}
        assert config.database.path.stat().st_mode & 0o777 == 0o600
    else:
        assert beside == set()


def test_two_rotations_at_once_end_no_secret_unasked(config: Config) -> None:
    Keys(config).create("anna")
    processes = [start(config, "rotate", "anna") for _ in range(2)]
    ended = [each.communicate(timeout=60) for each in processes]
    assert sorted(each.returncode for each in processes) == [0, 1]
    (refused,) = [err for out, err in ended if not out]
    assert "was rotated already, and its old secret works until" in refused
    (made,) = [err for out, err in ended if out]
    assert "the old secret works until 20" in made


def test_rotations_one_after_another(config: Config) -> None:
    now = [1_000_000.0]
    keys = Keys(config, clock=lambda: now[0])
    keys.create("anna")
    assert keys.rotate("anna", overlap_s=0).old_secret_ends == now[0]
    with pytest.raises(NegativeAnswer, match="less than 60 s ago; give --overlap"):
        keys.rotate("anna")
    now[0] += 61
    keys.rotate("anna")
    with pytest.raises(NegativeAnswer, match="rotated already, and its old secret works until"):
        keys.rotate("anna")
    made = keys.rotate("anna", overlap_s=3600)
    assert live_secrets(made.key, now[0]) == 3
    assert old_secret_ends(made.key, now[0]) == now[0] + 3600
    now[0] += 3600
    assert live_secrets(keys.list()[0], now[0]) == 1


def test_an_expired_key_is_not_live_by_name(config: Config) -> None:
    now = [1_000_000.0]
    keys = Keys(config, clock=lambda: now[0])
    old = keys.create("anna", expires=now[0] + 10)
    now[0] += 20
    with pytest.raises(NegativeAnswer, match="there is no live key 'anna'"):
        keys.revoke("anna")
    new = keys.create("anna")
    assert new.others == ()
    assert keys.revoke("anna").id == new.key.id
    assert keys.revoke(old.key.id).revoked


def test_a_key_lives_ten_years_at_most(config: Config) -> None:
    keys = Keys(config)
    keys.create("anna", expires=time.time() + 3650 * DAY_S - 60)
    with pytest.raises(UsageError, match="lives for at most 3650 days"):
        keys.create("anna", expires=time.time() + 3650 * DAY_S + 60)
    assert run(config, "create", "x", "--expires", "0001-01-01T00:00+14:00")[0] == 2


def test_a_second_key_of_an_owner_is_noted(config: Config) -> None:
    first = run(config, "create", "anna")
    assert "another key" not in first[2]
    second = run(config, "create", "anna")
    assert "note: anna has another key already: " in second[2]
    assert second[0] == 0


def test_the_list_is_never_cut(config: Config) -> None:
    keys = Keys(config)
    owner, models = "o" * 200, tuple(f"model-{number}" for number in range(30))
    made = keys.create(owner, models=models)
    keys.rotate(made.key.id)
    out = run(config, "list")[1]
    head, row = out.splitlines()
    assert row.startswith(f"{made.key.id}  {owner}  {', '.join(models)}  active, 2 secrets until 2")
    assert head.index("models") == row.index("model-0")
    assert row.endswith("Z  never")


def test_a_secret_that_cannot_be_shown_is_named(config: Config) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(config, "create", "anna"),
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment(),
        )  # fmt: skip
    assert done.returncode == 2
    key = Keys(config).list()[0].id
    assert f"run: inhouse keys revoke {key}" in done.stderr


def test_the_actor_is_the_systems_word_not_a_variables(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    monkeypatch.setenv("SUDO_USER", "anna")
    Keys(config).create("anna")
    (change,) = [r for r in records(config.audit_directory) if isinstance(r, KeyChanged)]
    assert "mallory" not in change.actor
    assert change.actor.endswith(" (sudo by anna)")


def test_a_reader_sees_a_whole_database_or_none(in_a_file: Config) -> None:
    """While it is made, whoever looks finds no half of it."""
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with contextlib.suppress(sqlite3.OperationalError):
                address = f"file:{path_of(in_a_file)}?mode=ro"
                with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
                    seen.add(connection.execute("SELECT count(*) FROM revision").fetchone()[0])

    looking = threading.Thread(target=look)
    looking.start()
    Keys(in_a_file)
    time.sleep(0.1)
    done.set()
    looking.join()
    assert seen == {1}


def test_another_users_directory_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "theirs"
    data.mkdir()
    if os.geteuid() == 0:
        os.chown(data, 4_242_424, -1)
    else:
        data = Path("/")
    name = "uid:4242424" if os.geteuid() == 0 else "root"
    for arguments in (["keys", "create", "anna"], ["keys", "list"], ["up"]):
        done = subprocess.run(
            [sys.executable, "-m", "inhouse", *arguments, "--data", str(data)],
            capture_output=True, text=True, check=False, env=environment(), cwd=tmp_path,
        )  # fmt: skip
        sentence = f"inhouse: {data} belongs to {name}; run this as {name}\n"
        assert (done.returncode, done.stderr) == (2, sentence)
    assert os.geteuid() != 0 or list(data.iterdir()) == []


def test_an_interrupt_behind_the_record_is_told(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C when the record is durable, and the call that wrote it has not come back."""
    real, calls = append_once, []

    def interrupted(*arguments: Any) -> None:
        real(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt

    keys = Keys(config)
    monkeypatch.setattr("inhouse.identity.ledger.append_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keys.create("anna")
    changes = [each for each in records(config.audit_directory) if isinstance(each, KeyChanged)]
    assert [change.action for change in changes] == ["created", "create-failed"]
    assert keys.list() == []


def test_a_path_that_is_no_utf_8(tmp_path: Path) -> None:
    data = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9ta"))
    config = load_config(None, data, {})
    made = Keys(config).create("anna").key
    assert [key.id for key in Keys(config).list()] == [made.id]
