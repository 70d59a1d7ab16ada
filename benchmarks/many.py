"""Many small images: one command of ours, a loop within one process, and a process for each image."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.tools import ON_IMAGES, PROGRAMS, VHDCHECK
from benchmarks.turns import REFUSALS, figure, median, seconds
from benchmarks.watched import Run, ran
from fixtures.writer import MIB, dynamic

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence
    from pathlib import Path

    from benchmarks.turns import Cases, Timings

FEWER: Final = 2000
MORE: Final = 10_000
EACH: Final = 200
"""Images that get a process each: enough for a rate."""
SCAN: Final = f"vhd-util scan, which checks no table, {MORE} images"
TOGETHER: Final = 300.0
"""Seconds for all images in one process."""
EVERY: Final = """
import sys, warnings
warnings.simplefilter("ignore")
for path in open(sys.argv[1]).read().split(): do(path)
"""
"""Behind a program that defines `do`; its argument is a list of paths."""
COLUMN: Final = "µs"
PARENT: Final = "of these in the parent"
"""Processor time of the process that hands out the work and writes the report: what bounds any number of jobs."""
ONE_JOB: Final = f"vhdcheck, {MORE} images"
TWO_JOBS: Final = f"vhdcheck --jobs 2, {MORE} images"
FORMS: Final = {form: f"{TWO_JOBS}, {form}" for form in ("text", "junit", "sarif")}
TWO_JOBS_FEWER: Final = f"vhdcheck --jobs 2, {FEWER} images"
QEMU: Final = "qemu-img info, a process each"


def many(folder: Path, absent: Container[str]) -> Cases:
    """Write the images into a folder; each case returns the seconds of one, start-up included."""
    images = _written(folder)
    half = folder / "fewer.txt"
    half.write_text("".join(f"{path}\n" for path in images[:FEWER]), encoding="utf-8")
    ours = (*VHDCHECK, "--format", "jsonl")
    cases = {
        f"vhdcheck, {FEWER} images": _together(FEWER, (*ours, "--files-from", half)),
        TWO_JOBS_FEWER: _together(FEWER, (*ours, "--jobs", "2", "--files-from", half)),
        ONE_JOB: _together(MORE, (*ours, images[0].parent)),
    }
    watched = {
        TWO_JOBS: _Watched((*ours, "--jobs", "2", images[0].parent)),
        **{
            row: _Watched((*VHDCHECK, "--format", form, "--jobs", "2", images[0].parent)) for form, row in FORMS.items()
        },
    }
    cases |= {row: run.each for row, run in watched.items()}
    if shutil.which("vhd-util"):
        cases[SCAN] = _together(MORE, ("vhd-util", "scan", "-f", "-m", images[0].parent / "*.vhd"), statuses=(0,))
    for tool in ("oslo.utils detect", "dissect open", "pyvhdi open"):
        if tool not in absent:
            program = (sys.executable, "-c", PROGRAMS[tool][1] + EVERY, half)
            cases[f"{tool}, {FEWER} images in one process"] = _together(FEWER, program, statuses=(0,))
    for tool, command in ON_IMAGES.items():
        if tool != "vhdcheck" and tool not in absent:
            cases[f"{tool}, a process each"] = _apart(command, images[:EACH])
    parents = {(row, PARENT): run.parent for row, run in watched.items()}
    return {(row, COLUMN): run for row, run in cases.items()} | parents


class _Watched:
    """A run over all images, measured in two ways at once."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._command = command
        self._run: Run | None = None

    def each(self) -> float:
        """Run it, and return the seconds of an image."""
        self._run = None
        self._run = ran(self._command, MORE, None)
        return self._run.each

    def parent(self) -> float:
        """Return what of the last run's processor time the parent took, for an image."""
        if self._run is None:
            raise OSError("it failed")
        return self._run.parent / MORE


def _written(folder: Path) -> list[Path]:
    """Write images, each a file of its own."""
    original = dynamic(10 * MIB, blocks=[0, 3])
    within = folder / "many"
    within.mkdir()
    return [original.write(within / f"{index:05}.vhd") for index in range(MORE)]


def _together(number: int, command: Sequence[str | Path], statuses: Container[int] = REFUSALS) -> Callable[[], float]:
    return lambda: seconds(command, statuses, patience=TOGETHER) / number


def _apart(command: Sequence[str], images: Sequence[Path]) -> Callable[[], float]:
    return lambda: sum(seconds((*command, image)) for image in images) / len(images)


def rates(timings: Timings) -> list[str]:
    """Write the medians as a table, beside the fastest of ours."""
    lines = [f"| | images/s | µs each | {PARENT} | `--jobs 2` is so many times faster |", "|---" * 5 + "|"]
    each = {row: time for row, column in timings if column == COLUMN and (time := median(timings, row, column))}
    for row, time in each.items():
        times = f"{time / each[TWO_JOBS]:.1f}" if TWO_JOBS in each else "–"
        parent = median(timings, row, PARENT)
        of_parent = "–" if parent is None else figure(parent * 1e6)
        lines.append(f"| {row} | {figure(1 / time)} | {figure(time * 1e6)} | {of_parent} | {times} |")
    return lines
