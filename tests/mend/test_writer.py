"""Images that our own writer wrote: read by others, exactly as large as they are, for every kind of size."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.writer import GIB, KIB, MIB, SECTOR, dynamic, fixed
from vhdcheck import check
from vhdcheck.format.structures import DYNAMIC, FIXED
from vhdcheck.mend import writer
from vhdcheck.mend.digest import Digest
from vhdcheck.mend.gpt import read_range
from vhdcheck.mend.guest import Layers, RawDisk, disk_of
from vhdcheck.mend.writer import Identity
from vhdcheck.sources.local import BufferSource, FileSource

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_700_000_000
IDENTITY = Identity(bytes(range(16)), 700_000_000)
SIZES = [
    *(SECTOR, 3 * SECTOR, 67 * SECTOR, 68 * SECTOR, MIB - SECTOR, 2 * MIB - SECTOR, 2 * MIB, 2 * MIB + SECTOR),
    *(10 * MIB + SECTOR, 504 * MIB, 504 * MIB + SECTOR, 2 * GIB + SECTOR, 40 * GIB - SECTOR, 40 * GIB, 127 * GIB),
    # where the geometry's algorithm changes, and where it ends
    *(33822351360 - SECTOR, 33822351360, 136899993600 - SECTOR, 136899993600, 136899993600 + SECTOR),
    *(2040 * GIB - SECTOR, 2040 * GIB),
]


def written(path: Path, content: bytes, size: int, disk_type: int) -> Path:
    """Write an image whose disk begins with some bytes."""
    some = RawDisk(BufferSource(content, "content"), len(content))
    disk = Layers(some, some, size)
    with path.open("wb") as file, Digest(size, whole=False) as digest:
        writer.write(file.fileno(), disk, disk_type, IDENTITY, digest)
        digest.finished()
    return path


@pytest.mark.parametrize("disk_type", [FIXED, DYNAMIC])
@pytest.mark.parametrize("size", SIZES)
def test_others_see_exactly_the_size(size: int, disk_type: int, tmp_path: Path, run_tool: Callable[..., str]) -> None:
    path = written(tmp_path / "new.vhd", b"\1" * SECTOR, size, disk_type)
    findings = check(path, target="generic", now=NOW).findings
    assert not [finding for finding in findings if finding.severity.word != "note"]
    assert json.loads(run_tool("qemu-img", "info", "-f", "vpc", "--output=json", path))["virtual-size"] == size
    assert re.findall(r"^Size = (\d+)", run_tool("7zz", "l", "-slt", path), re.MULTILINE)[-1] == str(size)
    media = re.search(r"Media size.*?(\d+) bytes", run_tool("vhdiinfo", path))
    assert media is not None
    assert media[1] == str(size)
    if shutil.which("vhd-util"):
        done = subprocess.run(["vhd-util", "check", "-n", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        query = subprocess.run(["vhd-util", "query", "-n", path, "-v"], capture_output=True, text=True, check=True)
        assert int(query.stdout) == size // MIB


@pytest.mark.parametrize("disk_type", [FIXED, DYNAMIC])
def test_dissect_sees_exactly_the_size(disk_type: int, tmp_path: Path) -> None:
    vhd = pytest.importorskip("dissect.hypervisor.disk.vhd")
    for size in SIZES:
        with written(tmp_path / "new.vhd", b"\1" * SECTOR, size, disk_type).open("rb") as file:
            assert vhd.VHD(file).size == size


@given(
    st.integers(1, 9 * MIB // SECTOR),
    st.lists(st.tuples(st.integers(0, 9 * MIB), st.binary(min_size=1, max_size=64)), max_size=5),
    st.sampled_from([FIXED, DYNAMIC]),
)
def test_what_is_written_is_read(sectors: int, parts: list[tuple[int, bytes]], disk_type: int) -> None:
    content = bytearray(sectors * SECTOR)
    for at, data in parts:
        content[at : at + len(data)] = data
    del content[sectors * SECTOR :]
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "new.vhd", bytes(content), len(content), disk_type)
        report = check(path, target="generic", deep=True, now=NOW)
        assert report.ok
        with FileSource(path) as source:
            disk = disk_of(source, report.image)
            assert read_range(disk, 0, disk.size) == content
        blocks = [content[at : at + 2 * MIB] for at in range(0, len(content), 2 * MIB)]
        assert path.stat().st_size == writer.length(len(content), disk_type, sum(any(block) for block in blocks))


def test_the_same_bytes_as_the_second_writer(tmp_path: Path) -> None:
    """Byte for byte: two writers, written apart from each other."""
    fields: dict[str, Any] = {
        "creator": b"win ",
        "creator_version": 0xA0000,
        "unique_id": IDENTITY.unique_id,
        "timestamp": IDENTITY.timestamp,
    }
    content = b"a" * 2 * MIB + bytes(2 * MIB) + b"b" * 2 * MIB + b"c" * 700 * SECTOR
    blocks = {0: content[: 2 * MIB], 2: b"b" * 2 * MIB, 3: b"c" * 700 * SECTOR}
    made = dynamic(len(content), blocks=[0, 2, 3], content=blocks, **fields)
    assert written(tmp_path / "new.vhd", content, len(content), DYNAMIC).read_bytes() == made.tobytes()
    made = fixed(len(content), content=content, **fields)
    assert written(tmp_path / "fixed.vhd", content, len(content), FIXED).read_bytes() == made.tobytes()


@pytest.mark.parametrize("name", ["pwrite", "pwritev", "preadv"])
def test_where_the_system_lacks_a_call(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"x" * 3 * MIB
    expected = written(tmp_path / "one.vhd", content, len(content), DYNAMIC).read_bytes()
    monkeypatch.delattr(os, name)
    assert written(tmp_path / "two.vhd", content, len(content), DYNAMIC).read_bytes() == expected


def test_holes_stay_holes(tmp_path: Path) -> None:
    path = written(tmp_path / "new.vhd", b"x" * KIB, 40 * GIB, FIXED)
    assert path.stat().st_blocks * SECTOR < MIB
