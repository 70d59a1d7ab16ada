"""Which images the command checks: named files always; in folders, files by suffix that are not text."""

from __future__ import annotations

import glob
import os
import stat
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from vhdcheck.errors import SourceError, UsageError, VhdcheckError
from vhdcheck.format.creators import SUFFIXES
from vhdcheck.format.limits import END
from vhdcheck.format.lookalikes import recognise
from vhdcheck.format.span import Span
from vhdcheck.format.structures import is_footer
from vhdcheck.redaction import redacted
from vhdcheck.sources.local import FileSource
from vhdcheck.sources.urls import is_store_folder, is_store_pattern, is_url
from vhdcheck.units import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader


_PIECE: Final = 1 << 16
_CONTROLS: Final = frozenset(range(32)) - frozenset(b"\t\n\r\f\x1b")


Item: TypeAlias = tuple[str, int | None]
"""A path, and where it was found. None: it is checked whatever it is. Else it is left out if it is text; whoever checks
it finds that out, since each image is opened for that."""


@dataclass(slots=True)
class _Search:
    """A folder, and what was found in it."""

    folder: str = ""
    found: int = 0
    """Files with the suffix of an image."""
    texts: int = 0
    """How many of them were texts."""

    @property
    def problem(self) -> tuple[str, str] | None:
        """Say of a folder without images why it has none."""
        if self.found > self.texts:
            return None
        only = f": {count(self.texts, 'text file')}, VHDL source?" if self.texts else ""
        return self.folder, f"no {' or '.join(SUFFIXES)} images in this folder{only}"


@dataclass(slots=True)
class Walk:
    """Finds images, and keeps count of what is left out."""

    skip_named_texts: bool = False
    """Whether texts are left out also where they are named, not found in a folder."""
    _searches: list[_Search] = field(default_factory=lambda: [_Search()])
    """The first stands for the names."""
    _problems: list[tuple[str, str] | _Search] = field(default_factory=list)

    def images(self, paths: Iterable[str]) -> Iterator[Item]:
        """Yield the files to check, in order; a folder's by name."""
        for path in paths:
            if is_store_folder(path) or is_store_pattern(path):
                yield from self._in_store(path)
            elif is_folder(path):
                yield from self._in_folder(path)
            else:
                yield path, 0 if self.skip_named_texts and not is_url(path) else None

    def skip(self, place: int) -> None:
        """Count a text that was found there."""
        self._searches[place].texts += 1

    @property
    def skipped_texts(self) -> int:
        """How many there were."""
        return sum(each.texts for each in self._searches)

    @property
    def problems(self) -> list[tuple[str, str]]:
        """Folders that could not be read, or hold no image: (name, reason). Complete when all images are checked."""
        found = (each.problem if isinstance(each, _Search) else each for each in self._problems)
        return [each for each in found if each is not None]

    def _in_store(self, url: str) -> Iterator[Item]:
        from vhdcheck.sources.store_listing import listed  # asyncio costs 20 ms

        found = 0
        try:
            for image in listed(url):
                found += 1
                yield image, None
        except VhdcheckError as error:  # also what has no driver
            self._problems.append((redacted(url), str(error).removeprefix(f"{redacted(url)}: ")))
            return
        if not found:
            what = "nothing matches" if is_store_pattern(url) else f"no {' or '.join(SUFFIXES)} images in this folder"
            self._problems.append((redacted(url), what))

    def _in_folder(self, folder: str) -> Iterator[Item]:
        before, place, search = len(self._problems), len(self._searches), _Search(folder)
        self._searches.append(search)
        for parent, folders, files in os.walk(folder, onerror=self._unreadable):
            folders.sort()
            base = str(Path(parent, "_"))[:-1]  # once a folder: a Path for each of a million files takes time
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES):
                    search.found += 1
                    yield base + name, place
        if before == len(self._problems):
            self._problems.append(search)

    def _unreadable(self, error: OSError) -> None:
        self._problems.append((str(error.filename), error.strerror or str(error)))


def expanded(paths: Iterable[str]) -> Iterator[str]:
    """Replace each pattern by what it matches, by name: `*`, `?`, `[...]`, and `**` for folders within folders.

    A pattern that is itself a file, or that matches nothing, stays as it is, and so do URLs.
    """
    for path in paths:
        if (
            not is_url(path) and is_pattern(path) and (found := sorted(glob.iglob(path, recursive=True)))
        ):  # Path.glob takes no absolute one
            yield from found
        else:
            yield path


def is_pattern(path: str) -> bool:
    """Say whether a path is a pattern, and no file of that very name."""
    if is_url(path):
        return is_store_pattern(path)
    return glob.has_magic(path) and not os.path.lexists(path)


def listed_in(name: str, *, null: bool) -> Iterator[str]:
    """Yield the paths that a file lists, as they are read.

    Args:
        name: the file; `-` is the standard input.
        null: a NUL ends each path, as `find -print0` writes it, not the end of a line.

    Raises:
        UsageError: it is no list.
        SourceError: it cannot be read.
    """
    end = b"\0" if null else b"\n"
    try:
        with nullcontext(cast("BufferedReader", sys.stdin.buffer)) if name == "-" else Path(name).open("rb") as file:
            rest = b""
            while piece := file.read1(_PIECE):
                *whole, rest = (rest + piece).split(end)
                yield from (os.fsdecode(path) for path in whole if path)
                if len(rest) > _PIECE:
                    raise UsageError(f"{name}: not a list of paths: nothing ends the one that begins {rest[:20]!r}")
            if rest:
                yield os.fsdecode(rest)
    except (OSError, AttributeError) as error:  # a closed standard input is None
        reason = error.strerror if isinstance(error, OSError) else "standard input is closed"
        raise SourceError(f"{name}: {reason}") from error


def is_folder(path: str) -> bool:
    """Say whether a path leads to a folder. One that cannot be looked at does not: opening it will tell why."""
    return is_store_folder(path) or os.path.isdir(
        path
    )  # Path.is_dir raises where permission is denied or the name is too long


def is_text(path: str) -> bool:
    """Say whether a file is text, so probably VHDL source, which has the same suffix.

    A text that ends in a footer is a fixed disk, and a text that stands for an image (a Git LFS pointer, a server's
    error page) is a failed download: neither counts.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a Path for each of a million files takes time
            return False
        with FileSource(path) as file:
            size = file.size
            head, tail = file.read([Span(0, min(size, END)), Span(max(0, size - 512), min(size, 512))])
    except (OSError, ValueError, SourceError):  # ValueError: a name that no file can have
        return False
    if not head or 0 in head or not _CONTROLS.isdisjoint(head) or is_footer(tail) or is_footer(tail[-511:]):
        return False
    return recognise(head, size) is None
