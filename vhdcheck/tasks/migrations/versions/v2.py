"""Version 2: tenants take turns, a graceful stop costs no try, sessions of browsers, and an ID of the database."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add the columns, and give the tasks that wait their turns."""
    op.add_column("tasks", sa.Column("tries", sa.Integer, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("tasks", sa.Column("user_id", sa.Text))
    op.add_column("tasks", sa.Column("request_id", sa.Text))
    op.execute("UPDATE tasks SET tries = attempt")
    op.execute(
        "UPDATE tasks SET turn = numbered.number FROM"
        " (SELECT id, row_number() OVER (PARTITION BY owner ORDER BY created_at, id) AS number"
        " FROM tasks WHERE status = 'pending') AS numbered WHERE numbered.id = tasks.id"
    )
    op.drop_index("tasks_to_do", "tasks")
    op.create_index("tasks_by_turn", "tasks", ["status", "turn", "created_at"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("sessions_to_forget", "sessions", ["expires_at"])
    about = op.create_table(
        "about",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.bulk_insert(about, [{"name": "id", "value": str(uuid.uuid4())}, {"name": "written", "value": "0"}])
