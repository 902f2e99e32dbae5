"""The proof of the pepper, so that a gateway with another one says so."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "pepper",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("proof", sa.LargeBinary(32), nullable=False),
    )
