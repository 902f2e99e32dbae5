"""What the identity provider provisions by SCIM: its word about persons, groups, and who is in
them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "scim_users",
        sa.Column(
            "user_id",
            sa.String(32),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("user_name", sa.String(256), nullable=False),
        sa.Column("user_name_key", sa.String(256), nullable=True, unique=True),
        sa.Column("external_id", sa.String(256), nullable=True, index=True),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("was_active", sa.Boolean, nullable=False),
        sa.Column("profile", sa.String, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("modified", sa.Float, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("removed", sa.Float, nullable=True),
    )
    op.create_table(
        "scim_groups",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("name_key", sa.String(256), nullable=False, unique=True),
        sa.Column("external_id", sa.String(256), nullable=True, unique=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("modified", sa.Float, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "scim_members",
        sa.Column("group_id", sa.String(32), sa.ForeignKey("scim_groups.id"), primary_key=True),
        sa.Column(
            "user_id",
            sa.String(32),
            sa.ForeignKey("users.id", ondelete="CASCADE"),
            primary_key=True,
            index=True,
        ),
    )
