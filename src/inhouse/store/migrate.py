"""Brings a database to today's schema, by the migrations that ship with the package."""

import threading
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

_ONE = threading.Lock()  # alembic keeps what it works on in its modules


def upgrade(connection: sa.Connection) -> None:
    """Run what is missing, all of it in the transaction of `connection`."""
    config = Config()
    directory = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ONE:
        command.upgrade(config, "head")
