"""Memory of the command over a long run: `python benchmarks/audit_memory.py [IMAGES] [JOBS]` (100 000 and 1).

The images are hard links to three small ones in a temporary folder. Prints the resident memory of the command's own
process, and of its workers together, each time that a tenth is done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fixtures.writer import GIB, MIB, dynamic, fixed  # noqa: E402 (run as a script)

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(process: int) -> float:
    """Return a process's resident memory, in MiB."""
    return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * PAGE / MIB


def descendants(process: int) -> list[int]:
    """List the children of a process, and theirs."""
    children = [
        int(child)
        for path in Path(f"/proc/{process}/task").glob("*/children")
        for child in path.read_text(encoding="ascii").split()
    ]
    return [*children, *(child for each in children for child in descendants(each))]


def main(number: int, jobs: int) -> None:
    """Check `number` images and print a row each tenth."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = [fixed(64 << 10), dynamic(10 * MIB, blocks=[1, 0]), dynamic(41 * GIB)]
        originals = [kind.write(folder / f"{index}.img") for index, kind in enumerate(kinds)]
        for index in range(number):
            if index % 3000 < len(originals):  # a file has at most 65 000 names
                copy = folder / f"{index}.copy"
                copy.write_bytes(originals[index % 3].read_bytes())
                originals[index % 3] = copy
            os.link(originals[index % 3], folder / f"{index:07}.vhd")
        command = [sys.executable, "-m", "vhdcheck", "--format", "jsonl", "--jobs", str(jobs), str(folder)]
        started = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            print("    done   seconds   images/s   RSS MiB   workers MiB")
            for index, _ in enumerate(process.stdout, 1):
                if index % (number // 10) == 0:
                    seconds = time.perf_counter() - started
                    workers = sum(map(resident, descendants(process.pid)))
                    print(
                        f"{index:8}{seconds:10.1f}{index / seconds:11.0f}{resident(process.pid):10.1f}{workers:14.1f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main(*map(int, [*sys.argv[1:3], *("100000", "1")[len(sys.argv) - 1 :]]))
