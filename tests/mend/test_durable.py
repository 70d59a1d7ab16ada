"""A machine that stops at any moment leaves the old image or the new one: what is fsynced, and before what."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO

import pytest

from tests.durable import Disk
from tests.mend.driver import SIZE, new, old, pieces
from vhdcheck.mend.files import replacing
from vhdcheck.mend.in_place import in_place
from vhdcheck.mend.journal import Journal, journal_path
from vhdcheck.mend.temporary import PATTERN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.durable import Moment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases, /proc")

WAYS = {"no name": [], "a temporary name": ["O_TMPFILE"], "no hard links": ["O_TMPFILE", "link"]}


@pytest.fixture(params=[*WAYS.values()], ids=[*WAYS])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what other systems have not; `link` is one that fails, as on FAT."""
    if "O_TMPFILE" in request.param:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    if "link" in request.param:
        monkeypatch.setattr(os, "link", no_links)


def no_links(*_: object, **__: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image."""
    path = tmp_path / "in.vhd"
    path.write_bytes(old())
    return path


def write(file: BinaryIO) -> None:
    """Write what the image shall be; its last bytes by themselves, so that they stay in the buffer."""
    file.write(new()[:-10])
    file.write(new()[-10:])


@pytest.mark.usefixtures("way")
def test_a_copy(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy's bytes are on the disk before it has its name, and the name in the end."""
    disk = Disk(tmp_path, monkeypatch)
    with replacing(tmp_path / "out.vhd", source=image) as copy:
        write(copy.file)
        copy.commit()
    end = disk.now()
    assert end.there == {"in.vhd": old(), "out.vhd": new()}
    left = {name for name in end.on_disk if PATTERN.fullmatch(name)}  # which the next run sweeps
    assert {name: data for name, data in end.on_disk.items() if name not in left} == end.there
    for moment in disk.moments:
        assert moment.there.get("out.vhd", b"") in (b"", moment.synced.get("out.vhd")), moment.call
        assert moment.on_disk.get("out.vhd", b"") in (b"", new()), moment.call


@pytest.mark.usefixtures("way")
def test_another_file_in_its_place(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path, monkeypatch)
    with in_place(image) as held, held.replaced() as copy:
        write(copy.file)
        copy.commit()
    end = disk.now()
    assert end.there == end.on_disk == {"in.vhd": new()}
    assert {moment.there["in.vhd"] for moment in disk.moments} == {old(), new()}
    for moment in disk.moments:
        assert moment.synced["in.vhd"] == moment.there["in.vhd"], moment.call


def assert_is_whole_or_in_the_journal(moment: Moment, image: Path, *ends: bytes) -> None:
    """Say that what is there and what is on the disk is one of `ends`; or a journal that is on the disk puts it back.

    Bytes that are written and not yet fsynced may be on the disk or not.
    """
    journal = Journal.decode(moment.on_disk.get(journal_path(image).name, b""))
    is_whole = moment.there["in.vhd"] == moment.synced["in.vhd"] and moment.there["in.vhd"] in ends
    assert is_whole or journal is not None, moment.call


@pytest.mark.parametrize("cut", [0, 1000, -300])
def test_a_few_bytes_corrected(cut: int, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is on the disk before the image is touched, and the image before the journal is removed."""
    disk = Disk(tmp_path, monkeypatch)
    with in_place(image) as held:
        held.correct(pieces(cut), SIZE - cut)
        end = disk.now()
    assert end.there == end.on_disk == {"in.vhd": new(cut)}
    assert "unlink" in {moment.call for moment in disk.moments}
    for moment in disk.moments:
        assert_is_whole_or_in_the_journal(moment, image, old(), new(cut))
        if len(moment.there["in.vhd"]) < SIZE:  # the image is cut last: who finds it cut does not put it back
            assert moment.synced["in.vhd"][: SIZE - cut] == new(cut)
        if moment.call == "unlink":
            assert moment.synced["in.vhd"] == moment.there["in.vhd"] == new(cut)


def test_one_byte_corrected(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is so short that all of it stays in the buffer until it is flushed."""
    disk = Disk(tmp_path, monkeypatch)
    changed = b"!" + old()[1:]
    with in_place(image) as held:
        held.correct({0: b"!"}, SIZE)
    for moment in disk.moments:
        assert_is_whole_or_in_the_journal(moment, image, old(), changed)
    assert disk.now().on_disk == {"in.vhd": changed}


@pytest.mark.parametrize("cut", [0, 1000, -300])
def test_what_a_killed_run_left_is_put_back(
    cut: int, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with image.open("r+b", buffering=0) as file:
        Journal.of(file, image.name, pieces(cut), SIZE - cut).write(journal_path(image))
        file.seek(0)
        file.write(pieces()[0][:100])
    disk = Disk(tmp_path, monkeypatch)
    with in_place(image):
        end = disk.now()
    assert end.there == end.on_disk == {"in.vhd": old()}
    for moment in disk.moments:
        assert_is_whole_or_in_the_journal(moment, image, old())
