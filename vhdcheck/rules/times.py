"""Time stamps that lie ahead: when that is, and what a writer may have meant."""

from __future__ import annotations

import time
from typing import Final

from vhdcheck.format.structures import EPOCH

NEAR: Final = 20 * 365 * 86400
"""Seconds around now within which a time stamp makes sense."""
SOON: Final = 2 * 86400
"""Seconds that are worth waiting for: the largest difference between local times, twice."""


def date(unix: float) -> str:
    """Write a time, in Unix seconds, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix))


def meant(timestamp: int, now: float) -> str:
    """Say how a writer may have come to a time stamp that lies ahead; empty where it is not known."""
    for less, how in ((EPOCH, "the writer did not subtract"), (2 * EPOCH, "the writer added, not subtracted,")):
        unix = timestamp + EPOCH - less
        if abs(unix - now) < NEAR:
            return f"; {how} the 30 years from 1970 to 2000, and means {date(unix)}"
    return ""


def remedy(timestamp: int, now: float) -> str:
    """Say what to do about a time stamp that lies ahead."""
    ahead = timestamp + EPOCH - now
    if ahead <= SOON:
        hours = max(1, round(ahead / 3600))
        return (
            f"compare the clock of the machine that made the image with this one's. If this one is right, wait"
            f" {hours} {'hour' if hours == 1 else 'hours'}, or set the time to one that has been"
        )
    return "set the time to one that has been, and correct the clock or the program that made the image"
