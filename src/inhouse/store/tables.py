"""The tables as they are today. Their history is in `migrations/`."""

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION = "0002"
"""The newest migration. A database that names another one is upgraded, or refused if newer."""

metadata = MetaData()

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("models", String, nullable=True),  # JSON list of names; NULL: any model
    Column("created", Float, nullable=False),  # seconds since the epoch, as all times here
    Column("expires", Float, nullable=False),
    Column("revoked", Float, nullable=True),
    Column("last_used", Float, nullable=True),
)

api_key_secrets = Table(
    "api_key_secrets",
    metadata,
    Column("key_id", String(16), ForeignKey("api_keys.id"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),  # HMAC-SHA256 under the pepper
    Column("created", Float, nullable=False),
    Column("ends", Float, nullable=True),  # after a rotation: when the old secret stops
)

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("value", Integer, nullable=False),  # goes up with every change: what watchers ask for
)

pepper = Table(
    "pepper",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one pepper
    Column("proof", LargeBinary(32), nullable=False),  # a keyed digest: tells which pepper it is
)
