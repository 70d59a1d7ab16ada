"""What bounds a run over very many images: `python -m benchmarks.scale [IMAGES]`, a million unless told otherwise.

It makes that many small dynamic images, each a file of its own in folders of a thousand, and runs the command over a
hundredth of them, a tenth, and all: with one job and with two, and beside them a loop that reads the same bytes and
judges nothing. As root on Linux it also empties the page cache before a tenth of them, and counts what the disk is
asked for. From what the steps took it plays through (`benchmarks.queueing`) what more processors and other disks would
come to. It takes 4 KiB of disk an image, and half an hour.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.document import load, machine, put
from benchmarks.entries import measured, table
from benchmarks.queueing import Steps, Storage, rate
from benchmarks.tools import METADATA, VHDCHECK
from benchmarks.turns import figure
from benchmarks.watched import Run, device_of, ran
from fixtures.writer import MIB, dynamic

A_FOLDER: Final = 1000
JOBS: Final = (1, 2, 4, 8, 16, 32)
STORAGES: Final = {
    "in the page cache": Storage(0, 1),
    "NVMe: 100 µs a read, 64 at once": Storage(100e-6, 64),
    "SATA SSD: 200 µs, 16 at once": Storage(200e-6, 16),
    "a file server: 1 ms, 64 at once": Storage(1e-3, 64),
    "hard disk: 8 ms, one at a time": Storage(8e-3, 1),
}
"""What is said of such a device; none of them is here."""
LOOP: Final = "\nimport sys\nfor path in sys.stdin.read().split(): do(path)\n"


def made(folder: Path, number: int) -> list[Path]:
    """Write the images, and return their folders."""
    image = dynamic(10 * MIB).tobytes()
    folders = []
    for start in range(0, number, A_FOLDER):
        within = folder / f"{start // A_FOLDER:05}"
        within.mkdir()
        for index in range(A_FOLDER):
            (within / f"{index:03}.vhd").write_bytes(image)
        folders.append(within)
    os.sync()
    return folders


def _emptied() -> bool:
    """Empty the page cache, and say whether that is allowed."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    except OSError:
        return False
    return True


def runs(folder: Path, number: int) -> dict[str, list[Run]]:
    """Run everything: by what was run, over each number of images."""
    folders, device = made(folder, number), device_of(folder)
    ours = (*VHDCHECK, "--format", "jsonl")
    found: dict[str, list[Run]] = {}

    def add(name: str, some: list[Path], *, jobs: int = 1, floor: bool = False) -> None:
        images = len(some) * A_FOLDER
        if floor:
            names = "\n".join(str(path) for each in some for path in sorted(each.iterdir()))
            run = ran((sys.executable, "-c", METADATA + LOOP), images, device, names)
        else:
            run = ran((*ours, "--jobs", str(jobs), *some), images, device)
        found.setdefault(name, []).append(run)
        print(name, run, file=sys.stderr, flush=True)

    for count in (len(folders) // 100, len(folders) // 10, len(folders)):
        some = folders[:count]
        add("read the metadata, one process", some, floor=True)
        add("vhdcheck", some)
        add("vhdcheck --jobs 2", some, jobs=2)
    some = folders[: len(folders) // 10]
    if device is not None and _emptied():
        add("read the metadata, nothing in the page cache", some, floor=True)
        _emptied()
        add("vhdcheck, nothing in the page cache", some)
        _emptied()
        add("vhdcheck --jobs 2, nothing in the page cache", some, jobs=2)
    return found


def written(found: dict[str, list[Run]]) -> list[str]:
    """Write what was measured, and what follows from it."""
    lines = [
        "| | images | µs each | processor of its own process, µs | of its workers | its memory | disk reads, each |",
        "|---" * 7 + "|",
    ]
    for name, of_name in found.items():
        for run in of_name:
            cells = (
                f"{run.images:,}".replace(",", " "),
                figure(run.each * 1e6),
                figure(run.parent / run.images * 1e6),
                figure(run.workers / run.images * 1e6),
                f"{run.memory / MIB:.0f} MiB",
                f"{run.reads / run.images:.1f}",
            )
            lines.append(f"| {name} | {' | '.join(cells)} |")
    one, two = (found[name][-1] for name in ("vhdcheck", "vhdcheck --jobs 2"))
    parent = two.parent / two.images
    alone, steps = one.parent / one.images, Steps(two.workers / two.images, parent, 0)
    cold = found.get("vhdcheck, nothing in the page cache")
    reads = cold[0].reads / cold[0].images if cold else 2.0
    words = (
        f"An image takes {figure(alone * 1e6)} µs of a processor in one process. With `--jobs` a worker takes"
        f" {figure(steps.worker * 1e6)} µs and the parent {figure(parent * 1e6)} µs, and no more than"
        f" {figure(1 / parent)} images a second can come through it. Played through, with a processor for each job, one"
        f" for the parent, and {reads:.1f} reads an image, images a second, and in brackets what a million take:"
    )
    head = "| `--jobs` | " + " | ".join(map(str, JOBS)) + " | bound by, in the end |"
    lines += ["", words, "", head, "|---" * (len(JOBS) + 2) + "|"]
    for name, storage in STORAGES.items():
        wanted = reads if storage.latency else 0
        speeds = []
        for jobs in JOBS:
            of_job = steps._replace(reads=wanted) if jobs > 1 else Steps(alone, 0, wanted)
            speed = rate(of_job, storage, jobs=jobs, processors=jobs + 1)
            speeds.append(f"{figure(speed)} ({_long(1e6 / speed)})")
        disk = storage.at_once / (storage.latency * reads) if storage.latency else float("inf")
        bounds = {"the parent": 1 / parent, "the disk": disk, "the workers": JOBS[-1] / steps.worker}
        lines.append(f"| {name} | {' | '.join(speeds)} | {min(bounds, key=bounds.__getitem__)} |")
    here = rate(steps, Storage(0, 1), jobs=2, processors=2)
    measured_here = f"Played through with two jobs on two processors: {figure(here)} images a second; measured:"
    lines += ["", f"{measured_here} {figure(1 / two.each)}."]
    return lines


def _long(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def main(number: int) -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as name:
        costs = measured(Path(name))
    with tempfile.TemporaryDirectory() as name:
        found = runs(Path(name), number)
    lines = [
        f"{machine()}; load {load()}.",
        "",
        "A check by the entries of its table, processor time, in one process:",
        "",
        *table(costs),
        "",
        "A run over small dynamic images, each a file of its own, start-up included:",
        "",
        *written(found),
    ]
    put(lines, "scale")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
