"""What a report is written by, besides the images: the same for all forms, and for all processes that write it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vhdcheck.report.results import Results

if TYPE_CHECKING:
    from vhdcheck.targets import Target


@dataclass(frozen=True, slots=True)
class Context:
    """What was judged for, what the run comes to, and what the place that it is written to can show."""

    target: Target
    results: Results = field(default_factory=Results)
    """Filled while the images come: complete when they have ended."""
    with_map: bool = False
    """Whether the map is asked for; the images were checked with `allocation` then."""
    brief: bool = False
    """Whether several images may come, so that an accepted one takes a line."""
    colour: bool = False
    encoding: str | None = None
    """Of the place that the report is written to: which signs it can show."""
    columns: int = 100
    """Of that place: how wide it is."""
    folder: str = ""
    """The working directory, which workers elsewhere do not have: what names are relative to in some forms."""

    def for_workers(self) -> Context:
        """Leave out what has been counted: where images are checked, nothing is known of the others."""
        return replace(self, results=Results(fail_on=self.results.fail_on))
