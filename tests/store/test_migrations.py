"""A database of an earlier release, brought to today's tables with all that it held."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.store.harness import Server

from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.domain import Principal
from inhouse.identity.actor import Actor
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.policy import Denied
from inhouse.identity.users import Users
from inhouse.identity.watch import KeyWatcher
from inhouse.store.database import Database, database_at
from inhouse.store.tables import metadata

LOCAL = Actor.local()
BACK_TO_0002 = (
    *(f"DROP TABLE {name}" for name in ("scim_members", "scim_groups", "scim_users")),
    "DROP TABLE sessions",
    "DROP TABLE review_items",
    "DROP TABLE reviews",
    *(f"DROP TABLE {name}" for name in ("team_members", "users", "teams", "roles", "grants")),
    "DROP TABLE access_requests",
    *(f"ALTER TABLE api_keys DROP COLUMN {name}" for name in ("owner_id", "dialects", "purposes")),
    "UPDATE alembic_version SET version_num = '0002'",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Config:
    store = ""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        store = server.toml(server.database())
    file = tmp_path / "inhouse.toml"
    file.write_text('[models]\nm = "vllm://127.0.0.1:1/m"\n' + store)
    file.chmod(0o600)
    return load_config(file, tmp_path / "data", {})


def back_to_0002(config: Config) -> Database:
    database = database_at(config.database)
    with database.writing() as connection:
        for statement in BACK_TO_0002:
            connection.execute(sa.text(statement))
    return database


def test_owners_become_services_and_no_key_stops_working(config: Config) -> None:
    keys = Keys(config)
    anna, again = keys.create("anna", models=("m",)), keys.create("anna")
    boris = keys.create("boris o'neill")
    keys.revoke(boris.key.id)
    back_to_0002(config)
    watcher = KeyWatcher(config)  # a gateway that starts upgrades it
    watcher.start()
    try:
        directory, now = watcher.directory, time.time()
        principals = []
        for made in (anna, again):
            found = directory.check(made.token.secret.reveal().encode(), now)
            assert isinstance(found, Principal)
            answer = directory.allows(found, "models:use", now, model="m", dialect="openai")
            assert not isinstance(answer, Denied)
            principals.append(found)
        assert directory.allows(principals[0], "models:use", now, model="n") is Denied.CEILING
        assert not isinstance(directory.allows(principals[1], "models:use", now, model="n"), Denied)
        assert principals[0].user == principals[1].user
        assert directory.check(boris.token.secret.reveal().encode(), now) is None
    finally:
        watcher.stop()
    users = {user.name: user for user in Users(Ledger(config)).list(LOCAL)}
    assert set(users) == {"anna", "boris o'neill"}
    assert {user.source for user in users.values()} == {"migration"}
    grants = Grants(Ledger(config)).list(LOCAL)
    assert sorted((g.holder, g.role, g.origin) for g in grants) == sorted(
        (user.id, "service", "migration") for user in users.values()
    )
    assert Keys(config).create("anna").key.owner_id == users["anna"].id


def test_both_kinds_of_database_have_todays_tables(config: Config) -> None:
    Keys(config)
    database = back_to_0002(config)
    database.open(make=False)
    with database.reading() as connection:
        found = sa.inspect(connection)
        for table in metadata.sorted_tables:
            columns = {each["name"]: each["nullable"] for each in found.get_columns(table.name)}
            assert columns == {each.name: each.nullable for each in table.columns}, table.name


def test_an_import_takes_users_and_grants_along(config: Config, tmp_path: Path) -> None:
    old = load_config(None, tmp_path / "old", {})
    made = Keys(old).create("anna")
    Users(Ledger(old)).create(LOCAL, "berta", issuer="https://login.example", subject="b")
    config.secrets_directory.mkdir(parents=True, exist_ok=True)
    for file in old.secrets_directory.glob("pepper.key"):
        (config.secrets_directory / file.name).write_bytes(file.read_bytes())
        (config.secrets_directory / file.name).chmod(0o600)
    assert Keys(config).import_from(old.data / "inhouse.db") == 1
    ledger = Ledger(config)
    assert ledger.state() == Ledger(old).state()
    assert ledger.state().keys[0].id == made.key.id
