"""What a check costs, in what does not flicker: calls, bytes, reads, modules, memory. Seconds are in `benchmarks/`.

A limit is a little over today's value. Who makes a check dearer for a reason raises it in the same commit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from benchmarks.images import full
from fixtures.writer import GIB, KIB, MIB, SECTOR, Image, dynamic, fixed
from vhdcheck import check
from vhdcheck.command.deferred import UNUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import FrameType

IMAGES: Final[dict[str, Callable[[], Image]]] = {
    "fixed": lambda: fixed(1 * GIB),
    "small dynamic": lambda: dynamic(10 * MIB, blocks=[0, 3]),
    "40 GiB full": lambda: full(40 * GIB),
    "2040 GiB shuffled": lambda: full(2040 * GIB, shuffled=True),
}
MOST_CALLS: Final = {"fixed": 295, "small dynamic": 500, "40 GiB full": 660, "2040 GiB shuffled": 1170}
MOST_READS: Final = {"fixed": (2, 8192), "small dynamic": (3, 16384)}
MEMORY: Final = 256 * MIB
ENTRIES: Final = 1 << 23
"""The longest table that is examined."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cost")
    return {name: make().write(folder / f"{name}.vhd") for name, make in IMAGES.items()}


def calls(path: Path, *, deep: bool = False) -> int:
    """Count the calls, of Python functions and of others, that a check takes once everything is loaded."""
    for _ in range(70):  # construct compiles a structure when it was parsed 64 times
        check(path, target="generic")
    made = 0

    def count(_frame: FrameType, event: str, _value: Any) -> None:  # whatever is called
        nonlocal made
        made += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        check(path, target="generic", deep=deep)
    finally:
        sys.setprofile(before)
    return made


@pytest.mark.parametrize("name", IMAGES)
def test_calls(images: dict[str, Path], name: str) -> None:
    made = calls(images[name])
    assert made <= MOST_CALLS[name], f"{name}: a check takes {made} calls, more than {MOST_CALLS[name]}"


def test_a_table_costs_no_call_for_each_entry(images: dict[str, Path]) -> None:
    assert calls(images["40 GiB full"]) < calls(images["small dynamic"]) + 200


@pytest.mark.parametrize("entries", [1 << 14, 1 << 16])
def test_deep_costs_no_call_for_each_bitmap_of_small_blocks(tmp_path: Path, entries: int) -> None:
    path = shuffled(entries, SECTOR).write(tmp_path / "image.vhd")
    made = calls(path, deep=True) - calls(path)
    assert made <= 1000 + entries // 12, f"{made / entries:.3f} calls for each of {entries} bitmaps"


def test_deep_costs_a_read_for_each_bitmap_of_larger_blocks(tmp_path: Path) -> None:
    entries = 1 << 12
    path = shuffled(entries, 8 * KIB).write(tmp_path / "image.vhd")
    made = calls(path, deep=True) - calls(path)
    assert made <= 1000 + 11 * entries, f"{made / entries:.1f} calls for each bitmap"


@pytest.mark.parametrize("name", MOST_READS)
def test_reads(images: dict[str, Path], name: str) -> None:
    report = check(images[name], target="generic")
    rounds, length = MOST_READS[name]
    assert report.rounds <= rounds, f"{name}: {report.rounds} rounds, more than {rounds}"
    assert report.bytes_read <= length, f"{name}: {report.bytes_read} bytes read, more than {length}"


@pytest.mark.parametrize("name", ["40 GiB full", "2040 GiB shuffled"])
def test_little_more_than_the_metadata_is_read(images: dict[str, Path], name: str) -> None:
    report = check(images[name], target="generic")
    assert report.image.table is not None
    metadata = 2 * SECTOR + 1024 + 4 * report.image.table.entries
    assert report.bytes_read <= metadata + 8192, f"{report.bytes_read} bytes read of {metadata} of metadata"


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], {"typing", "dataclasses", "construct", "numpy", "json", "pathlib", *UNUSED}),
        (
            ["{fixed}"],
            {"numpy", "json", "uuid", "logging", "concurrent.futures", "asyncio", "multiprocessing", "tqdm", *UNUSED},
        ),
        (["{dynamic}"], {"numpy", "json", "uuid", "asyncio", "multiprocessing", "tqdm", *UNUSED}),
    ],
    ids=["help", "fixed", "dynamic"],
)
def test_modules(images: dict[str, Path], arguments: Sequence[str], unwanted: set[str], root: Path) -> None:
    paths = {"fixed": str(images["fixed"]), "dynamic": str(images["small dynamic"])}
    program = (
        "import sys, atexit\nbefore = set(sys.modules)\n"
        "atexit.register(lambda: print(*sorted(set(sys.modules) - before), file=sys.stderr))\n"
        "from vhdcheck.command.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-S", "-c", program, "--target", "generic", *(a.format(**paths) for a in arguments)]
    path = {"PYTHONPATH": ":".join([str(root), *(entry for entry in sys.path if entry.endswith("-packages"))])}
    done = subprocess.run(command, cwd=root, env=path, capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stderr.split())
    assert "vhdcheck.command.cli" in loaded
    if sys.version_info >= (3, 14):  # whose argparse loads them for its colours, whatever is asked of it
        unwanted -= {"dataclasses", "inspect"}
    assert not loaded & unwanted, f"loaded, and not needed: {sorted(loaded & unwanted)}"


def shuffled(entries: int, block_size: int, unused: int = 0) -> Image:
    """Make a sound image of which every block is in use, but for a few, and no two follow each other."""
    image = dynamic(entries * block_size, block_size=block_size)
    footer = image.read(-SECTOR, SECTOR)
    first, slot = image.length // SECTOR, 1 + block_size // SECTOR
    table = first + slot * np.random.default_rng(entries).permutation(entries)
    table[:unused] = 0xFFFF_FFFF
    image.put(1536, table.astype(">u4").tobytes())
    return image.put((first + slot * entries) * SECTOR, footer)


def longest(kind: str) -> Image:
    """Make an image whose table is as long as one may be, of blocks of a sector."""
    if kind == "sound":
        return shuffled(ENTRIES, SECTOR, unused=7)
    if kind == "an eighth, deep":  # of all of them it would read 8 GiB
        return shuffled(ENTRIES // 8, SECTOR, unused=7)
    image = dynamic(ENTRIES * SECTOR, block_size=SECTOR)
    footer = image.read(-SECTOR, SECTOR)
    first = image.length // SECTOR - 1
    image.put((first + 2 * ENTRIES) * SECTOR, footer)
    entry = {"duplicate": first, "in the metadata": 2, "past the end": 0xFFFF_FFF0}[kind]
    image.put(1536, entry.to_bytes(4, "big") * ENTRIES)
    return image


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("duplicate", MEMORY),
        ("in the metadata", MEMORY),
        ("past the end", MEMORY),
        ("sound", MEMORY),
        ("an eighth, deep", MEMORY // 8 + 2 * MIB),  # and a MiB of bitmaps at a time
    ],
)
def test_memory_of_the_longest_table(tmp_path: Path, kind: str, most: int, root: Path) -> None:
    """The least of it is what any check takes that needs numpy: the interpreter and modules, by their versions."""
    deep = "deep" in kind
    few, least = taken(shuffled(8, SECTOR).write(tmp_path / "few.vhd"), root, deep=deep)
    accepted, used = taken(longest(kind).write(tmp_path / "image.vhd"), root, deep=deep)
    assert few == "True"
    assert accepted == str(kind in {"sound", "an eighth, deep"})
    assert used < most + (least if deep else 0), f"{kind}: {used / MIB:.0f} MiB, {least / MIB:.0f} for any image"


def taken(path: Path, root: Path, *, deep: bool) -> tuple[str, int]:
    """Check, and return the verdict and the memory of the process.

    It is measured by a process that starts the check, since a process inherits its parent's greatest size.
    """
    program = (
        "import json, resource, subprocess, sys\n"
        "code = 'import sys; from vhdcheck import check; '\\\n"
        '    \'print(check(sys.argv[1], target="generic", deep=sys.argv[2] == "True").ok)\'\n'
        "command = [sys.executable, '-c', code, *sys.argv[1:]]\n"
        "done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
        "print(json.dumps([done.stdout.strip(), used * (1 if sys.platform == 'darwin' else 1024)]))"
    )
    command = [sys.executable, "-c", program, str(path), str(deep)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    accepted, used = json.loads(done.stdout)
    return accepted, used
