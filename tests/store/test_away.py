"""A PostgreSQL that is killed, stopped, restarted and put back from a backup, under watchers and
gateways: requests go on, and what changed is followed once it is back."""

import contextlib
import json
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Running, environment, started
from tests.store.harness import PASSWORD, Server

from inhouse.audit.read import records
from inhouse.audit.record import KeyChanged
from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.keys import Keys
from inhouse.identity.watch import KeyWatcher
from inhouse.store.database import DatabaseAway
from inhouse.store.postgresql import PostgresqlDatabase

MODELS = '[models]\nm = "vllm://127.0.0.1:1/m"\n'
FAKE = [sys.executable, "-m", "inhouse", "fake-engine", "--json"]
BACK_S = 10
FROZEN_S = 40
TROUBLES = 20


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A server that these tests may ill-treat."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def server(own_server: Server) -> Server:
    own_server.recover()
    return own_server


@pytest.fixture
def config(tmp_path: Path, server: Server) -> Config:
    file = tmp_path / "inhouse.toml"
    file.write_text(MODELS + server.toml(server.database()))
    return load_config(file, tmp_path / "data", {})


@contextlib.contextmanager
def following(config: Config) -> Iterator[KeyWatcher]:
    watcher = KeyWatcher(config, poll_s=0.1)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def eventually(condition: Callable[[], object], within_s: float = BACK_S) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def works(watcher: KeyWatcher, secret: str) -> bool:
    return watcher.ring.check(secret.encode(), time.time()) is not None


def made(config: Config, owner: str = "anna") -> str:
    return Keys(config).create(owner).token.secret.reveal()


@pytest.mark.parametrize("how", ["killed", "stopped in order", "frozen"])
def test_a_server_that_goes_and_comes_back(
    config: Config, server: Server, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    anna, berta = made(config), made(config, "berta")
    with following(config) as watcher:
        assert works(watcher, anna)
        {"killed": server.kill, "stopped in order": server.stop, "frozen": server.pause}[how]()
        eventually(lambda: watcher.away_since is not None, FROZEN_S)
        assert works(watcher, anna)
        with pytest.raises(DatabaseAway, match="is away: "):
            Keys(config)
        server.recover()
        eventually(lambda: watcher.away_since is None)
        Keys(config).revoke("anna")
        eventually(lambda: not works(watcher, anna))
        assert works(watcher, berta)
    assert "a key revoked since then still works" in caplog.text
    assert "the store is back; keys are current" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_connection_that_was_cut_is_made_anew_without_a_word(
    config: Config, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    anna = made(config)
    with following(config) as watcher:
        for _ in range(3):
            server.cut()
            time.sleep(0.3)
        assert watcher.away_since is None
        Keys(config).revoke("anna")
        eventually(lambda: not works(watcher, anna))
    assert "still works" not in caplog.text


def test_a_data_directory_that_is_put_back_is_noticed(
    config: Config, server: Server, tmp_path: Path
) -> None:
    anna = made(config)
    server.stop()
    backup = tmp_path / "backup"
    shutil.copytree(server.data, backup)
    server.start()
    with following(config) as watcher:
        Keys(config).revoke("anna")
        eventually(lambda: not works(watcher, anna))
        server.stop()
        server.copy_back(backup)
        server.start()
        made(config, "berta")  # so that the revision is that of the revocation
        eventually(lambda: works(watcher, anna))


def test_a_commit_whose_outcome_nobody_can_tell(
    config: Config, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(config)
    real = PostgresqlDatabase._commit

    def killed(self: PostgresqlDatabase, transaction: Any, token: object) -> None:
        server.kill()
        real(self, transaction, token)

    with monkeypatch.context() as patched:
        patched.setattr(PostgresqlDatabase, "_commit", killed)
        with pytest.raises(DatabaseAway, match="it is not known whether it was made; look once"):
            keys.create("anna")
    changes = [each for each in records(config.audit_directory) if isinstance(each, KeyChanged)]
    assert [each.action for each in changes] == ["created", "create-failed"]
    assert "it is not known whether it was made" in changes[1].after["failed"]
    server.recover()
    assert keys.list() == []


# Starts while it is away


def test_a_start_without_a_snapshot_is_refused(config: Config, server: Server) -> None:
    every = (["up"], ["keys", "list"], ["keys", "create", "anna"])
    for leave, commands in ((server.kill, every), (server.pause, every[:1])):
        server.recover()
        leave()
        with pytest.raises(DatabaseAway, match="is away: "):
            KeyWatcher(config)
        options = ["--config", str(config.file), "--data", str(config.data)]
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "inhouse", *command, *options],
                capture_output=True, text=True, check=False, env=environment(), timeout=60,
            )  # fmt: skip
            assert done.returncode == 2
            (line,) = [each for each in done.stderr.splitlines() if each.startswith("inhouse: ")]
            assert line.startswith(f"inhouse: the database {config.database} is away: ")
            assert "Traceback" not in done.stderr
            assert PASSWORD not in done.stderr + done.stdout


def test_a_start_from_the_last_good_snapshot(
    config: Config, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    anna, berta, carl = made(config), made(config, "berta"), made(config, "carl")
    with following(config):
        Keys(config).revoke("carl")
        eventually(lambda: b'"owner":"carl"' not in snapshot_of(config).read_bytes())
    assert snapshot_of(config).stat().st_mode & 0o777 == 0o600
    server.kill()
    with following(config) as watcher:
        assert "starting with 2 keys as they were at 20" in caplog.text
        assert watcher.away_since is not None
        assert [works(watcher, secret) for secret in (anna, berta, carl)] == [True, True, False]
        server.recover()
        eventually(lambda: watcher.away_since is None)
        Keys(config).revoke("anna")
        eventually(lambda: not works(watcher, anna))
        assert works(watcher, berta)


def snapshot_of(config: Config) -> Path:
    return config.data / "keys.snapshot"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoilt", ["changed", "cut", "empty", "another pepper", "another place"])
def test_a_snapshot_that_is_not_ours_is_none(config: Config, server: Server, spoilt: str) -> None:
    made(config)
    with following(config):
        pass
    path = snapshot_of(config)
    match spoilt:
        case "changed":
            flip(path)
        case "cut":
            path.write_bytes(path.read_bytes()[:-10])
        case "empty":
            path.write_bytes(b"")
        case "another pepper":
            (config.secrets_directory / "pepper.key").write_bytes(bytes(32))
        case "another place":
            assert config.file is not None
            config.file.write_text(MODELS + server.toml("elsewhere"))
            config = load_config(config.file, config.data, {})
    server.kill()
    with pytest.raises(DatabaseAway, match="is away: "):
        KeyWatcher(config)


@pytest.mark.parametrize("change", ["newer", "empty", "another pepper"])
def test_what_comes_back_must_be_what_went(
    config: Config, server: Server, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway that started from its snapshot takes no database of another release, no empty
    one and no other one's keys in place of what it has."""
    anna = made(config)
    with following(config):
        pass
    name = str(config.database).rpartition("/")[2]
    statement, said = {
        "newer": ("UPDATE alembic_version SET version_num = '9999'", "made by a newer release"),
        "empty": ("DROP SCHEMA public CASCADE; CREATE SCHEMA public", "is empty; restore its"),
        "another pepper": ("UPDATE pepper SET proof = sha256('x')", "is not the pepper of"),
    }[change]
    server.admin(statement, name)
    server.kill()
    with following(config) as watcher:
        server.recover()
        eventually(lambda: said in caplog.text)
        assert watcher.away_since is not None
        assert works(watcher, anna)


def test_a_snapshot_that_cannot_be_written_is_told_and_keys_are_followed(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    anna = made(config)
    with following(config) as watcher:
        path = snapshot_of(config)
        path.unlink()
        path.mkdir()
        (path / "in the way").touch()
        Keys(config).revoke("anna")
        eventually(lambda: not works(watcher, anna))
        assert watcher.away_since is None
    assert "keys.snapshot cannot be written" in caplog.text


# Whatever comes in whatever order


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_any_troubles_the_rings_the_database_and_the_log_agree(
    config: Config, server: Server, seed: int
) -> None:
    """Changes, while the server is killed, frozen, restarted and cut off as chance has it."""
    chance = random.Random(seed)
    keys = Keys(config)
    secrets: dict[str, str] = {}
    failed = 0
    done = threading.Event()
    troubles = threading.Thread(target=trouble, args=(server, random.Random(seed), done))
    with following(config) as first, following(config) as second:
        troubles.start()
        while not done.is_set():
            try:
                change(keys, chance, secrets)
            except (UsageError, NegativeAnswer):
                failed += 1
        troubles.join()
        server.recover()
        live = {key.id for key in keys.list() if key.revoked is None}
        for watcher in (first, second):
            agree(watcher, secrets, live & secrets.keys())
    known, unknown = recorded(config)
    assert live - unknown == known - unknown
    assert failed, "no trouble met a change"


def trouble(server: Server, chance: random.Random, done: threading.Event) -> None:
    try:
        for _ in range(TROUBLES):
            time.sleep(chance.random() * 0.3)
            one_trouble(server, chance)
    finally:
        done.set()


def one_trouble(server: Server, chance: random.Random) -> None:
    match chance.randrange(3):
        case 0:
            server.kill()
            server.start()
        case 1:
            server.pause()
            time.sleep(chance.random() * 0.5)
            server.resume()
        case _:
            server.cut()


def change(keys: Keys, chance: random.Random, secrets: dict[str, str]) -> None:
    if chance.random() < 0.4 and secrets:
        keys.revoke(chance.choice(list(secrets)))
    else:
        made = keys.create(f"owner {chance.randrange(5)}")
        secrets[made.key.id] = made.token.secret.reveal()


def agree(watcher: KeyWatcher, secrets: dict[str, str], live: set[str]) -> None:
    def agrees() -> bool:
        held = {key_id for key_id, secret in secrets.items() if works(watcher, secret)}
        return watcher.away_since is None and held == live

    eventually(agrees, FROZEN_S)


def recorded(config: Config) -> tuple[set[str], set[str]]:
    """The ids that the audit log has as live, and those of which it says that it is not known."""
    live: set[str] = set()
    unknown: set[str] = set()
    for record in records(config.audit_directory):
        if isinstance(record, KeyChanged):
            gone = record.action in ("revoked", "create-failed")
            (live.discard if gone else live.add)(record.key_id)
            if "it is not known" in record.after.get("failed", ""):
                unknown.add(record.key_id)
    return live, unknown


# Gateways


@pytest.fixture
def engine() -> Iterator[str]:
    with subprocess.Popen(FAKE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["url"])
        process.terminate()


def status(running: Running, key: str) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{running.url}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def command(running: Running, *arguments: str) -> str:
    options = ["--config", str(running.data.with_suffix(".toml")), "--data", str(running.data)]
    done = subprocess.run(
        [sys.executable, "-m", "inhouse", "keys", *arguments, *options],
        capture_output=True, text=True, check=True, env=environment(), timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def ready(running: Running) -> str:
    with urllib.request.urlopen(f"{running.admin_url}/readyz", timeout=10) as answer:
        return str(answer.read().decode())


def test_gateways_serve_while_it_is_away(server: Server, tmp_path: Path, engine: str) -> None:
    toml = server.toml(server.database())
    toml += f'[models]\nm = "{engine.replace("http", "openai")}/m"\n'
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    with started(tmp_path / "one", toml, log=logs[0]) as running:
        berta = command(running, "create", "berta")
        assert [status(running, key) for key in (running.key, berta)] == [200, 200]
        server.kill()
        eventually(lambda: "store is away" in ready(running))
        assert [status(running, key) for key in (running.key, berta)] == [200, 200]
        server.recover()
        eventually(lambda: "store is away" not in ready(running))
        command(running, "revoke", "berta")
        assert [status(running, key) for key in (running.key, berta)] == [200, 401]
        key = running.key
        assert running.stop() == 0
        server.kill()
    with started(tmp_path / "one", toml, log=logs[1]) as running:
        assert running.key is None
        assert [status(running, each) for each in (key, berta)] == [200, 401]
        server.recover()
        eventually(lambda: "store is away" not in ready(running))
        carl = command(running, "create", "carl")
        with started_beside(running, tmp_path, toml) as other:
            assert status(other, carl) == 200
            command(running, "revoke", "carl")
            assert [status(each, carl) for each in (running, other)] == [401, 401]
        server.pause()
        assert status(running, key) == 200
        assert running.stop() == 0
        server.resume()
    assert "starting with 1 keys" in logs[1].read_text()
    assert not any(PASSWORD in log.read_text() for log in logs)


@contextlib.contextmanager
def started_beside(running: Running, tmp_path: Path, toml: str) -> Iterator[Running]:
    """A second gateway with a data directory of its own, and the pepper of the first."""
    secrets = tmp_path / "two" / "secrets"
    secrets.mkdir(parents=True, mode=0o700)
    shutil.copy2(running.data / "secrets" / "pepper.key", secrets)
    with started(tmp_path / "two", toml) as other:
        yield other


def test_a_start_that_the_database_refuses_says_so(config: Config, server: Server) -> None:
    made(config)
    name = str(config.database).rpartition("/")[2]
    server.admin("UPDATE pepper SET proof = sha256('x')", name)
    with pytest.raises(UsageError, match="is not the pepper of the keys in"):
        KeyWatcher(config)
