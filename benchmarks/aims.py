"""What vhdcheck is meant to cost, beside what it cost in this run."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import many, remote, stream_rate
from benchmarks.tools import DYNAMIC, FIRST, FIXED, IMAGES, IMPORTS
from benchmarks.turns import figure, median, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from benchmarks.remote import Count
    from benchmarks.turns import Timings

SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {"<": operator.lt, "≤": operator.le, "≥": operator.ge}
SMALL: Final = ("dynamic 10 MiB", "10 MiB empty")
"""oslo.utils reads on through the blocks: of an image that has none, it is soon done."""
HUGE: Final = tuple(image for image in IMAGES if image.startswith("2040 GiB"))
INTERPRETER: Final = 16
"""Milliseconds of `python -c pass` on the machine for which `MICROSECONDS` were set."""
MICROSECONDS: Final = {FIRST: 60, **dict.fromkeys(SMALL, 100)}
"""Of a check within one process, on that machine."""


class Aim(NamedTuple):
    """A bound, and what is to keep it: reached if all of it does."""

    what: str
    figures: dict[str, float | None]
    """By image, or what else was measured; None where it was not."""
    sign: str = "≤"
    bound: float | None = None
    """None where a figure is only to be shown."""

    def row(self) -> str:
        """Write a row of the table."""
        there = {name: value for name, value in self.figures.items() if value is not None}
        shown = ", ".join(f"{value:.4g}" + f" ({name})" * (len(there) > 1) for name, value in there.items())
        aim = "to be compared" if self.bound is None else f"{self.sign} {self.bound:g}"
        return f"| {self.what} | {aim} | {shown or '–'} | {self._verdict(list(there.values()))} |"

    def _verdict(self, values: list[float]) -> str:
        if not values:
            return "not measured"
        if self.bound is None:
            return "–"
        bound = self.bound
        verdict = "reached" if all(SIGNS[self.sign](value, bound) for value in values) else "**not reached**"
        unmeasured = [name for name, value in self.figures.items() if value is None]
        return verdict + f" (not measured: {', '.join(unmeasured)})" * bool(unmeasured)


def aims(timings: Mapping[str, Timings], counts: Mapping[str, Count]) -> list[str]:
    """Write the aims as a table, and those in microseconds, which hold for another machine, as sentences."""
    rows = [aim.row() for aim in (*_of_processes(timings["processes"]), *_of_loops(timings["loops"]))]
    rows += [aim.row() for aim in (*_of_runs(timings), *_of_traffic(counts))]
    return ["| | aim | figure | |", "|---|---|---|---|", *rows, "", *_of_another_machine(timings)]


def _ours_to(timings: Timings, other: str, images: Iterable[str]) -> dict[str, float | None]:
    return {image: ratio(timings, ("vhdcheck", image), (other, image)) for image in images}


def _of_processes(timings: Timings) -> Iterable[Aim]:
    helped = ratio(timings, ("vhdcheck --help", FIRST), ("python -c pass", FIRST))
    fixed, dynamic = _ours_to(timings, IMPORTS, FIXED), _ours_to(timings, IMPORTS, DYNAMIC)
    yield Aim("`--help`, to `python -c pass`", {"": helped}, bound=3)
    yield Aim("process of a fixed image, to its imports", fixed, bound=1.25)
    yield Aim("process of a dynamic image, to its imports", dynamic, bound=1.25)


def _of_loops(timings: Timings) -> Iterable[Aim]:
    huge = _ours_to(timings, "read it and sort the table", HUGE)
    yield Aim("in process, to oslo.utils detect", _ours_to(timings, "oslo.utils detect", IMAGES), "<", 1)
    yield Aim("in process, to dissect open", _ours_to(timings, "dissect open", (FIRST, *SMALL)), bound=2)
    yield Aim("in process, 2040 GiB in any order, to reading and sorting", huge, bound=2)


def _of_runs(timings: Mapping[str, Timings]) -> Iterable[Aim]:
    runs = {"2000 images": many.TWO_JOBS_FEWER, "10 000 images": many.TWO_JOBS}
    times = {name: ratio(timings["many"], (many.QEMU, many.COLUMN), (run, many.COLUMN)) for name, run in runs.items()}
    yield Aim("`--jobs 2`, times as fast as a qemu-img process for each image", times, "≥", 15)
    faster = ratio(timings["many"], (many.ONE_JOB, many.COLUMN), (many.TWO_JOBS, many.COLUMN))
    yield Aim("`--jobs 2`, times as fast as one job", {"": faster}, "≥", 1.8)
    rows = {"jsonl": many.TWO_JOBS, **many.FORMS}
    parents = {form: median(timings["many"], row, many.PARENT) for form, row in rows.items()}
    shown = {form: time and time * 1e6 for form, time in parents.items()}
    yield Aim("`--jobs 2`, processor time of the parent, µs an image", shown, "<", 40)
    rates = {
        image: ratio(timings["streams"], (stream_rate.DISCARDED, image), (stream_rate.OURS, image))
        for image in stream_rate.IMAGES
    }
    yield Aim("rate of a checked pipe, to reading and discarding", rates, "≥", 0.9)
    others = {
        image: ratio(timings["streams"], (stream_rate.OURS, image), (stream_rate.OSLO_WRAPPER, image))
        for image in stream_rate.IMAGES
    }
    yield Aim("time of a checked pipe, to oslo.utils InspectWrapper", others, "<", 1)


def _of_traffic(counts: Mapping[str, Count]) -> Iterable[Aim]:
    for way in remote.MODULES:
        of_way = {image: counts.get(f"{way}, {image}") for image in remote.IMAGES}
        yield Aim(
            f"{way}: requests", {image: of and of.requests for image, of in of_way.items()}, bound=remote.REQUESTS
        )
        excess = {image: of and of.sent / of.metadata for image, of in of_way.items()}
        fixed = {image: excess.pop(image) for image in list(excess) if image in FIXED}
        yield Aim(f"{way}: bytes of a dynamic image, to its metadata", excess, bound=remote.EXCESS)
        yield Aim(f"{way}: bytes of a fixed image, to its footer", fixed, bound=remote.EXCESS)


def _of_another_machine(timings: Mapping[str, Timings]) -> Iterable[str]:
    here = median(timings["processes"], "python -c pass", FIRST)
    took = "was not measured" if here is None else f"took {here * 1e3:.1f} ms"
    yield (
        "Within one process, on a machine on which `python -c pass` takes"
        f" {INTERPRETER} ms (here it {took}; nothing is scaled):"
    )
    yield ""
    for image, bound in MICROSECONDS.items():
        time = median(timings["loops"], "vhdcheck", image)
        yield f"- {image}: aim {bound} µs, here {'not measured' if time is None else figure(time * 1e6) + ' µs'}."
