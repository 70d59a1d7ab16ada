"""What the caller wants of a mending, and the command that says so: it can be pasted where it was printed."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vhdcheck import targets
from vhdcheck.engine.check import resolve
from vhdcheck.mend.shell import as_file

if TYPE_CHECKING:
    from typing import Unpack

    from vhdcheck.engine.options import MendOptions
    from vhdcheck.engine.parents import Given
    from vhdcheck.targets import Target


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller of `plan` or `mend` chose, with what was left out filled in: `MendOptions`."""

    target: str | Target | None = None
    max_virtual_size: str | int | None = None
    max_physical_size: str | int | None = None
    to: str = ""
    raw: bool = False
    parents: Given | None = None
    now: float | None = None

    @classmethod
    def by(cls, **options: Unpack[MendOptions]) -> Asked:
        """Take the options; one that is misspelt is a TypeError."""
        return cls(**options)

    @property
    def called(self) -> str:
        """The target as it was named."""
        return self.target if isinstance(self.target, str) else ""

    @property
    def clock(self) -> float:
        """The time to judge by."""
        return time.time() if self.now is None else self.now

    def judged_for(self, usual: str | Target = targets.DEFAULT) -> Target:
        """Load the target.

        Raises:
            UsageError: an unknown target, a malformed limit.
        """
        return resolve(self.target or usual, self.max_virtual_size, self.max_physical_size)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants besides the target's acceptance."""

    to: str = ""
    """`fixed` or `dynamic`; empty for whichever the target takes, the image's own type first."""
    raw: bool = False
    """Take the file for a raw disk."""
    out: str = ""
    """The copy's name, for the command; empty for one that does not exist yet."""
    in_place: bool = False
    parents: tuple[str, ...] = ()
    """Files that were given for parents, for the command: those that the chain needs, the nearest first."""
    target: str = ""
    """The target's name or file, for the command."""
    program: tuple[str, ...] = ()
    """What to run, for the command; empty for what runs here."""


def command_for(target: Target, wish: Wish, source: str, *, raw: bool) -> tuple[str, ...]:
    """Write the command; the program as it was run, and a name for the copy that does not exist yet."""
    out = wish.out or free_name(Path(source).with_name(f"{Path(source).stem}-mended.vhd"))
    done = ["--in-place"] if wish.in_place and not raw else ["-o", as_file(out)]
    words = [*(wish.program or running()), as_file(source), *done]
    for parent in wish.parents:
        words += ["--parent", as_file(parent)]
    base = target
    name = wish.target or target.name
    if name != targets.DEFAULT:
        words += ["--target", as_file(name)]
    if wish.target or name in targets.names():
        base = targets.load(name)
    for option, value, usual in (
        ("--max-virtual-size", target.max_virtual_size, base.max_virtual_size),
        ("--max-physical-size", target.max_physical_size, base.max_physical_size),
    ):
        if value != usual and value is not None:
            words += [option, str(value)]
    return (*words, *(["--to", wish.to] if wish.to else []), *(["--raw"] if raw else []))


def running() -> tuple[str, ...]:
    """Return what runs this command here: the script, where one was run, or the interpreter and the module."""
    script = Path(sys.argv[0]) if sys.argv and sys.argv[0] else None
    if script is not None and script.name in ("vhdcheck", "vhdcheck-mend", "vhdcheck-tasks"):
        beside = script.with_name("vhdcheck-mend")
        if beside.exists():
            return (_short(str(beside)),)
    return _short(sys.executable or "python3"), "-m", "vhdcheck.mend"


def _short(path: str) -> str:
    """Return a program's name alone, where a shell finds this very program by it."""
    name = os.path.basename(path)
    return name if shutil.which(name) == path else path


def free_name(path: Path) -> str:
    """Return a name that nothing has: this one, or with a number."""
    tries = (path, *(path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 100)))
    return str(next((name for name in tries if not os.path.lexists(name)), path))
