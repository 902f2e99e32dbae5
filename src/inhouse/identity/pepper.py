"""The pepper of all digests: made with the first key, and never silently made anew."""

from inhouse.config.keyfile import read_existing, read_or_create
from inhouse.config.schema import Config
from inhouse.errors import UsageError
from inhouse.store import keys as store
from inhouse.store.database import Database


def pepper(config: Config, database: Database) -> bytes:
    """The 32 bytes under which digests are kept. Raises UsageError where the store has digests
    and the pepper is gone: under another one, no key would work."""
    path = config.secrets_directory / "pepper.key"
    with database.reading() as connection:
        needed = store.has_secrets(connection)
    if not needed:
        return read_or_create(path)
    if not path.exists():
        raise UsageError(
            f"{path} is missing; restore it from backup: without it no key in {database.path} works"
        )
    return read_existing(path)
