"""Access reviews, and the grants that each of them is about."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("scope_of", sa.String(256), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("opened", sa.Float, nullable=False),
        sa.Column("opened_by", sa.String(256), nullable=False),
        sa.Column("opened_by_name", sa.String(256), nullable=False),
        sa.Column("due", sa.Float, nullable=False),
        sa.Column("reviewers", sa.String, nullable=True),
        sa.Column("reviewer_names", sa.String, nullable=True),
        sa.Column("separate", sa.Boolean, nullable=False),
        sa.Column("closed", sa.Float, nullable=True),
        sa.Column("closed_by", sa.String(256), nullable=True),
        sa.Column("closed_by_name", sa.String(256), nullable=True),
        sa.Column("note", sa.String(1024), nullable=True),
        sa.Column("json_sha256", sa.String(64), nullable=True),
        sa.Column("csv_sha256", sa.String(64), nullable=True),
    )
    op.create_table(
        "review_items",
        sa.Column("review_id", sa.String(32), sa.ForeignKey("reviews.id"), primary_key=True),
        sa.Column("grant_id", sa.String(32), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("holder_kind", sa.String(16), nullable=False),
        sa.Column("holder", sa.String(256), nullable=False),
        sa.Column("holder_name", sa.String(256), nullable=False),
        sa.Column("members", sa.String, nullable=False),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("models", sa.String, nullable=True),
        sa.Column("dialects", sa.String, nullable=True),
        sa.Column("purposes", sa.String, nullable=True),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=True),
        sa.Column("given_by", sa.String(256), nullable=False),
        sa.Column("given_by_name", sa.String(256), nullable=False),
        sa.Column("why", sa.String(1024), nullable=False),
        sa.Column("origin", sa.String(64), nullable=False),
        sa.Column("last_seen", sa.Float, nullable=True),
        sa.Column("last_used", sa.Float, nullable=True),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("decided", sa.Float, nullable=True),
        sa.Column("decided_by", sa.String(256), nullable=True),
        sa.Column("decided_by_name", sa.String(256), nullable=True),
        sa.Column("reason", sa.String(1024), nullable=False),
        sa.Column("ended", sa.Float, nullable=True),
    )
