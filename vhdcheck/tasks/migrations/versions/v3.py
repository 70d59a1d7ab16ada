"""Version 3: what remains of images that were deleted, and of attempts that did not end, is entered in a table."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "remains",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("task", sa.String(36)),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("container", sa.Text),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("swept", sa.Boolean, nullable=False, server_default=sa.false()),
    )
