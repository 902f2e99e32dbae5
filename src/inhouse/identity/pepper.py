"""The pepper of all digests: made with the first key, and never silently made anew.

All gateways on one database have the same one, each in its own DATA/secrets. The database holds a
proof of it, so that a gateway with another one says so, and does not refuse every key instead.
"""

import hmac
from pathlib import Path

from inhouse.config.keyfile import read_existing, read_or_create
from inhouse.config.schema import Config
from inhouse.errors import UsageError
from inhouse.store import keys as store
from inhouse.store.database import Database, Transaction
from inhouse.store.pepper import note_proof, proof_of

_PROOF = b"inhouse: which pepper this is"


def pepper_path(config: Config) -> Path:
    return config.secrets_directory / "pepper.key"


def pepper(config: Config, database: Database) -> bytes:
    """The 32 bytes under which digests are kept. Raises UsageError where the database needs one
    that is not here: under another one, no key would work."""
    with database.reading() as connection:
        proof = proof_of(connection)
    if proof is None:
        with database.writing() as connection:
            proof = proof_of(connection)  # another process may have been first
            if proof is None:
                return _first(config, database, connection)
    found = _existing(config, database)
    if not hmac.compare_digest(_proof(found), proof):
        raise UsageError(
            f"{pepper_path(config)} is not the pepper of the keys in {database.name}: none of "
            f"them would work; {_where_it_is(database)}"
        )
    return found


def _first(config: Config, database: Database, connection: Transaction) -> bytes:
    """The pepper of a database that has no proof yet: a new one, or one of an older release."""
    needed = store.has_secrets(connection)
    found = _existing(config, database) if needed else read_or_create(pepper_path(config))
    note_proof(connection, _proof(found))
    return found


def _existing(config: Config, database: Database) -> bytes:
    if not pepper_path(config).exists():
        raise UsageError(
            f"{pepper_path(config)} is missing; {_where_it_is(database)}: without it no key in "
            f"{database.name} works"
        )
    return read_existing(pepper_path(config))


def _where_it_is(database: Database) -> str:
    restore = "restore it from backup"
    return f"copy it from a gateway on this database, or {restore}" if database.shared else restore


def _proof(found: bytes) -> bytes:
    return hmac.digest(found, _PROOF, "sha256")
