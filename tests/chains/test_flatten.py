"""A differencing disk put together with its parents: what two other readers see, sector by sector."""

from __future__ import annotations

import subprocess
import sys
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest

from fixtures.writer import MIB, SECTOR, differencing, dynamic
from tests.chains.chain import identity, written
from tests.helpers import finished
from vhdcheck import check
from vhdcheck.format.span import Span
from vhdcheck.mend import mend, plan
from vhdcheck.mend.guest import Piece
from vhdcheck.mend.stack import Stack
from vhdcheck.sources.local import BufferSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

needs_7zz = pytest.mark.skipif(which("7zz") is None, reason="7zz is not on PATH")
needs_qemu = pytest.mark.skipif(which("qemu-img") is None, reason="qemu-img is not on PATH")


def by_7zz(path: Path) -> bytes:
    """Read a disk by 7-Zip, which finds parents by their names."""
    return subprocess.run(["7zz", "e", "-tvhd", "-so", path], check=True, capture_output=True, timeout=60).stdout


def by_qemu(path: Path) -> bytes:
    """Read a stand-alone disk by qemu."""
    raw = path.with_suffix(".raw")
    options = f"driver=vpc,force_size_calc=current_size,file.filename={path}"
    finished(["qemu-img", "convert", "--image-opts", options, "-O", "raw", raw])
    return raw.read_bytes()


@needs_7zz
@needs_qemu
@pytest.mark.parametrize("seed", range(15))
def test_7zip_sees_the_same_disk(seed: int, tmp_path: Path) -> None:
    chain = written(tmp_path, 1 + seed % 5, seed)
    assert by_7zz(chain.paths[-1]) == chain.data
    result = mend(chain.paths[-1], tmp_path / "out.vhd", target="generic", parents=chain.paths[:-1])
    assert (result.reasons, [step.kind for step in result.plan.steps]) == ((), ["flatten"])
    assert by_7zz(tmp_path / "out.vhd") == chain.data
    assert by_qemu(tmp_path / "out.vhd") == chain.data
    assert result.after is not None
    assert result.after.ok


@pytest.mark.parametrize("seed", range(10))
def test_libvhdi_sees_the_same_disk(seed: int, tmp_path: Path) -> None:
    """Bits come in eights: libvhdi 20260901 takes what follows a set bit in its byte for set. Sector by sector, too."""
    pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed (extra test-ci)")
    chain = written(tmp_path, 1 + seed % 5, seed, whole_bytes=True)
    files = []
    for path in chain.paths:
        files.append(pyvhdi.file())
        files[-1].open(str(path))
        if len(files) > 1:
            files[-1].set_parent(files[-2])
    read = b"".join(files[-1].read_buffer_at_offset(SECTOR, at) for at in range(0, len(chain.data), SECTOR))
    assert read == chain.data
    result = mend(chain.paths[-1], tmp_path / "out.vhd", target="generic", parents=reversed(chain.paths[:-1]))
    assert result.ok
    copy = pyvhdi.file()
    copy.open(str(tmp_path / "out.vhd"))
    assert copy.read_buffer_at_offset(len(chain.data), 0) == chain.data


def test_721_has_a_repair(tmp_path: Path) -> None:
    """The command that the plan prints does what it says, and the copy passes."""
    chain = written(tmp_path, 2, 1)
    child, parents = chain.paths[-1], chain.paths[:-1]
    before = check(child, parents=parents)
    assert before.code == 721
    planned = plan(before)
    assert planned.possible
    given = [word for place, word in enumerate(planned.command) if planned.command[place - 1] == "--parent"]
    assert given == [str(path) for path in reversed(parents)]
    finished(planned.command)
    made = planned.command[planned.command.index("-o") + 1]
    assert check(made).ok


def test_without_its_parents_the_plan_names_them(tmp_path: Path) -> None:
    child = differencing(4 * MIB, parent_id=identity(7), parent_name="base\x1b[31m.vhd").write(tmp_path / "c.vhd")
    planned = plan(child)
    assert not planned.possible
    assert any("5e5e5e5e-5e5e-5e5e-5e5e-5e5e00000007" in reason and "--parent" in reason for reason in planned.reasons)
    done = subprocess.run(
        [sys.executable, "-m", "vhdcheck.mend", child, "--dry-run"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "\x1b" in done.stdout) == (1, False)


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((6, 4, 8), "longer than an image above it"),
        ((4, 6, 8), ""),
        ((8, 6, 4), ""),
    ],
)
def test_sizes(sizes: tuple[int, ...], reason: str, tmp_path: Path) -> None:
    """Where readers agree the disk ends with the child, and beyond a shorter parent there are zeros."""
    paths = []
    bits = (b"\xff", b"\x0f", b"\x03")
    for level, size in enumerate(reversed(sizes)):
        blocks = range(size // 2)
        options: dict[str, Any] = {"blocks": blocks, "unique_id": identity(level + 1), "bitmap": bits[level]}
        options["content"] = {block: bytes([level + 1]) * (2 * MIB) for block in blocks}
        child: dict[str, Any] = {"parent_id": identity(level), "parent_timestamp": 0}
        image = differencing(size * MIB, **child, **options) if level else dynamic(size * MIB, **options)
        paths.append(image.write(tmp_path / f"{level}.vhd"))
    result = mend(paths[-1], tmp_path / "out.vhd", target="generic", to="fixed", parents=paths)
    if reason:
        assert any(reason in each for each in result.reasons)
        assert not (tmp_path / "out.vhd").exists()
        return
    assert result.reasons == ()
    data = (tmp_path / "out.vhd").read_bytes()[:-SECTOR]
    assert len(data) == sizes[0] * MIB
    middle, lowest = sizes[1] * MIB, min(sizes[1:]) * MIB
    for at in range(0, len(data), SECTOR):
        place = at // SECTOR % 8
        value = 3 if place >= 6 else 2 if place >= 4 and at < middle else 1 if at < lowest else 0
        assert data[at : at + SECTOR] == bytes([value]) * SECTOR


@pytest.mark.parametrize("own", [1, 2])
def test_a_copy_has_no_parent_s_id(own: int, tmp_path: Path) -> None:
    child = differencing(4 * MIB, unique_id=identity(own), parent_id=identity(1), parent_timestamp=0)
    base = dynamic(4 * MIB, unique_id=identity(1)).write(tmp_path / "base.vhd")
    result = mend(child.write(tmp_path / "child.vhd"), tmp_path / "out.vhd", target="generic", parents=[base])
    assert result.after is not None
    assert result.after.image.footer is not None
    assert (result.after.image.footer.unique_id == identity(own)) == (own == 2)


def test_data_in_sectors_that_a_bitmap_calls_empty(tmp_path: Path) -> None:
    """Of the child they are the parent's, for all readers. Of the disk that stands alone readers differ."""
    bits: dict[str, Any] = {"blocks": [0], "bitmap": b"\xf0", "content": {0: b"x" * 2 * MIB}}
    child = differencing(4 * MIB, parent_id=identity(1), parent_timestamp=0, **bits).write(tmp_path / "child.vhd")
    sound = dynamic(4 * MIB, unique_id=identity(1), blocks=[0], content={0: b"y" * 2 * MIB}).write(tmp_path / "1.vhd")
    assert mend(child, tmp_path / "out.vhd", target="generic", parents=[sound]).ok
    doubtful = dynamic(4 * MIB, unique_id=identity(1), **bits).write(tmp_path / "2.vhd")
    result = mend(child, tmp_path / "other.vhd", target="generic", parents=[doubtful])
    assert "sector 4 of the disk holds data, and its block's bitmap says that it is empty" in result.reasons[0]
    assert not (tmp_path / "other.vhd").exists()


def test_a_parent_that_changed_is_not_read(tmp_path: Path) -> None:
    chain = written(tmp_path, 1, 3)
    before = check(chain.paths[1], parents=chain.paths)
    with chain.paths[0].open("r+b") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="changed while it was checked"):
        plan(before)


class Given:
    """A disk of a few ranges, each of one byte value."""

    def __init__(self, size: int, ranges: list[tuple[int, int]], value: int) -> None:
        self.size, self._ranges = size, ranges
        self._source = BufferSource(bytes([value]) * size, "memory")

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[Piece]:
        for at, behind in self._ranges:
            if at < (self.size if end is None else end) and behind > start:
                yield Piece(at, behind - at, self._source, at).cut(start, self.size if end is None else end)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([[(2, 4)], [(0, 8)]], "11001111"),
        ([[(0, 1), (7, 8)], [(0, 3), (6, 8)]], "011...10"),
        ([[], []], "........"),
        ([[(1, 2), (3, 4), (5, 6)], [(0, 4)], [(3, 8)]], "10102022"),
    ],
)
def test_the_uppermost_that_has_a_place_shows(layers: list[list[tuple[int, int]]], expected: str) -> None:
    stack = Stack([Given(8, ranges, number) for number, ranges in enumerate(layers)])
    for start in range(8):
        shown = ["."] * 8
        at = start
        for piece in stack.pieces(start):
            assert piece.at >= at
            assert piece.length > 0
            at = piece.end
            (data,) = piece.source.read([Span(piece.offset, piece.length, "data")])
            shown[piece.at : piece.end] = map(str, data or b"")
        assert "".join(shown[start:]) == expected[start:]
