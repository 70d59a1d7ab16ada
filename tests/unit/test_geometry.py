"""The specification's CHS table, and the disk sizes that qemu-img rounds to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from fixtures import writer
from vhdcheck.format.geometry import chs_size_down, chs_size_up, geometry
from vhdcheck.units import GIB, MIB, SECTOR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LARGEST = 65535 * 16 * 255
# Sectors at which the table changes its heads or its sectors per track.
STEPS = [17 * 1024 * heads for heads in range(4, 17)] + [31 * 16 * 1024, 63 * 16 * 1024, 65535 * 16 * 63, LARGEST]
NEAR_STEPS = sorted({step + delta for step in STEPS for delta in (*range(-70, 70, 7), *range(-3, 4), -4000, 4000)})


def spanned(sectors: int) -> int:
    """Return the sectors that the geometry of a disk spans."""
    cylinders, heads, per_track = geometry(sectors * SECTOR)
    return cylinders * heads * per_track


@pytest.mark.parametrize(
    ("sectors", "chs"),
    [
        (0, (0, 4, 17)),
        (67, (0, 4, 17)),
        (68, (1, 4, 17)),  # the smallest disk that a geometry spans: 34 816 bytes
        (17 * 4 * 1024 - 1, (1023, 4, 17)),
        (17 * 4 * 1024, (140, 16, 31)),  # 4096 tracks: as many as 4 heads have, so 31 sectors
        (17 * 16 * 1024 - 1, (1023, 16, 17)),
        (17 * 16 * 1024, (561, 16, 31)),
        (31 * 16 * 1024 - 1, (1023, 16, 31)),
        (31 * 16 * 1024, (503, 16, 63)),
        (65535 * 16 * 63 - 1, (65534, 16, 63)),
        (65535 * 16 * 63, (16191, 16, 255)),  # 33 822 351 360 bytes: the specification says >=, DiscUtils >
        (LARGEST - 1, (65534, 16, 255)),
        (LARGEST, (65535, 16, 255)),
        (LARGEST + 1, (65535, 16, 255)),
        (2040 * GIB // SECTOR, (65535, 16, 255)),
    ],
)
def test_the_table(sectors: int, chs: tuple[int, int, int]) -> None:
    assert geometry(sectors * SECTOR) == chs


def appendix(sectors: int) -> tuple[int, int, int]:
    """Compute the geometry step by step, as the specification's appendix prints it."""
    total = min(sectors, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        per_track, heads, tracks = 255, 16, total // 255
    else:
        per_track = 17
        tracks = total // per_track
        heads = max((tracks + 1023) // 1024, 4)
        if tracks >= heads * 1024 or heads > 16:
            per_track, heads = 31, 16
            tracks = total // per_track
        if tracks >= heads * 1024:
            per_track, heads = 63, 16
            tracks = total // per_track
    return tracks // heads, heads, per_track


def test_near_every_step() -> None:
    for sectors in (*NEAR_STEPS, *range(0, LARGEST, 999_983)):
        assert geometry(sectors * SECTOR) == appendix(sectors) == writer.geometry(sectors * SECTOR), sectors
        assert geometry(sectors * SECTOR + 511) == appendix(sectors), sectors
        # Rounded down, by less than a cylinder.
        missing = min(sectors, LARGEST) - spanned(sectors)
        assert 0 <= missing < geometry(sectors * SECTOR)[1] * geometry(sectors * SECTOR)[2], sectors


def as_qemu_rounds(size: int) -> int:
    """Round a size up as qemu-img does: try one sector more until the geometry spans the size (block/vpc.c)."""
    wanted = min(-(-size // SECTOR), LARGEST)
    tried = wanted
    while spanned(tried) < wanted:
        tried += 1
    return spanned(tried) * SECTOR if spanned(tried) < LARGEST else size


def largest_exact(size: int) -> int:
    """Find the largest size up to `size` whose geometry spans it, by trying them all."""
    sectors = min(size // SECTOR, LARGEST)
    while spanned(sectors) != sectors:
        sectors -= 1
    return sectors * SECTOR


def test_the_facts_figures() -> None:
    assert chs_size_up(40 * GIB) == 42_951_106_560
    assert chs_size_down(40 * GIB) == 42_949_017_600 == 20560 * 16 * 255 * SECTOR
    assert chs_size_up(42_949_017_600) == chs_size_down(42_949_017_600) == 42_949_017_600
    assert chs_size_up(512) == 34_816
    assert chs_size_up(MIB) == 1_079_296
    assert chs_size_down(512) == 0
    assert chs_size_up(2040 * GIB) == 2040 * GIB


@pytest.mark.parametrize("sizes", [range(0, 3000, 7), range(100_000, LARGEST, 9_999_991), [LARGEST, LARGEST + 1]])
def test_rounding_against_brute_force(sizes: range | list[int]) -> None:
    for sectors in sizes:
        assert chs_size_up(sectors * SECTOR) == as_qemu_rounds(sectors * SECTOR), sectors
        assert chs_size_down(sectors * SECTOR) == largest_exact(sectors * SECTOR), sectors


def test_rounding_up_near_the_table_s_steps() -> None:
    found = {n: chs_size_up(n * SECTOR) // SECTOR for n in NEAR_STEPS if n <= LARGEST}
    assert found == {n: as_qemu_rounds(n * SECTOR) // SECTOR for n in found}


def test_rounding_down_near_the_table_s_steps() -> None:
    found = {n: chs_size_down(n * SECTOR) // SECTOR for n in NEAR_STEPS}
    assert found == {n: largest_exact(n * SECTOR) // SECTOR for n in found}


@pytest.mark.parametrize(
    "size",
    [
        512,
        MIB,
        69_565 * SECTOR,
        69_632 * SECTOR,
        261_000 * SECTOR,
        33_822_351_360,
        40 * GIB,
        267_382_758 * SECTOR,
        127 * GIB,
    ],
)
def test_the_installed_qemu_img_rounds_so(size: int, run_tool: Callable[..., str], tmp_path: Path) -> None:
    image = tmp_path / "image.vhd"
    run_tool("qemu-img", "create", "-q", "-f", "vpc", image, str(size))
    info = json.loads(run_tool("qemu-img", "info", "-f", "vpc", "--output=json", image))
    assert info["virtual-size"] == as_qemu_rounds(size)
