"""The simulation of a run (`benchmarks.queueing`): it never beats what bounds it, and comes near the tightest bound."""

from __future__ import annotations

import pytest

from benchmarks.queueing import Steps, Storage, rate

CACHE = Storage(0, 1)


@pytest.mark.parametrize(
    ("steps", "storage", "jobs", "processors", "bound"),
    [
        (Steps(400e-6, 0, 2), CACHE, 1, 2, 2500),
        (Steps(400e-6, 10e-6, 2), CACHE, 4, 5, 10_000),  # the workers
        (Steps(400e-6, 200e-6, 2), CACHE, 16, 17, 5000),  # the parent
        (Steps(300e-6, 100e-6, 2), CACHE, 2, 2, 5000),  # the processors
        (Steps(300e-6, 30e-6, 2), Storage(8e-3, 1), 16, 17, 62.5),  # the disk
        (Steps(300e-6, 30e-6, 1.5), Storage(1e-3, 4), 32, 33, 2667),
    ],
)
def test_what_bounds_it(steps: Steps, storage: Storage, jobs: int, processors: int, bound: float) -> None:
    assert 0.93 * bound < rate(steps, storage, jobs=jobs, processors=processors) < 1.03 * bound
