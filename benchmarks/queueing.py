"""What bounds a run over many images: a simulation of its queues.

A run is a closed system. Each worker takes an image, computes, asks its storage once or more, and hands the result to
the parent, which writes one after the other. Processors and the storage serve so many at once, whoever came first; the
parent serves one, and needs a processor for it. (Where jobs outnumber processors by far, that is less than a system's
scheduler would give the parent.) `rate` plays that through, event by event. What each step takes is not guessed but
measured: `benchmarks.scale`.
"""

from __future__ import annotations

import heapq
import random
from typing import Final, NamedTuple

IMAGES: Final = 20_000
"""Enough that the start and the end of a run do not count."""
_PARENT: Final = -1


class Storage(NamedTuple):
    """Where images lie: what a read takes, in seconds, and how many are served at once."""

    latency: float
    at_once: int


class Steps(NamedTuple):
    """What an image takes, in seconds of a processor, and how many reads."""

    worker: float
    parent: float
    reads: float


class _Station:
    """Servers, and whoever comes first is served first. Whoever comes next may not come earlier."""

    def __init__(self, servers: int) -> None:
        self._free = [0.0] * servers

    def done(self, now: float, takes: float) -> float:
        """Return when a service that is asked for now is done."""
        end = max(now, self._free[0]) + takes
        heapq.heapreplace(self._free, end)
        return end


def rate(steps: Steps, storage: Storage, *, jobs: int, processors: int) -> float:
    """Return the images in a second of a run."""
    chance = random.Random(jobs)
    processor, disk = _Station(processors), _Station(storage.at_once)
    started = ended = waiting = 0
    now = 0.0
    # When a step ends, whose it was (-1: the parent's), and how many reads of the worker's image are still to be done.
    events = [(0.0, worker, 0) for worker in range(jobs)]
    fresh = set(range(jobs))
    while ended < IMAGES:
        now, who, reads = heapq.heappop(events)
        if who == _PARENT:
            ended += 1
            waiting -= 1
            if waiting:
                heapq.heappush(events, (processor.done(now, steps.parent), _PARENT, 0))
        elif reads:
            takes = chance.expovariate(1 / storage.latency) if storage.latency else 0.0
            heapq.heappush(events, (disk.done(now, takes), who, reads - 1))
        else:
            if who in fresh:
                fresh.remove(who)
            else:
                waiting += 1
                if waiting == 1:
                    heapq.heappush(events, (processor.done(now, steps.parent), _PARENT, 0))
            if started < IMAGES:
                started += 1
                wanted = int(steps.reads) + (chance.random() < steps.reads % 1)
                heapq.heappush(events, (processor.done(now, steps.worker), who, wanted))
    return IMAGES / now
