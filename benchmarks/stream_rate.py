"""What checking costs a pipe: the rate of StreamChecker against loops that read and discard, and against oslo.utils.

    python -m benchmarks.stream_rate [GIB]

`cat IMAGE | ...` in each case, by turns, the median of five. Python's programs enlarge the pipe and read 1 MiB at a
time; `cat >/dev/null` takes it as it comes. oslo.utils is measured where it is installed (extra `bench`).
"""

from __future__ import annotations

import importlib.util
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
OSLO: Final = """
import sys, fcntl
from oslo_utils.imageutils.format_inspector import InspectWrapper
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
image = InspectWrapper(sys.stdin.buffer.raw)
while image.read(1 << 20):
    pass
"""
CASES: Final[dict[str, list[str]]] = {
    "cat >/dev/null": ["sh", "-c", "cat >/dev/null"],
    "read and discard": [sys.executable, "-c", DISCARD],
    "StreamChecker": [sys.executable, "-c", CHECK],
    **({"InspectWrapper": [sys.executable, "-c", OSLO]} if importlib.util.find_spec("oslo_utils") else {}),
}


def seconds(image: Path, command: list[str]) -> float:
    """Time one run."""
    start = time.perf_counter()
    with subprocess.Popen(["cat", image], stdout=subprocess.PIPE) as cat:
        subprocess.run(command, stdin=cat.stdout, check=True)
    return time.perf_counter() - start


def main(size: int) -> None:
    """Measure, and print rates and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        image = fixed(size).write(Path(folder, "image.vhd"))
        runs: dict[str, list[float]] = {name: [] for name in CASES}
        for _ in range(5):
            for name, command in CASES.items():
                runs[name].append(seconds(image, command))
    medians = {name: statistics.median(times) for name, times in runs.items()}
    for name, median in medians.items():
        rate = size / median / 2**20
        print(f"{name:<20}{rate:8.0f} MiB/s, {median / medians['StreamChecker']:5.2f} of StreamChecker's time")


if __name__ == "__main__":
    main(int(float(sys.argv[1] if len(sys.argv) > 1 else 4) * GIB))
