"""Version 1: the tables of the first service, which kept no version. What it made is taken for this version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None


def upgrade() -> None:
    """Make tasks, images and pages."""
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("type", sa.String(10), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("findings", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("tasks_by_time", "tasks", ["owner", "created_at", "id"])
    op.create_index("tasks_by_status", "tasks", ["owner", "status", "created_at", "id"])
    op.create_index("tasks_to_do", "tasks", ["status", "created_at"])
    op.create_index("tasks_to_forget", "tasks", ["expires_at"])
    op.create_table(
        "images",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("virtual_size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("images_by_time", "images", ["owner", "created_at", "id"])
    op.create_table(
        "pages",
        sa.Column("task", sa.String(36), primary_key=True),
        sa.Column("page", sa.LargeBinary, nullable=False),
    )
