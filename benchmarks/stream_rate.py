"""What checking costs a pipe: the time of StreamChecker beside loops that read and discard, and oslo.utils'.

    python -m benchmarks.stream_rate [GIB]

`cat IMAGE | ...` in each case, by turns, the median of five. Python's programs enlarge the pipe and read 1 MiB at a
time; `cat >/dev/null` takes it as it comes. oslo.utils is measured where it is installed (extra `bench`).
`benchmarks.compare` measures the same beside everything else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.images import full
from benchmarks.turns import ENVIRONMENT, by_turns, installed, table
from fixtures.writer import GIB, fixed

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.turns import Cases

OURS: Final = "StreamChecker"
DISCARDED: Final = "read and discard"
OSLO_WRAPPER: Final = "oslo.utils InspectWrapper"
IMAGES: Final = {"fixed": fixed, "dynamic, full": full}
DISCARD: Final = """
import sys, fcntl
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
view = memoryview(bytearray(1 << 20))
while sys.stdin.buffer.raw.readinto(view):
    pass
"""
CHECK: Final = """
import sys
from vhdcheck.engine.stream_checker import StreamChecker, check_stream
limits = dict(max_virtual_size="1TiB", max_physical_size="1TiB")
report = check_stream(sys.stdin.buffer.raw, StreamChecker(target="generic", **limits))
sys.exit(not report.ok)
"""
WRAP: Final = """
import sys, fcntl
from vhdcheck.engine.stream_checker import StreamChecker
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
checker = StreamChecker(target="generic", max_virtual_size="1TiB", max_physical_size="1TiB")
image = checker.wrap(sys.stdin.buffer.raw)
while image.read(1 << 17):
    pass
sys.exit(not checker.finish().ok)
"""
AWRAP: Final = """
import sys, asyncio, fcntl
from vhdcheck.engine.stream_checker import StreamChecker
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
checker = StreamChecker(target="generic", max_virtual_size="1TiB", max_physical_size="1TiB")
async def chunks():
    while chunk := sys.stdin.buffer.raw.read(1 << 17):
        yield chunk
async def main():
    async for _ in checker.awrap(chunks()):
        pass
asyncio.run(main())
sys.exit(not checker.finish().ok)
"""
OSLO: Final = """
import sys, fcntl
from oslo_utils.imageutils.format_inspector import InspectWrapper
fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
image = InspectWrapper(sys.stdin.buffer.raw)
while image.read(1 << 20):
    pass
"""
READERS: Final = {
    "cat >/dev/null": ["sh", "-c", "cat >/dev/null"],
    DISCARDED: [sys.executable, "-c", DISCARD],
    OURS: [sys.executable, "-c", CHECK],
    "StreamChecker.wrap": [sys.executable, "-c", WRAP],
    "StreamChecker.awrap, with asyncio": [sys.executable, "-c", AWRAP],
    OSLO_WRAPPER: [sys.executable, "-c", OSLO],
}
"""The first of them brings the image into the page cache."""


def streams(folder: Path, size: int) -> Cases:
    """Write images of `size` bytes into a folder; each case returns the seconds of 1 GiB, start-up included."""
    paths = {
        name: make(size).write(folder / f"stream-{index}.vhd") for index, (name, make) in enumerate(IMAGES.items())
    }
    return {
        (reader, image): _piped(path, command)
        for image, path in paths.items()
        for reader, command in READERS.items()
        if command[-1] is not OSLO or installed("oslo_utils")
    }


def _piped(path: Path, command: list[str]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
            subprocess.run(command, stdin=cat.stdout, stderr=subprocess.DEVNULL, check=True, env=ENVIRONMENT)
        return (time.perf_counter() - start) * GIB / path.stat().st_size

    return run


def main(size: int) -> None:
    """Measure, and print times and their ratios."""
    problems: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        timings = by_turns(5, {"streams": streams(Path(folder), size)}, problems)
    print("ms of a GiB, and in brackets the ratio to StreamChecker's:", *table(timings["streams"], 1e3, OURS), sep="\n")
    print(*problems.items(), sep="\n", end="")


if __name__ == "__main__":
    main(int(float(sys.argv[1] if len(sys.argv) > 1 else 4) * GIB))
