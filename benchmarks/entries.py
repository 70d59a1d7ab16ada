"""What a check costs by the entries of the table, up to the most that there can be.

A program per image checks it again and again, and prints its processor time, what it read, and by how much its memory
grew. Two straight lines are laid through the first and the last points: what a check costs by itself, and what an entry
adds once numpy is at work. The points between them show how far the lines are to be trusted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks.images import full
from benchmarks.turns import ENVIRONMENT, figure
from fixtures.writer import GIB, KIB, MIB, dynamic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fixtures.writer import Image

ENTRIES: Final = (8, 128, 8192, 131_072, 1_044_480, 8_355_840)
"""The last is the largest disk, 2040 GiB, in the smallest blocks that a writer makes, 256 KiB."""
FILLED: Final[dict[str, Callable[[int, int], Image]]] = {
    "empty": lambda size, block: dynamic(size, block_size=block),
    "full, in order": lambda size, block: full(size, block=block),
    "full, shuffled": lambda size, block: full(size, block=block, shuffled=True),
}
PROGRAM: Final = """
import json, sys, time
import numpy, construct
from vhdcheck import check
path, target = sys.argv[1], "generic"
def memory(what):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what))
check("fixtures/dynamic-clean.vhd", target=target)
before = memory("VmRSS")
report = check(path, target=target)
grown, times = memory("VmHWM") - before, []
last = time.perf_counter() + 1
while time.perf_counter() < last or len(times) < 3:
    start = time.process_time(); check(path, target=target); times.append(time.process_time() - start)
print(json.dumps([min(times), report.bytes_read, grown * 1024]))
"""


class Cost(NamedTuple):
    """Of one check."""

    seconds: float
    """Of a processor, at best."""
    read: int
    """Bytes of the image."""
    memory: int
    """Bytes by which the process grew."""


def measured(folder: Path) -> dict[tuple[int, str], Cost]:
    """Check an image of each kind and size."""
    costs = {}
    for entries in ENTRIES:
        block = 2 * MIB if entries * 2 * MIB <= 2040 * GIB else 256 * KIB
        for kind, make in FILLED.items():
            path = make(entries * block, block).write(folder / "curve.vhd")
            command = (sys.executable, "-c", PROGRAM, path)
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
            costs[entries, kind] = Cost(*json.loads(done.stdout))
    return costs


def line(first: tuple[int, float], last: tuple[int, float]) -> tuple[float, float]:
    """Return the constant and the slope of the straight line through two points."""
    slope = (last[1] - first[1]) / (last[0] - first[0])
    return first[1] - slope * first[0], slope


def table(costs: dict[tuple[int, str], Cost]) -> list[str]:
    """Write the costs, and beside each what the line says."""
    lines = [
        "| entries | read | " + " | ".join(f"{kind}, ms (by the line)" for kind in FILLED) + " | memory grows by |",
        "|---" * (len(FILLED) + 3) + "|",
    ]
    lines_of = {
        kind: line(*[(entries, costs[entries, kind].seconds) for entries in (ENTRIES[0], ENTRIES[-1])])
        for kind in FILLED
    }
    for entries in ENTRIES:
        cells = [
            f"{costs[entries, kind].seconds * 1e3:.3g} ({(constant + slope * entries) * 1e3:.3g})"
            for kind, (constant, slope) in lines_of.items()
        ]
        of_size = [costs[entries, kind] for kind in FILLED]
        read, memory = max(cost.read for cost in of_size), max(cost.memory for cost in of_size)
        row = (f"{entries:,}".replace(",", " "), f"{figure(read / KIB)} KiB", *cells, f"{memory / MIB:.1f} MiB")
        lines.append(f"| {' | '.join(row)} |")
    slopes = ", ".join(f"{slope * 1e9:.2g} ns ({kind})" for kind, (_, slope) in lines_of.items())
    return [*lines, "", f"An entry adds {slopes}, and 4 bytes to be read."]
