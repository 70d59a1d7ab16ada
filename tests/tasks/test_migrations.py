"""Databases of other versions: older ones are brought up to date with all that is in them, newer ones are refused."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.tasks.service import Service

pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed (extra tasks)")
pytest.importorskip("alembic", reason="alembic is not installed (extra tasks)")

import sqlalchemy as sa

from vhdcheck.errors import UsageError
from vhdcheck.tasks.database import Database
from vhdcheck.tasks.states import Status
from vhdcheck.tasks.store import TaskStore
from vhdcheck.tasks.tables import META
from vhdcheck.tasks.task import Kind, Query, new

# The tables of the first service, and rows of each kind, as it wrote them.
LANDED = """
CREATE TABLE tasks (
    id VARCHAR(36) NOT NULL, type VARCHAR(10) NOT NULL, owner VARCHAR(64) NOT NULL, status VARCHAR(10) NOT NULL,
    created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, expires_at BIGINT, input TEXT NOT NULL,
    message TEXT NOT NULL, result TEXT, findings TEXT, attempt INTEGER DEFAULT '0' NOT NULL,
    lease_until BIGINT DEFAULT '0' NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX tasks_by_time ON tasks (owner, created_at, id);
CREATE INDEX tasks_by_status ON tasks (owner, status, created_at, id);
CREATE INDEX tasks_to_do ON tasks (status, created_at);
CREATE INDEX tasks_to_forget ON tasks (expires_at);
CREATE TABLE images (
    id VARCHAR(36) NOT NULL, owner VARCHAR(64) NOT NULL, name TEXT NOT NULL, created_at BIGINT NOT NULL,
    size BIGINT NOT NULL, virtual_size BIGINT NOT NULL, sha256 VARCHAR(64) NOT NULL, PRIMARY KEY (id)
);
CREATE INDEX images_by_time ON images (owner, created_at, id);
CREATE TABLE pages (task VARCHAR(36) NOT NULL, page {blob} NOT NULL, PRIMARY KEY (task));
INSERT INTO tasks VALUES ('00000000-0000-4000-8000-000000000001', 'import', 'one', 'success', 1000000, 2000000,
    9000000000000000, '{{"import_from": "a/b"}}', 'None', '{{"image_id": "00000000-0000-4000-8000-00000000000a"}}',
    '[]', 1, 1500000);
INSERT INTO tasks VALUES ('00000000-0000-4000-8000-000000000002', 'import', 'one', 'processing', 1000001, 2000000,
    NULL, '{{"import_from": "a/b"}}', 'None', NULL, NULL, 2, 2500000);
INSERT INTO tasks VALUES ('00000000-0000-4000-8000-000000000003', 'export', 'one', 'pending', 1000002, 1000002,
    NULL, '{{}}', 'None', NULL, NULL, 0, 0);
INSERT INTO tasks VALUES ('00000000-0000-4000-8000-000000000004', 'import', 'one', 'pending', 1000003, 1000003,
    NULL, '{{}}', 'None', NULL, NULL, 0, 0);
INSERT INTO tasks VALUES ('00000000-0000-4000-8000-000000000005', 'import', 'two', 'pending', 1000004, 1000004,
    NULL, '{{}}', 'None', NULL, NULL, 0, 0);
INSERT INTO images VALUES ('00000000-0000-4000-8000-00000000000a', 'one', '"half \\ud83d a pair"', 2000000, 512, 512,
    '00');
INSERT INTO pages VALUES ('00000000-0000-4000-8000-000000000001', {page});
"""


def run(url: str, script: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture
def landed(database: str) -> str:
    """The URL of a database of the first service."""
    sqlite = database.startswith("sqlite")
    run(database, LANDED.format(blob="BLOB" if sqlite else "BYTEA", page="x'70'" if sqlite else "'\\x70'"))
    return database


def shape(database: Database) -> dict[str, Any]:
    """What tables, columns and indices a database has."""
    found = sa.inspect(database.writing)
    tables = {}
    for table in found.get_table_names():
        columns = {each["name"]: (str(each["type"]), each["nullable"]) for each in found.get_columns(table)}
        tables[table] = columns, {each["name"]: each["column_names"] for each in found.get_indexes(table)}
    return tables


def test_the_migrations_make_the_tables_that_the_program_knows(database: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    made = Database(database)
    with made.writing.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), META) == []
    made.close()


def test_the_first_services_data_is_all_there(landed: str) -> None:
    store = TaskStore(Database(landed))
    tasks = store.page("one", Query(9, sort_dir="asc"))
    assert [(task.status.value, task.attempt) for task in tasks] == [
        ("success", 1),
        ("processing", 2),
        ("pending", 0),
        ("pending", 0),
    ]
    assert store.report("one", tasks[0].id) == b"p"
    (image,) = store.catalog.images("one", Query(9))
    assert (image.name, image.size) == ("half \N{REPLACEMENT CHARACTER} a pair", 512)
    assert store.create(new(Kind.IMPORT, "three", {}), 9)
    taken = [store.claim(1 << 50, 1, 10)[0] for _ in range(5)]
    assert [task.owner for task in taken] == ["one", "one", "two", "three", "one"], "the lapsed one, then by turns"
    assert taken[0].attempt == 3
    assert store.claim(1 << 50, 1, 10) == []
    store.database.close()


def test_an_upgraded_database_is_as_a_new_one(landed: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    upgraded = Database(landed)
    old = shape(upgraded)
    upgraded.close()
    run(landed, ";\n".join(f"DROP TABLE {table}" for table in old))
    new_ = Database(landed)
    assert shape(new_) == old
    new_.close()


def test_tries_of_the_first_service_count(landed: str) -> None:
    store = TaskStore(Database(landed))
    assert store.give_up(1, 3) == []
    assert store.give_up(1 << 50, 2) == ["00000000-0000-4000-8000-000000000002"]
    failed = store.get("one", "00000000-0000-4000-8000-000000000002")
    assert failed is not None
    assert failed.status is Status.FAILURE
    store.database.close()


def test_a_newer_database_is_refused_and_left_alone(database: str) -> None:
    Database(database).close()
    run(database, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(UsageError, match=r"version 9999, and this program knows up to \w+\. Upgrade vhdcheck"):
        Database(database)
    engine = sa.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"
    engine.dispose()


def test_a_migration_that_fails_changes_nothing(landed: str) -> None:
    run(landed, "CREATE TABLE about (x INTEGER)")  # in the way of the last statement of version 2
    with pytest.raises(UsageError, match="about"):
        Database(landed)
    run(landed, "DROP TABLE about")
    store = TaskStore(Database(landed))
    assert len(store.page("one", Query(9))) == 4
    store.database.close()


def test_servers_that_start_at_once_make_the_tables_once(database: str) -> None:
    code = "import sys; from vhdcheck.tasks.database import Database; print(Database(sys.argv[1]).id)"
    command = [sys.executable, "-c", code, database]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    assert len({out for out, _ in told}) == 1


def test_the_command_says_that_a_database_is_newer(serve: Callable[..., Service]) -> None:
    service = serve()
    service.stop()
    run(f"sqlite:///{service.folder / 'data/tasks.sqlite'}", "UPDATE alembic_version SET version_num = '9999'")
    done = subprocess.run(
        [sys.executable, "-m", "vhdcheck.tasks", "serve", "--data", "data", "--port", "0"],
        cwd=service.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "version 9999" in done.stderr
    assert "Traceback" not in done.stderr
