"""What these tests share: a configuration over an empty database."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.identity.provisioning import Provider
from tests.store.harness import Server

from inhouse.config.load import load_config
from inhouse.config.schema import Config
from inhouse.identity.watch import KeyWatcher

MODELS = '[models]\nm = "vllm://127.0.0.1:1/m"\n'


@pytest.fixture(params=["sqlite", "postgresql"])
def config(tmp_path: Path, request: pytest.FixtureRequest) -> Config:
    """Over a database of either kind."""
    store = ""
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        store = server.toml(server.database())
    return written(tmp_path, store)


@pytest.fixture
def in_a_file(tmp_path: Path) -> Config:
    """For what only a file can suffer."""
    return written(tmp_path, "")


def written(directory: Path, store: str) -> Config:
    file = directory / "inhouse.toml"
    file.write_text(MODELS + store)
    file.chmod(0o600)
    return load_config(file, directory / "data", {})


@pytest.fixture
def watcher(config: Config) -> Iterator[KeyWatcher]:
    """As a gateway has one: it follows by itself."""
    watcher = KeyWatcher(config)
    watcher.start()
    yield watcher
    watcher.stop()


@pytest.fixture
def provider(config: Config, watcher: KeyWatcher) -> Provider:
    return Provider(config, watcher)


@pytest.fixture
def local_provider(in_a_file: Config) -> Iterator[Provider]:
    """Over SQLite alone, for what has nothing to do with the database."""
    watcher = KeyWatcher(in_a_file)
    watcher.start()
    yield Provider(in_a_file, watcher)
    watcher.stop()
