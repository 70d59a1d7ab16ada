"""What makes a refused image pass, or why nothing does: the last part of its report.

It is a value that `vhdcheck.mend` computes, which knows how. Reports only carry it, and forms write it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vhdcheck.escape import as_unicode


@dataclass(frozen=True, slots=True)
class Part:
    """A step or a condition: its kind for programs, and in words."""

    kind: str
    """One of the names in `vhdcheck.mend.plans`."""
    text: str
    before: int | None = None
    """The size that a step changes, in bytes; None where it changes none."""
    after: int | None = None
    """The size that it makes of that."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: as a list of arguments, and as a line for a shell."""

    arguments: tuple[str, ...]
    shell: str


@dataclass(frozen=True, slots=True)
class Repair:
    """What makes an image pass at its destination, or why nothing does."""

    possible: bool | None
    """Whether a copy can pass, where the conditions hold; None where that is known only after `first` is done."""
    first: str = ""
    """What has to be done before the commands, in words; empty where there is nothing."""
    commands: tuple[Command, ...] = ()
    """To be run in this order."""
    steps: tuple[Part, ...] = ()
    conditions: tuple[Part, ...] = ()
    """What has to be true of the guest's data. The command checks it before it writes."""
    result: str = ""
    """What the copy is, in words."""
    disk_type: str = ""
    size: int = 0
    """Of the copy's disk, in bytes."""
    length: int = 0
    """Of the copy's file, in bytes, at the most."""
    least_length: int = 0
    """The same, at the least."""
    reasons: tuple[str, ...] = ()
    """Why nothing makes it pass."""
    ask: str = ""
    """What to ask the sender for, where nothing makes it pass."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: what `--format json` has for it."""
        copy = {
            "disk_type": self.disk_type,
            "virtual_size": self.size,
            "length": self.length,
            "least_length": self.least_length,
        }
        return {
            "possible": self.possible,
            "first": self.first,
            "commands": [
                {"arguments": [as_unicode(word) for word in each.arguments], "shell": as_unicode(each.shell)}
                for each in self.commands
            ],
            "steps": [
                {"kind": each.kind, "text": each.text, "before": each.before, "after": each.after}
                for each in self.steps
            ],
            "conditions": [{"kind": each.kind, "text": each.text} for each in self.conditions],
            "copy": copy if self.disk_type else None,
            "reasons": [as_unicode(reason) for reason in self.reasons],
            "ask": self.ask,
        }
