"""The history of the tables, for alembic. A new version is a new file in `versions`, which names the one before it."""
