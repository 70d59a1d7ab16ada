"""How a task moves: pending, processing, success or failure; never back, and not out of a final state."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """What a task is doing."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCESS = "success"
    FAILURE = "failure"


FINAL: Final = frozenset({Status.SUCCESS, Status.FAILURE})
MOVES: Final = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.FAILURE}),
    Status.PROCESSING: FINAL,
    Status.SUCCESS: frozenset[Status](),
    Status.FAILURE: frozenset[Status](),
}


def before(status: Status) -> list[Status]:
    """List the states from which a task may move to `status`: the condition of the UPDATE that moves it."""
    return [each for each in Status if status in MOVES[each]]
