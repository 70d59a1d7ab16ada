"""What the service has said is kept outlives a power cut: what is fsynced, and before what."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from tests.durable import Disk

pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed (extra tasks)")

from vhdcheck.tasks import images, objects
from vhdcheck.tasks.database import Database
from vhdcheck.tasks.objects import Try

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

IMAGE = "ca5e7f11-5d57-4dd7-8ace-03ab647fe6c6"
DATA = b"image" * 100
TRY = Try("task", 1, lambda: True)


def assert_is_whole_where_it_is(disk: Disk, name: str, data: bytes) -> None:
    """Say that the name never stands for less than all bytes, whenever the machine stops; and stands in the end."""
    for moment in disk.moments:
        assert moment.there.get(name) == moment.synced.get(name), moment.call
        assert moment.on_disk.get(name) in (None, data), moment.call
    assert disk.now().on_disk[name] == data


def test_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = images.Folder(str(tmp_path))
    store.mark("database", set())
    disk = Disk(tmp_path, monkeypatch)
    with store.write(IMAGE) as file:
        file.write(DATA)
    assert_is_whole_where_it_is(disk, f"{IMAGE}.vhd", DATA)
    assert f"{IMAGE}.part" not in disk.now().on_disk
    store.delete(IMAGE)
    assert f"{IMAGE}.vhd" not in disk.now().on_disk


def test_the_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path, monkeypatch)
    images.Folder(str(tmp_path)).mark("database", set())
    assert_is_whole_where_it_is(disk, images.MARK, b"database\n")
    assert images.Folder(str(tmp_path)).marked() == "database"


def test_an_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exports").mkdir()
    disk = Disk(tmp_path / "exports", monkeypatch)
    objects.Folder(str(tmp_path)).put("exports", "disk.vhd", io.BytesIO(DATA), TRY)
    assert_is_whole_where_it_is(disk, "disk.vhd", DATA)
    assert set(disk.now().on_disk) == {"disk.vhd"}


def test_a_transaction(tmp_path: Path) -> None:
    """SQLite brings each to the disk before it says that it is committed, by its own word."""
    database = Database(f"sqlite:///{tmp_path / 'tasks.sqlite'}")
    for engine in (database.writing, database.reading):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2, "FULL"
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()
