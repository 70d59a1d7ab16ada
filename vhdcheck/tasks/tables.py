"""The tables, as the newest migration leaves them. A change here needs a migration in `migrations/versions`.

Times are microseconds since 1970, by the database's clock. Texts that somebody sent are kept as JSON: PostgreSQL takes
no NUL, and UTF-8 no half of a surrogate pair.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

META: Final = sa.MetaData()
TASKS: Final = sa.Table(
    "tasks",
    META,
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
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # never goes back: it names the last worker
    sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # attempts that count against max_attempts
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),  # see `store`: tenants take turns
    sa.Column("user_id", sa.Text),
    sa.Column("request_id", sa.Text),
    sa.Index("tasks_by_time", "owner", "created_at", "id"),
    sa.Index("tasks_by_status", "owner", "status", "created_at", "id"),
    sa.Index("tasks_by_turn", "status", "turn", "created_at"),
    sa.Index("tasks_to_forget", "expires_at"),
)
IMAGES: Final = sa.Table(
    "images",
    META,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("virtual_size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Index("images_by_time", "owner", "created_at", "id"),
)
PAGES: Final = sa.Table(
    "pages",  # apart from the tasks, which are read often and whole
    META,
    sa.Column("task", sa.String(36), primary_key=True),
    sa.Column("page", sa.LargeBinary, nullable=False),
)
SESSIONS: Final = sa.Table(
    "sessions",
    META,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("token", sa.LargeBinary, nullable=False),  # encrypted with a key that only the browser has
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index("sessions_to_forget", "expires_at"),
)
REMAINS: Final = sa.Table(
    "remains",  # bytes that may be in a store, and are no image: see `remains`
    META,
    sa.Column("id", sa.String(36), primary_key=True),  # of the image
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("task", sa.String(36)),  # none: an image that was deleted
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("container", sa.Text),  # of an export, as it was asked for: it need not exist
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("swept", sa.Boolean, nullable=False, server_default=sa.false()),
)
ABOUT: Final = sa.Table(
    "about",  # what is known of the database itself: its `id`, the time of the last proof that it can be written
    META,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
