"""What these tests share: a configuration over an empty database."""

from pathlib import Path

import pytest
from tests.store.harness import Server

from inhouse.config.load import load_config
from inhouse.config.schema import Config

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
