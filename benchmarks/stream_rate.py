"""What checking costs a pipe: the rate of StreamChecker against a loop that reads and discards.

    python -m benchmarks.stream_rate [GIB]

`cat IMAGE | python` in each case, by turns, the median of five; the pipe is enlarged in each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from fixtures.writer import GIB, fixed

DISCARD: Final = """
import sys, fcntl
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
view = memoryview(bytearray(1 << 20))
while sys.stdin.buffer.raw.readinto(view):
    pass
"""
CHECK: Final = """
import sys
from vhdcheck.streaming import StreamChecker, check_stream
check_stream(sys.stdin.buffer.raw, StreamChecker(max_virtual_size="1TiB", max_physical_size="1TiB"))
"""
CASES: Final = {"read and discard": DISCARD, "StreamChecker": CHECK}


def seconds(image: Path, program: str) -> float:
    """Time one run."""
    start = time.perf_counter()
    with subprocess.Popen(["cat", image], stdout=subprocess.PIPE) as cat:
        subprocess.run([sys.executable, "-c", program], stdin=cat.stdout, check=True)
    return time.perf_counter() - start


def main(size: int) -> None:
    """Measure, and print rates and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        image = fixed(size).write(Path(folder, "image.vhd"))
        runs: dict[str, list[float]] = {name: [] for name in CASES}
        for _ in range(5):
            for name, program in CASES.items():
                runs[name].append(seconds(image, program))
    medians = {name: statistics.median(times) for name, times in runs.items()}
    for name, median in medians.items():
        print(f"{name:<20}{size / median / 2**20:8.0f} MiB/s")
    print(f"ratio               {medians['read and discard'] / medians['StreamChecker']:8.2f}")


if __name__ == "__main__":
    main(int(float(sys.argv[1] if len(sys.argv) > 1 else 4) * GIB))
