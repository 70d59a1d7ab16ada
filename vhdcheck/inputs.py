"""Which images the command checks: named files always; in folders, files by suffix that are not text."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vhdcheck.formats import recognise
from vhdcheck.model import FileEnds
from vhdcheck.plan import END, is_footer
from vhdcheck.units import count

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES: Final = (".vhd", ".avhd")
_CONTROLS: Final = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")


@dataclass(slots=True)
class Walk:
    """Finds images, and keeps count of what it left out."""

    skipped_texts: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Folders that could not be read, or hold no image: (name, reason)."""

    def images(self, paths: list[str]) -> Iterator[str]:
        """Yield the files to check, in order; a folder's by name."""
        for path in paths:
            if is_folder(path):
                yield from self._in_folder(path)
            else:
                yield path

    def _in_folder(self, folder: str) -> Iterator[str]:
        before = len(self.problems), self.skipped_texts
        found = 0
        for parent, folders, files in os.walk(folder, onerror=self._unreadable):
            folders.sort()
            for name in sorted(files):
                path = str(Path(parent, name))
                if not name.lower().endswith(SUFFIXES):
                    continue
                if is_text(path):
                    self.skipped_texts += 1
                else:
                    found += 1
                    yield path
        if not found and before[0] == len(self.problems):
            skipped = self.skipped_texts - before[1]
            only = f": {count(skipped, 'text file')}, VHDL source?" if skipped else ""
            self.problems.append((folder, f"no {' or '.join(SUFFIXES)} images in this folder{only}"))

    def _unreadable(self, error: OSError) -> None:
        self.problems.append((str(error.filename), error.strerror or str(error)))


def is_folder(path: str) -> bool:
    """Say whether a path leads to a folder. One that cannot be looked at does not: opening it will tell why."""
    return os.path.isdir(path)  # noqa: PTH112 (Path.is_dir raises where permission is denied or the name is too long)


def is_text(path: str) -> bool:
    """Say whether a file is text, so probably VHDL source, which has the same suffix.

    A text that ends in a footer is a fixed disk, and a text that stands for an image (a Git LFS pointer, a server's
    error page) is a failed download: neither counts.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return False
        with Path(path).open("rb") as file:
            head = file.read(END)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 512))
            tail = file.read(512)
    except OSError:
        return False
    if not head or 0 in head or not _CONTROLS.isdisjoint(head) or is_footer(tail) or is_footer(tail[-511:]):
        return False
    return recognise(FileEnds(size, head, tail)) is None
