"""What a plan supposes of the guest's data, and the data that contradicts it: nothing is written then.

The disks are made by `struct` alone; `test_partitions.py` has those of the usual tools.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, SECTOR, dynamic, fixed
from tests.mend.test_gpt import gpt
from vhdcheck.mend import Mending, mend

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 16 * MIB
END = 9 * MIB


def mbr() -> bytearray:
    """A disk with one partition, from 1 to 2 MiB."""
    data = bytearray(SIZE)
    data[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff" * 3, 2048, 2048)
    data[510:512] = b"\x55\xaa"
    return data


def shrunk(folder: Path, data: bytes | bytearray) -> Mending:
    """Write a disk into a dynamic image, and mend that for a target with room for 9 MiB."""
    block = 2 * MIB
    parts = {number: bytes(data[number * block : (number + 1) * block]) for number in range(len(data) // block)}
    used = {number: part for number, part in parts.items() if any(part)}
    path = dynamic(len(data), blocks=[*used], content=used).write(folder / "in.vhd")
    out = folder / "out.vhd"
    out.unlink(missing_ok=True)
    mending = mend(path, out, target="generic", max_virtual_size=END)
    assert mending.ok == out.exists()
    return mending


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (END - 1, ""),
        (END, "no partition reaches there, and yet the disk has data at 9 MiB"),
        (SIZE - 1, "no partition reaches there"),
    ],
)
def test_data_behind_the_new_end_of_a_disk_with_an_mbr(at: int, told: str, tmp_path: Path) -> None:
    data = mbr()
    data[at] = 1
    mending = shrunk(tmp_path, data)
    assert (mending.ok, mending.plan.size) == (not told, END)
    assert not told or (told in mending.reasons[0] and f"in byte {at}" in mending.reasons[0])
    assert not any("backup" in reason for reason in mending.reasons)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        (END - 33 * SECTOR - 1, ""),
        (END - 33 * SECTOR, ", where the GPT's backup would be"),
        (END - 1, ", where the GPT's backup would be"),
        (END, "no partition reaches there"),
        (SIZE - 34 * SECTOR, "no partition reaches there"),
    ],
)
def test_data_behind_the_new_end_of_a_disk_with_a_gpt(at: int, told: str, tmp_path: Path) -> None:
    data = gpt(SECTOR, size=SIZE)
    assert shrunk(tmp_path, data).ok
    data[at] = 1
    mending = shrunk(tmp_path, data)
    assert mending.ok == (not told)
    assert not told or told in mending.reasons[0]
    assert any("backup would be" in reason for reason in mending.reasons) == (bool(told) and at < END)


def test_a_disk_without_a_partition_table(tmp_path: Path) -> None:
    assert shrunk(tmp_path, bytes(SIZE)).ok
    data = bytearray(SIZE)
    data[MIB] = 1
    assert "has data and no partition table" in shrunk(tmp_path, data).reasons[0]


def test_data_between_a_fixed_disk_and_its_footer(tmp_path: Path) -> None:
    """From the first byte behind the disk to the last one before the footer."""
    for at in (None, 3 * MIB - 1, 3 * MIB, 4 * MIB - 1):
        data = bytearray(fixed(4 * MIB, current_size=3 * MIB, original_size=3 * MIB, geometry=(90, 4, 17)).tobytes())
        if at is not None:
            data[at] = 1
        (tmp_path / "in.vhd").write_bytes(data)
        (tmp_path / "out.vhd").unlink(missing_ok=True)
        mending = mend(tmp_path / "in.vhd", tmp_path / "out.vhd", target="generic", to="dynamic")
        assert mending.ok == (at is None or at < 3 * MIB), mending.reasons
        assert mending.ok or "between the end of the disk and the footer" in mending.reasons[0]
