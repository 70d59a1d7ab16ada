"""A run of a command, watched from outside: what it and its children take of the processors, memory and the disk."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.audit_memory import descendants
from benchmarks.turns import ENVIRONMENT
from fixtures.writer import KIB

if TYPE_CHECKING:
    from collections.abc import Sequence


class Run(NamedTuple):
    """Of one run, over so many images."""

    images: int
    seconds: float
    parent: float
    """Seconds of a processor that the command's own process took."""
    workers: float
    """The same of all that it started."""
    memory: int
    """Bytes that it held at the most."""
    reads: int
    """Of the disk."""

    @property
    def each(self) -> float:
        """Seconds an image."""
        return self.seconds / self.images


def ran(command: Sequence[str | Path], images: int, device: Path | None, given: str | None = None) -> Run:
    """Run a command to its end, and watch its own process."""
    reads, start = reads_of(device), time.perf_counter()
    with subprocess.Popen(
        [*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=ENVIRONMENT, text=True
    ) as process:
        watch = _Watch(process.pid)
        watch.start()
        process.communicate(given)
        taken = time.perf_counter() - start
    if process.returncode:
        raise OSError(f"{command[0]}: exit status {process.returncode}")
    return Run(images, taken, watch.processor, watch.others, watch.memory, reads_of(device) - reads)


class _Watch(threading.Thread):
    """Looks at a process and its children, and theirs, twenty times a second, until it is gone."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._others: dict[int, float] = {}
        self.processor = 0.0
        self.memory = 0

    @property
    def others(self) -> float:
        """Seconds of a processor of all but the process itself."""
        return sum(self._others.values())

    def run(self) -> None:
        while True:
            try:
                status = Path(f"/proc/{self._process}/status").read_text(encoding="ascii")
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
                self.processor = _processor(self._process)
            except (OSError, StopIteration):  # a process that has ended holds no memory
                return
            self.memory = int(peak.split()[1]) * KIB
            for child in descendants(self._process):
                with suppress(OSError):
                    self._others[child] = _processor(child)
            time.sleep(0.05)


def _processor(process: int) -> float:
    words = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def device_of(folder: Path) -> Path | None:
    """Return where Linux counts what is asked of the disk that a folder lies on."""
    number = folder.stat().st_dev
    path = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
    return path if path.exists() else None


def reads_of(device: Path | None) -> int:
    return 0 if device is None else int(device.read_text(encoding="ascii").split()[0])
