"""Timing by turns: every round runs every case once, so that a busy moment of the machine meets all of them alike."""

from __future__ import annotations

import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

Cases: TypeAlias = "dict[tuple[str, str], Callable[[], float]]"
"""By row and column of a table: what is run, and returns seconds."""
Timings: TypeAlias = dict[tuple[str, str], list[float]]

LOOP: Final = """
import sys, time, warnings
warnings.simplefilter("ignore")
path, times = sys.argv[1], []
do(path)
last = time.perf_counter() + 0.3
while time.perf_counter() < last or len(times) < 3:
    start = time.perf_counter(); do(path); times.append(time.perf_counter() - start)
times.sort()
print(times[len(times) // 2])
"""
"""Behind a program that defines `do`; its arguments are what to do it with, and whatever else the program takes."""
REFUSALS: Final = (0, 1, 22)
"""Exit statuses of readers that accept an image, or refuse it; vhd-util's is 22."""
PATIENCE: Final = 20.0
"""Seconds for one image: a tool whose cost is quadratic is named, not waited for."""
ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As where it is installed: modules are compiled once, not in each process."""


def seconds(command: Sequence[str | Path], statuses: Container[int] = REFUSALS, *, patience: float = PATIENCE) -> float:
    """Time a process that ends with one of these exit statuses; by default it may judge as it likes.

    Raises:
        OSError: it fails, or cannot be started.
        TimeoutExpired: it takes longer than so many seconds.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as process:
        # Not by `wait(timeout)`, which sleeps between looks, up to 50 ms: that would be measured.
        limit = threading.Timer(patience, process.kill)
        limit.start()
        status = process.wait()
        taken = time.perf_counter() - start
        limit.cancel()
    if taken >= patience:
        raise subprocess.TimeoutExpired(command, patience)
    if status not in statuses:
        raise OSError(f"exit status {status}")
    return taken


def inside(program: str, *arguments: str | Path) -> float:
    """Return a function's median time within one process, in seconds."""
    command = (sys.executable, "-c", program + LOOP, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, timeout=120)
    if done.returncode:
        raise OSError(done.stderr.strip().rpartition("\n")[2] or "failed")
    return float(done.stdout)


def installed(module: str) -> bool:
    """Tell whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def by_turns(rounds: int, sections: Mapping[str, Cases], problems: dict[str, str]) -> dict[str, Timings]:
    """Run every case of every section once a round. What fails is named, and left out from then on."""
    timings: dict[str, Timings] = {section: {} for section in sections}
    for number, (section, cases) in itertools.product(range(1, rounds + 1), sections.items()):
        print(f"round {number} of {rounds}: {section}", file=sys.stderr)
        for case, run in cases.items():
            name = f"{section}, {', '.join(case)}"
            if name in problems:
                continue
            try:
                timings[section].setdefault(case, []).append(run())
            except (OSError, subprocess.SubprocessError) as error:
                problems[name] = str(error)
                timings[section].pop(case, None)
    return timings


def median(timings: Timings, row: str, column: str) -> float | None:
    """Return the median of a case's rounds, in seconds, if it was measured."""
    times = timings.get((row, column))
    return statistics.median(times) if times else None


def ratio(timings: Timings, above: tuple[str, str], below: tuple[str, str]) -> float | None:
    """Divide the median of one case by that of another, if both were measured."""
    dividend, divisor = median(timings, *above), median(timings, *below)
    return dividend / divisor if dividend and divisor else None


def figure(value: float) -> str:
    """Write three digits or more."""
    return f"{value:,.{0 if value >= 100 else 1}f}".replace(",", " ")


def table(timings: Timings, unit: float, ours: str = "vhdcheck") -> list[str]:
    """Write medians as a table, with the ratio to those of our own row."""
    rows = list(dict.fromkeys(row for row, _ in timings))
    columns = list(dict.fromkeys(column for _, column in timings))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = []
        for column in columns:
            time_, times = median(timings, row, column), ratio(timings, (row, column), (ours, column))
            cells.append("–" if time_ is None or times is None else f"{figure(time_ * unit)} ({times:.2f})")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines
