"""Keys: their form, the check, their life, and how a gateway follows it."""

import hmac
import re
import string
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.audit.read import records
from inhouse.audit.record import KeyChanged
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable, InhouseError, NegativeAnswer, UsageError
from inhouse.identity.keyring import KeyRing
from inhouse.identity.keys import Keys, state_of
from inhouse.identity.token import PATTERN, new_id, new_token
from inhouse.identity.watch import KeyWatcher
from inhouse.store.keys import StoredKey, StoredSecret

PEPPER = bytes(32)


def ring_of(secret: bytes, **changes: object) -> KeyRing:
    digest = hmac.digest(PEPPER, secret, "sha256")
    facts = {"created": 0.0, "expires": 100.0, "secrets": (StoredSecret(digest, 0.0),), **changes}
    key_id = secret.decode()[4:14]
    ring = KeyRing(PEPPER)
    ring.replace([StoredKey(key_id, "anna", None, **facts)])  # type: ignore[arg-type]
    return ring


def fresh() -> bytes:
    return new_token(new_id()).secret.reveal().encode()


def test_the_form() -> None:
    token = new_token(new_id())
    secret = token.secret.reveal()
    assert re.fullmatch(PATTERN, secret)
    assert secret not in repr(token)


def test_the_checksum_is_the_one_that_is_documented() -> None:
    """CRC-32 of what stands before, in base 62."""
    body, _, checksum = fresh().decode().rpartition("_")
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    number = 0
    for digit in checksum:
        number = number * 62 + digits.index(digit)
    assert number == zlib.crc32(body.encode())


def test_a_key_is_good_until_the_second_it_expires() -> None:
    secret = fresh()
    ring = ring_of(secret)
    principal = ring.check(secret, 99.9)
    assert principal is not None
    assert principal.name == "anna"
    assert ring.check(secret, 100.0) is None
    assert ring.check(secret + b"x", 1.0) is None
    assert ring.check(fresh(), 1.0) is None


def test_a_revoked_key_is_not_held() -> None:
    secret = fresh()
    assert ring_of(secret, revoked=5.0).check(secret, 1.0) is None


def test_an_old_secret_ends_with_its_overlap() -> None:
    secret = fresh()
    digest = hmac.digest(PEPPER, secret, "sha256")
    ring = ring_of(secret, secrets=(StoredSecret(digest, 0.0, 50.0),))
    assert ring.check(secret, 49.0) is not None
    assert ring.check(secret, 50.0) is None


@given(st.binary(max_size=120))
def test_nothing_that_is_presented_raises(presented: bytes) -> None:
    ring = ring_of(b"ihk_" + b"a" * 10 + b"_" + b"b" * 43 + b"_" + b"c" * 6)
    assert ring.check(presented, 1.0) is None


def test_a_life_is_recorded_and_no_secret_is_kept(config: Config) -> None:
    keys = Keys(config)
    made = keys.create("anna", models=("m",))
    rotated = keys.rotate("anna")
    keys.revoke(made.key.id)
    assert [state_of(key, time.time()) for key in keys.list()] == ["revoked"]
    changes = [r for r in records(config.audit_directory) if isinstance(r, KeyChanged)]
    assert [change.action for change in changes] == ["created", "rotated", "revoked"]
    assert changes[0].after["models"] == "m"
    for token in (made.token, rotated.token):
        secret = token.secret.reveal().encode()
        for file in config.data.rglob("*"):
            assert not file.is_file() or secret not in file.read_bytes(), file


def test_without_the_log_nothing_is_changed(config: Config) -> None:
    keys = Keys(config)
    config.audit_directory.write_text("a file where the log should be")
    with pytest.raises((UsageError, AuditUnavailable)):
        keys.create("anna")
    assert keys.list() == []


def test_unknown_and_ambiguous_names(config: Config) -> None:
    keys = Keys(config)
    keys.create("anna")
    with pytest.raises(NegativeAnswer, match="there is no live key 'ana'; near: anna"):
        keys.revoke("ana")
    keys.create("anna")
    with pytest.raises(NegativeAnswer, match="'anna' has several keys"):
        keys.revoke("anna")
    for owner in ("", " ", "a\nb", "x" * 201):
        with pytest.raises(UsageError):
            keys.create(owner)
    with pytest.raises(UsageError, match="would have expired"):
        keys.create("anna", expires=1.0)


@pytest.fixture
def watcher(config: Config) -> Iterator[KeyWatcher]:
    watcher = KeyWatcher(config, poll_s=0.05)
    watcher.start()
    yield watcher
    watcher.stop()


def command(config: Config, *arguments: str) -> str:
    options = ["--config", str(config.file), "--data", str(config.data)]
    done = subprocess.run(
        [sys.executable, "-m", "inhouse", "keys", *arguments, *options],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def eventually(condition: "object") -> None:
    end = time.monotonic() + 5
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_gateway_follows_what_another_process_does(config: Config, watcher: KeyWatcher) -> None:
    secret = command(config, "create", "anna").encode()
    eventually(lambda: watcher.ring.check(secret, time.time()))
    rotated = command(config, "rotate", "anna", "--overlap", "0h").encode()
    eventually(lambda: watcher.ring.check(rotated, time.time()))
    assert watcher.ring.check(secret, time.time()) is None
    assert secret.decode() not in command(config, "list", "--json", "--all")
    command(config, "revoke", "anna")
    eventually(lambda: watcher.ring.check(rotated, time.time()) is None)


def test_a_file_that_is_spoilt_changes_nothing(in_a_file: Config) -> None:
    config = in_a_file
    watcher = KeyWatcher(config, poll_s=0.05)
    watcher.start()
    secret = command(config, "create", "anna").encode()
    eventually(lambda: watcher.ring.check(secret, time.time()))
    database = config.data / "inhouse.db"
    kept = {path: path.read_bytes() for path in config.data.glob("inhouse.db*")}
    for path in kept:
        path.write_bytes(b"this is no database" * 100)
    time.sleep(0.3)
    assert watcher.ring.check(secret, time.time())
    for path, content in kept.items():
        path.write_bytes(content)
    watcher.stop()
    assert database.exists()


def test_a_newer_or_broken_database_is_told(in_a_file: Config) -> None:
    config = in_a_file
    Keys(config)
    database = config.data / "inhouse.db"
    subprocess.run(
        [sys.executable, "-c", "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "
         "c.execute(\"UPDATE alembic_version SET version_num = '9999'\"); c.commit(); c.close()",
         str(database)],
        check=True,
    )  # fmt: skip
    with pytest.raises(UsageError, match="made by a newer release"):
        Keys(config)
    for path in config.data.glob("inhouse.db*"):
        path.unlink()
    database.write_bytes(b"garbage" * 1000)
    with pytest.raises(InhouseError, match="cannot be used"):
        Keys(config)
