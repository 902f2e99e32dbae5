"""Users, teams, roles, grants and requests for them.

Whoever owned a key becomes a service of that name, with a grant of the role `service` for any
model: no key stops working, and what it may do is seen and revoked where all grants are.
"""

import secrets
import string
import time

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ALPHABET = string.digits + string.ascii_letters


def upgrade() -> None:
    users = op.create_table(
        "users",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("issuer", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("email", sa.String(320), nullable=True),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("last_seen", sa.Float, nullable=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.UniqueConstraint("issuer", "subject", name="users_issuer_subject"),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
    )
    op.create_table(
        "team_members",
        sa.Column("team_id", sa.String(32), sa.ForeignKey("teams.id"), primary_key=True),
        sa.Column("user_id", sa.String(32), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("added", sa.Float, nullable=False),
    )
    op.create_table(
        "roles",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("about", sa.String(512), nullable=False),
        sa.Column("permissions", sa.String, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    grants = op.create_table(
        "grants",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("holder_kind", sa.String(16), nullable=False),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("models", sa.String, nullable=True),
        sa.Column("dialects", sa.String, nullable=True),
        sa.Column("purposes", sa.String, nullable=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float, nullable=True),
        sa.Column("given_by", sa.String(256), nullable=False),
        sa.Column("reason", sa.String(1024), nullable=False),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("revoked", sa.Float, nullable=True),
        sa.Column("revoked_by", sa.String(256), nullable=True),
    )
    op.create_table(
        "access_requests",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("user_id", sa.String(32), nullable=False),
        sa.Column("asked_by", sa.String(256), nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("models", sa.String, nullable=True),
        sa.Column("dialects", sa.String, nullable=True),
        sa.Column("purposes", sa.String, nullable=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=True),
        sa.Column("reason", sa.String(1024), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("decided", sa.Float, nullable=True),
        sa.Column("decided_by", sa.String(256), nullable=True),
        sa.Column("note", sa.String(1024), nullable=True),
        sa.Column("grant_id", sa.String(32), nullable=True),
    )
    op.add_column("api_keys", sa.Column("owner_id", sa.String(32), nullable=True))
    op.add_column("api_keys", sa.Column("dialects", sa.String, nullable=True))
    op.add_column("api_keys", sa.Column("purposes", sa.String, nullable=True))
    _owners_become_services(users, grants)


def _owners_become_services(users: sa.Table, grants: sa.Table) -> None:
    keys = sa.table(
        "api_keys",
        sa.column("owner", sa.String),
        sa.column("owner_id", sa.String),
        sa.column("last_used", sa.Float),
    )
    connection = op.get_bind()
    now = time.time()
    found = sa.select(keys.c.owner, sa.func.max(keys.c.last_used)).group_by(keys.c.owner)
    for owner, last_used in connection.execute(found).all():
        if not isinstance(owner, str):
            continue  # SQLite lets in anything; such a key never worked
        user_id = _new_id("usr_")
        connection.execute(
            sa.insert(users).values(
                id=user_id, kind="service", issuer="", subject=owner, name=owner, active=True,
                created=now, last_seen=last_used, source="migration",
            )
        )  # fmt: skip
        connection.execute(
            sa.insert(grants).values(
                id=_new_id("grt_"), holder_kind="user", holder=user_id, role="service",
                created=now, given_by="migration", reason="it had keys before there were grants",
                origin="migration",
            )
        )  # fmt: skip
        connection.execute(sa.update(keys).where(keys.c.owner == owner).values(owner_id=user_id))


def _new_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(16))
