"""Images that have hurt other readers, or would: what each is, and a slug that must be among what is found.

`python -m tests.faults.hostile` checks each by the command, in a process of its own, and prints what that cost.
"""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fixtures.writer import GIB, KIB, MIB, NOWHERE, SECTOR, TAP, Footer, Image, Locator, differencing, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS_SPACE: Final = 2 * GIB
"""What a check may map: numpy and its libraries take most of it. An unbounded allocation fails here."""
PROCESSOR: Final = 60
"""Seconds after which a check that does not end is ended."""
EDGES: Final = {"2^63": 1 << 63, "2^64-512": (1 << 64) - 512, "2^64-1": (1 << 64) - 1}


@dataclass(frozen=True)
class Pattern:
    """An image, whom it hurt, and what must be found."""

    name: str
    whom: str
    slug: str
    build: Callable[[], Image]
    options: tuple[str, ...] = ()
    takes_minutes: bool = False
    """Whether `--deep` reads millions of bitmaps: bounded in memory, but not for a test."""


def used(**lies: Any) -> Image:
    """Build a dynamic disk of 10 MiB with two blocks, and let its fields lie."""
    return dynamic(10 * MIB, **{"blocks": [0, 3], **lies})


def child(*locators: Locator, **lies: Any) -> Image:
    """Build a differencing disk."""
    return differencing(10 * MIB, locators=locators, **lies)


def claimed(entries: int, file: int, block_size: int = 2 * MIB) -> Image:
    """Build an image whose table lies inside the file as it should, and is as long as it says."""
    size = entries * block_size
    image = dynamic(block_size, block_size=block_size, header={"max_table_entries": entries}, current_size=size)
    footer = image.read(-SECTOR, SECTOR)
    image.length = file
    return image.append(footer)


def full(entries: int, block_size: int, sectors: Callable[[int], range | list[int]], **lies: Any) -> Image:
    """Build an image of which every block is in use; its data is one hole."""
    image = dynamic(entries * block_size, block_size=block_size, **lies)
    start = -(-(1536 + 4 * entries) // SECTOR)
    table = array("I", sectors(start))
    table.byteswap()
    footer = image.read(-SECTOR, SECTOR)
    image.put(1536, table.tobytes())
    slot = SECTOR * -(-(block_size // SECTOR) // 4096) + block_size
    image.length = start * SECTOR + entries * slot
    return image.append(footer)


def _in_reverse(entries: int, step: int) -> Callable[[int], range]:
    return lambda start: range(start + (entries - 1) * step, start - 1, -step)


MANY: Final = 1 << 23
FULL: Final = 1_044_480  # blocks of 2040 GiB

PATTERNS: Final = (
    Pattern("block size 0", "qemu: CVE-2014-0142; VirtualBox", "block-size", lambda: used(header={"block_size": 0})),
    Pattern("block size 256", "dissect: division by zero", "block-size", lambda: used(header={"block_size": 256})),
    *(
        Pattern(f"block size {value:#x}", "32-bit sums", slug, partial(used, header={"block_size": value}))
        for value, slug in ((1 << 31, "block-size-unusual"), (0xFFFF_FFFF, "block-size"), (0xFFFF_FE00, "block-size"))
    ),
    *(
        Pattern(
            f"{value:#x} table entries in a small file",
            "qemu: CVE-2014-0143, -0144, 4 x entries in 32 bits",
            "table-offset",
            partial(used, header={"max_table_entries": value}),
        )
        for value in (0x3FFF_FFFF, 0x4000_0000, 0x8000_0000, 0xFFFF_FFFF)
    ),
    Pattern(
        "a table of 16 GiB that is there", "memory", "table-too-long-to-check", lambda: claimed(0xFFFF_FFFF, 17 * GIB)
    ),
    Pattern("a table of 32 MiB + 4, there", "memory", "table-too-long-to-check", lambda: claimed(MANY + 1, 64 * MIB)),
    Pattern("a table of 32 MiB, all zeros", "memory", "block-in-metadata", lambda: claimed(MANY, 64 * MIB, 256 * KIB)),
    Pattern(
        "8 388 608 blocks in reverse order",
        "memory; vhd-util: O(n^2)",
        "block-size-unusual",
        lambda: full(MANY, 128 * KIB, _in_reverse(MANY, 257)),
        takes_minutes=True,
    ),
    Pattern(
        "8 388 608 blocks of one sector at one place",
        "memory, of the map",
        "duplicate-block",
        lambda: full(MANY, SECTOR, lambda start: [start] * MANY),
    ),
    Pattern(
        "2040 GiB, every block in use, in reverse",
        "vhd-util: 10^12 comparisons",
        "virtual-size-over-limit",
        lambda: full(FULL, 2 * MIB, _in_reverse(FULL, 4097)),
        takes_minutes=True,
    ),
    Pattern(
        "2040 GiB, every block at one place",
        "vhd-util: 10^12 comparisons",
        "duplicate-block",
        lambda: full(FULL, 2 * MIB, lambda start: [start] * FULL),
    ),
    Pattern(
        "2040 GiB, each block over the next",
        "vhd-util: 10^12 comparisons",
        "overlapping-blocks",
        lambda: full(FULL, 2 * MIB, _in_reverse(FULL, 4096)),
    ),
    Pattern(
        "bitmaps of 1 048 576 blocks of one sector",
        "time, with --deep",
        "empty-bitmap",
        lambda: full(1 << 20, SECTOR, _in_reverse(1 << 20, 2)),
        ("--deep",),
    ),
    *(
        Pattern(
            f"current size {name}",
            "64-bit sums; dissect: OverflowError",
            "table-too-short",
            partial(used, current_size=value),
        )
        for name, value in EDGES.items()
    ),
    Pattern(
        "original size 2^63", "oslo, libvhdi: quotas", "another-size-over-limit", lambda: used(original_size=1 << 63)
    ),
    *(
        Pattern(
            f"table at {name}", "64-bit sums; dissect", "table-offset", partial(used, header={"table_offset": value})
        )
        for name, value in EDGES.items()
    ),
    *(
        Pattern(f"header at {name}", "64-bit sums", "dynamic-data-offset", partial(used, data_offset=value))
        for name, value in {"0": 0, "2^63": 1 << 63, "2^64-512": (1 << 64) - 512}.items()
    ),
    Pattern("header in its own footer", "readers that follow it", "metadata-overlap", lambda: _header_at(used(), 256)),
    Pattern(
        "a header that goes on to itself",
        "DiscUtils: never ends",
        "header-data-offset",
        lambda: used(header={"data_offset": SECTOR}),
    ),
    Pattern(
        "a block at sector 0xFFFFFFFE",
        "vhd-util: wraps in 32 bits",
        "block-past-end",
        lambda: used(bat={3: 0xFFFF_FFFE}),
    ),
    Pattern(
        "a block that ends behind 2^32 sectors",
        "vhd-util: wraps in 32 bits",
        "block-past-end",
        lambda: used(bat={3: 0xFFFF_F000}),
    ),
    Pattern("a block over the header", "readers that write", "block-in-metadata", lambda: used(bat={3: 1})),
    Pattern("disk type 0xFFFFFFFF", "blktap: crash", "disk-type", lambda: used(disk_type=0xFFFF_FFFF)),
    Pattern("a file of 511 bytes", "VirtualBox: wraps below zero", "no-footer", lambda: Image(511)),
    Pattern(
        "a locator over the footer",
        "azure-vhd-utils: crash",
        "locator-out-of-file",
        lambda: child(Locator(b"W2ru", ".\\p.vhd", data_offset=1_572_864)),
    ),
    Pattern(
        "eight locators of 4 GiB",
        "memory",
        "locator-length",
        lambda: child(*(Locator(b"W2ru", "x.vhd", data_length=0xFFFF_FFFF) for _ in range(8))),
    ),
    Pattern(
        "a locator at 2^64-1",
        "64-bit sums",
        "locator-out-of-file",
        lambda: child(Locator(b"W2ku", "x.vhd", data_offset=(1 << 64) - 1)),
    ),
    Pattern(
        "a locator on another host",
        "Windows: gives away the user's hash",
        "hostile-parent-path",
        lambda: child(Locator(b"W2ku", "\\\\203.0.113.1\\share\\parent.vhd")),
    ),
    Pattern(
        "a locator that is a device",
        "readers that open it",
        "hostile-parent-path",
        lambda: child(Locator(b"W2ku", "\\\\.\\PhysicalDrive0\\parent.vhd")),
    ),
    Pattern(
        "a name of escape sequences",
        "terminals",
        "hostile-parent-path",
        lambda: child(Locator(b"W2ru", "x.vhd"), parent_name="\x1b]0;owned\x07\x1b[2J\r\n\x9b31mx.vhd"),
    ),
    Pattern(
        "a name written right to left",
        "people",
        "hostile-parent-path",
        lambda: child(Locator(b"W2ru", "x.vhd"), parent_name="\u202edhv.tnerap\u2066.exe"),
    ),
    Pattern(
        "a name of halves of characters",
        "decoders",
        "parent-name",
        lambda: child(Locator(b"W2ru", "x.vhd"), parent_name=b"\xdc\x00\xd8\x00" * 128),
    ),
    Pattern(
        "qcow2 with a backing file as the disk",
        "OpenStack: CVE-2024-32498, CVE-2026-24708",
        "content-looks-like-image",
        lambda: fixed(
            10 * MIB, content=struct.pack(">4sIQI", b"QFI\xfb", 3, 104, 11).ljust(104, b"\0") + b"/etc/passwd"
        ),
    ),
    Pattern(
        "two images in one file",
        "qemu: the first, others: the last",
        "two-images",
        lambda: fixed(10 * MIB, content=Footer(size=4 * MIB).pack()),
    ),
    Pattern(
        "a batmap of 2 TiB",
        "memory",
        "batmap-header",
        lambda: used(**TAP, batmap={"sectors": 0xFFFF_FFFF}),
    ),
    Pattern(
        "a batmap at 2^64-1",
        "64-bit sums",
        "batmap-header",
        lambda: used(**TAP, batmap={"offset": NOWHERE}),
    ),
    Pattern("8 TiB of zeros", "readers that look everywhere", "no-footer", lambda: Image(8 << 40)),
    Pattern(
        "64 KiB of cookies",
        "readers that look everywhere",
        "no-footer",
        lambda: Image(0, {0: b"x" + b"conectix" * 8190 + bytes(9)}),
    ),
)


def _header_at(image: Image, offset: int) -> Image:
    """Put a second header into the footer's copy, and let both footers lead to it."""
    header = image.read(SECTOR, 1024)
    image.put(offset, header)
    for place in (0, image.length - SECTOR):
        image.patch(place + 16, offset.to_bytes(8, "big")).sign(place)
    return image


MEASURE: Final = """\
import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    print(status, usage.ru_maxrss, file=file)
"""
"""Starts the check: a process inherits its parent's greatest size, and that of the tests is large."""


@dataclass(frozen=True)
class Cost:
    """What a check by the command came to."""

    status: int
    output: bytes
    errors: bytes
    memory: int
    """Bytes resident at the most."""
    seconds: float


EVERY: Final = (("--map", "--deep"), ("--map", "--format", "html"))
"""Options that take memory."""


def measured(
    pattern: Pattern,
    path: Path,
    target: str = "rackspace",
    *,
    streamed: bool = False,
    options: tuple[str, ...] = (),
) -> Cost:
    """Check an image that lies at `path` by the command, alone in its process."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))

    words = [sys.executable, "-m", "vhdcheck", "--target", target, "--format", "jsonl", *pattern.options, *options]
    words.append("-" if streamed else str(path))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile() as cost, path.open("rb") as image:
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", MEASURE, cost.name, *words],
            stdin=image,
            stdout=output,
            stderr=subprocess.PIPE,
            env=env,
            check=True,
            preexec_fn=limited,
        )
        seconds = time.perf_counter() - started
        status, memory = map(int, cost.read().split())
        output.seek(0)
        return Cost(os.waitstatus_to_exitcode(status), output.read(), done.stderr, memory << 10, seconds)


def main() -> None:
    """Print a table of all patterns."""
    print("| image | whom it hurts | found | MiB | s |\n|---|---|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for pattern in PATTERNS:
            path = pattern.build().write(Path(folder, "image.vhd"))
            cost = measured(pattern, path)
            cells = (pattern.name, pattern.whom, f"`{pattern.slug}`", cost.memory >> 20, f"{cost.seconds:.2f}")
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
