"""vhdcheck beside other readers, on the same images, in one run: `python -m benchmarks.compare [ROUNDS]`.

Every round runs every tool once on every image, so that a busy moment of the machine meets all of them alike; medians,
and ratios of them, are printed and written into `benchmarks/README.md`, with what is aimed at and a picture of cost by
entries. Tools that are not installed, and those that fail, are named. The Python ones come with
`pip install -e '.[bench]'`. Seven rounds, which is what it does unless told otherwise, take ten minutes or more.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import stream_rate
from benchmarks.aims import aims
from benchmarks.document import README, load, machine, put
from benchmarks.images import full
from benchmarks.many import many, rates
from benchmarks.remote import remote, traffic
from benchmarks.stream_rate import streams
from benchmarks.tools import IMAGES, PROGRAMS, VHDCHECK, loops, missing, processes
from benchmarks.turns import by_turns, inside, installed, seconds, table
from fixtures.writer import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.remote import Count
    from benchmarks.turns import Timings

STREAM: Final = 4 * GIB
"""Bytes of a streamed image: the start of Python is a small part of the time."""


def curve(folder: Path) -> None:
    """Draw the time of a check by the entries of its table."""
    import matplotlib as mpl  # extra "bench"

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "vhdcheck"
    figure, axes = plt.subplots(figsize=(6, 3.5))
    for label, shuffled in (("in order", False), ("shuffled", True)):
        points = []
        for gib in (1, 4, 16, 64, 256, 1024, 2040):
            path = full(gib * GIB, shuffled=shuffled).write(folder / "curve.vhd")
            points.append((gib * 512, 1000 * min(inside(PROGRAMS["vhdcheck"][1], path) for _ in range(3))))
        axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="blocks in use", ylabel="ms", title="A check by the blocks of its image"
    )
    axes.legend()
    figure.savefig(README.with_name("cost.svg"), metadata={"Date": None}, bbox_inches="tight")


def measured(rounds: int, folder: Path, problems: dict[str, str]) -> tuple[dict[str, Timings], dict[str, Count]]:
    """Make the images, and run everything by turns."""
    paths = {image: make().write(folder / f"{image.replace(' ', '-')}.vhd") for image, make in IMAGES.items()}
    seconds([*VHDCHECK, paths["40 GiB full"]])  # modules are compiled, files in the cache
    with remote(problems) as (fetched, counts):
        sections = {
            "processes": processes(paths, problems),
            "loops": loops(paths, problems),
            "many": many(folder, problems),
            "streams": streams(folder, STREAM),
            "remote": fetched,
        }
        return by_turns(rounds, sections, problems), counts


def written(timings: Mapping[str, Timings], counts: Mapping[str, Count]) -> list[str]:
    """Write everything that was measured."""
    parts = (
        ("A process for each image, ms:", table(timings["processes"], 1e3)),
        (
            "Within one process, µs (others open the image, vhdcheck judges all of it):",
            table(timings["loops"], 1e6),
        ),
        ("Many small dynamic images, start-up included:", rates(timings["many"])),
        (
            f"A pipe, ms of a GiB, {STREAM // GIB} GiB at once, start-up included; the ratio is to StreamChecker's:",
            table(timings["streams"], 1e3, stream_rate.OURS),
        ),
        ("From a server of this machine, what it was asked for:", traffic(counts)),
        (
            "and ms within one process, beside loops that ask for the same bytes and judge nothing:",
            table(timings["remote"], 1e3),
        ),
        ("What is aimed at, by the medians above:", aims(timings, counts)),
    )
    return [line for title, lines in parts for line in (title, "", *lines, "")]


def main(rounds: int) -> None:
    """Measure, print and write."""
    problems = missing()
    with tempfile.TemporaryDirectory() as name:
        timings, counts = measured(rounds, Path(name), problems)
        if installed("matplotlib"):
            curve(Path(name))
        else:
            problems["matplotlib"] = "not installed: no picture"
    lines = [
        f"{machine()}; {rounds} rounds, load {load()}.",
        "Medians, and in brackets the ratio to vhdcheck's.",
        "",
        *written(timings, counts),
        "Not measured: " + ("; ".join(f"{what}: {why}" for what, why in problems.items()) or "nothing") + ".",
    ]
    put(lines, "figures")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
