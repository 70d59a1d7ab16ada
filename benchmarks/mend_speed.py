"""Rebuilding an image beside `qemu-img convert -f vpc -O vpc`, in one run: `python -m benchmarks.mend_speed [ROUNDS]`.

Two images: of 40 GiB with 4 GiB of data in every tenth block, and of 4 GiB with all of them full. Both have blocks of
512 KiB, so that they have to be rebuilt for Rackspace. For each round, in turn: qemu-img; the rebuild without its
proof, which is what qemu-img does; and `python -m vhdcheck.mend` as a user runs it, with the proof. What is written
goes to the folder of temporary files (TMPDIR), and is deleted before the next. The times are of shared machines, the
ratios of medians say more. Needs 9 GiB of disk, and its page cache to hold the image.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GIB = 1 << 30
BLOCK = 512 << 10
WRITE_ALONE = """
import sys
from vhdcheck import check
from vhdcheck.mend.digest import Digest
from vhdcheck.mend.guest import disk_of
from vhdcheck.mend.writer import Identity, write
from vhdcheck.sources.local import FileSource

class Unsummed(Digest):
    def _update(self, number, data):
        pass

source, out = sys.argv[1:]
with FileSource(source) as reader, open(out, "w+b") as file:
    disk = disk_of(reader, check(source, target="generic").image)
    write(file.fileno(), disk, 3, Identity(bytes(range(16)), 0), Unsummed(disk.size, whole=False))
"""


def image(path: Path, size: int, every: int) -> None:
    """Write an image with every so many-th range of 5 MiB full of what cannot be compressed, and blocks of 512 KiB."""
    from fixtures.writer import dynamic

    ten = 10 * BLOCK
    blocks = [start + more for start in range(0, size // BLOCK, 10 * every) for more in range(10)]
    made = dynamic(size, blocks=[block for block in blocks if block < size // BLOCK], block_size=BLOCK)
    noise = os.urandom(ten + BLOCK)
    with path.open("wb") as file:
        for number, (offset, data) in enumerate(sorted(made.extents.items())):
            file.seek(offset)
            file.write(data)
            if len(data) == BLOCK // 512 // 8:  # a bitmap: its block's data follow it in the next sector
                file.seek(offset + 512)
                shift = number * 977 % ten
                file.write(noise[shift : shift + BLOCK])
        file.truncate(made.length)


def measured(words: list[str | Path]) -> tuple[float, int]:
    """Run a command, and return its seconds and its largest memory in MiB."""
    start = time.perf_counter()
    done = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(done.pid, 0)
    assert status == 0, words
    return time.perf_counter() - start, usage.ru_maxrss >> 10


def main() -> None:
    """Measure, and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.vhd", Path(folder) / "out.vhd"
        for name, size, every in (("40 GiB with 4 GiB of data", 40 * GIB, 10), ("4 GiB, full", 4 * GIB, 1)):
            image(source, size, every)
            ways: dict[str, list[str | Path]] = {
                "qemu-img": ["qemu-img", "convert", "-f", "vpc", "-O", "vpc", source, out],
                "rebuild": [sys.executable, "-c", WRITE_ALONE, source, out],
                "mend": [sys.executable, "-m", "vhdcheck.mend", source, "-o", out],
            }
            times: dict[str, list[tuple[float, int]]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way, words in ways.items():
                    times[way].append(measured(words))
                    out.unlink()
            middle = {way: statistics.median(seconds for seconds, _ in runs) for way, runs in times.items()}
            for way, runs in times.items():
                memory = max(most for _, most in runs)
                ratio = middle[way] / middle["qemu-img"]
                print(f"{name}: {way} {middle[way]:.2f} s, {ratio:.2f} of qemu-img's, {memory} MiB", flush=True)


if __name__ == "__main__":
    main()
