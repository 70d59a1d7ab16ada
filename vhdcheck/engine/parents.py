"""Parents among the files that a caller gives: found by unique ID, and by nothing that an image says of paths.

    sources ─ add() ─▶ Parents: an entry for each file ─ walk() ─▶ which files are the parents of an image
                       (ID, parent's ID, name)                     (no I/O: look-ups)
                                                        chain() ─▶ Chain: the same, each of them examined

Adding a file reads its footer and its dynamic header, no table: 4 to 8 KiB. An entry takes some hundred bytes. A walk
cannot hang: it never takes the same file twice. Files are told apart by what the system says they are (device and
inode), so that two names of one file are one parent.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from vhdcheck.chain import Chain, Parent, file_name, has_parent
from vhdcheck.engine.plan import Known, steps
from vhdcheck.errors import SourceError
from vhdcheck.format.creators import SUFFIXES
from vhdcheck.image import Image, slimmed
from vhdcheck.sources.local import opened
from vhdcheck.sources.urls import is_url
from vhdcheck.verdict.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractContextManager

    from vhdcheck.chain import End
    from vhdcheck.engine.windows import Answers, Wanted
    from vhdcheck.sources.local import Readable
    from vhdcheck.sources.source import Source
    from vhdcheck.verdict.report import Report

EXAMINED: Final = 256
"""Parents of one image that are examined. XenServer allows 30, and real chains end long before."""
ENOUGH: Final = frozenset({"header", "no_header", "image"})
"""Parts of which the first that is known says who an image is."""
SETTLED: Final = frozenset({"differencing-disk", "parent-is-itself"})
"""Rules whose doubt a whole chain settles: what is missing is there, and no second file has the parent's ID."""
SHOWN: Final = 8
"""Files that are named where a chain ends because of them."""
LATEST: Final = 253_402_300_799
"""The end of the year 9999, in Unix seconds: file systems can hold times that no calendar has."""
NOBODY: Final = bytes(16)
"""The unique ID of an image that has none."""

Opening: TypeAlias = "Callable[[Readable], AbstractContextManager[Source]]"
Given: TypeAlias = "Parents | Iterable[Readable]"
"""What a caller may give for parents."""


class Entry(NamedTuple):
    """A file that was given, as far as chains go."""

    name: str
    source: Readable
    key: object
    """What tells it from other files."""
    unique_id: bytes
    parent_id: bytes
    """Zeros where it is no differencing disk, or its parent has no ID."""
    is_child: bool
    modified: float | None


class Parents:
    """Files among which to look for parents; made once, it serves for many images."""

    def __init__(self, sources: Iterable[Readable] = (), *, opening: Opening | None = None) -> None:
        """Add each of some files.

        Raises:
            SourceError: one of them cannot be read.
        """
        self._opening = opening or _opened
        self._keys: set[object] = set()
        self.unread = 0
        """Files that could not be read, and may have been parents."""
        self._by_id: dict[bytes, list[Entry]] = {}
        self._by_name: dict[str, list[Entry]] = {}
        for source in sources:
            self.add(source)

    def __len__(self) -> int:
        """Count the files that are images."""
        return len(self._keys)

    def add(self, source: Readable) -> None:
        """Add a file. What is no VHD is no parent, and is left out.

        Raises:
            SourceError: it cannot be read.
        """
        with self._opening(source) as reader:
            entry = entry_of(reader, source)
        if entry is not None and entry.key not in self._keys:
            self._keys.add(entry.key)
            self._by_id.setdefault(entry.unique_id, []).append(entry)
            self._by_name.clear()

    def add_if_readable(self, source: Readable) -> None:
        """Add a file, or count it where it cannot be read: one of a folder, which nobody named."""
        try:
            self.add(source)
        except SourceError:
            self.unread += 1

    def add_folder(self, folder: str | os.PathLike[str]) -> None:
        """Add the images in a folder and in those within it; what cannot be read there is counted.

        Raises:
            SourceError: it is no folder that can be read.
        """

        def fails(error: OSError) -> None:
            if error.filename == os.fspath(folder):
                raise SourceError(f"{os.fspath(folder)}: {error.strerror or error}") from error

        for path, folders, files in os.walk(folder, onerror=fails):
            folders.sort()
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES):
                    self.add_if_readable(os.path.join(path, name))

    def walk(self, key: object, image: Image) -> tuple[list[Entry], End, tuple[Entry, ...]]:
        """Look up the parents of a differencing disk.

        Args:
            key: what tells its file from those that were given; it may be one of them.
            image: what is known of it.

        Returns:
            The parents, the nearest first; how the chain ends; and files that cannot be told apart, if that ends it.
        """
        found: list[Entry] = []
        own_id, parent_id = _ids(image)
        files, before = {key}, {b""}
        while any(parent_id):
            same = self._by_id.get(parent_id, ())
            others = tuple(entry for entry in same if entry.key not in files)
            if len(others) != 1:
                is_circle = parent_id in before and parent_id != own_id  # of its own ID another rule tells
                return found, "twice" if others else "circle" if is_circle else "missing", others
            (entry,) = others
            files.add(entry.key)
            found.append(entry)
            if not entry.is_child:
                return found, "whole", ()
            before.add(own_id)
            own_id, parent_id = entry.unique_id, entry.parent_id
        return found, "without-id", ()

    def named(self, name: str) -> list[Entry]:
        """Return the files of a name, compared as `file_name` writes it."""
        if not self._by_name:  # most runs never ask
            for entries in self._by_id.values():
                for entry in entries:
                    self._by_name.setdefault(file_name(entry.name), []).append(entry)
        return self._by_name.get(name, [])

    def chain(self, name: str, source: Readable, image: Image, judged: Callable[[Source], Report]) -> Chain | None:
        """Examine the parents of an image.

        Args:
            name: what the image is called.
            source: the image; its file is not taken for its own parent.
            image: what is known of it.
            judged: examines a parent by the format alone.

        Returns:
            The chain; None where the image is no differencing disk, or nothing says who its parent is.

        Raises:
            SourceError: a parent cannot be read, or is another image than it was.
        """
        if not has_parent(image):
            return None
        entries, end, same = self.walk(key_of(source), image)
        parents = tuple(self._examined(entry, judged) for entry in entries[:EXAMINED])
        if end == "whole" and len(entries) > EXAMINED:
            end = "too-deep"
        last = parents[-1].image if parents else image
        if end == "missing" and last.header is not None and len(parents) == len(entries):
            same = tuple(self.named(file_name(last.header.parent_name)))
        at_end = tuple(entry.name for entry in same[:SHOWN])
        return Chain(name, slimmed(image), parents, end, at_end, len(entries), len(self), self.unread)

    def _examined(self, entry: Entry, judged: Callable[[Source], Report]) -> Parent:
        report = self._report(entry, judged)
        refused = tuple(f"{each.rule} {each.slug}" for each in report.findings if each.severity == Severity.ERROR)
        doubts = [each for each in report.findings if each.doubts == "data" and each.slug not in SETTLED]
        in_doubt = tuple(f"{each.rule} {each.slug}: {each.message}" for each in doubts)
        return Parent(entry.name, slimmed(report.image), refused, in_doubt, entry.modified, entry.source)

    def _report(self, entry: Entry, judged: Callable[[Source], Report]) -> Report:
        with self._opening(entry.source) as reader:
            report = judged(reader)
        footer = report.image.footer
        if footer is None or footer.unique_id != entry.unique_id:
            raise SourceError(f"{entry.name}: the file changed while it was checked")
        return report


def _opened(source: Readable) -> AbstractContextManager[Source]:
    if is_url(source):
        from vhdcheck.sources.url import opened_url  # asyncio costs 20 ms

        return opened_url(source, None)
    return opened(source)


def entry_of(reader: Source, source: Readable) -> Entry | None:
    """Read who an image is; None where it has no footer.

    Raises:
        SourceError: it cannot be read.
    """
    image = identified(reader)
    if image.footer is None:
        return None
    unique_id, parent_id = _ids(image)
    return Entry(reader.name, source, key_of(source), unique_id, parent_id, has_parent(image), modified(reader))


def modified(reader: Source) -> float | None:
    """Return when a file was last written, in Unix seconds; None where nothing tells."""
    descriptor: Any = getattr(reader, "fileno", None)
    return None if descriptor is None else min(os.fstat(descriptor()).st_mtime, LATEST)


def _ids(image: Image) -> tuple[bytes, bytes]:
    """Return an image's own unique ID, and its parent's."""
    parent_id = image.header.parent_unique_id if has_parent(image) and image.header is not None else NOBODY
    return image.footer.unique_id if image.footer is not None else NOBODY, parent_id


def identified(reader: Source) -> Image:
    """Read footers and header of an image, and no more."""
    image = Image(reader.size)
    plan = steps(image)
    answer: Answers = ()
    while (wanted := _next(plan, answer)) is not None:
        answer = reader.read(wanted.spans)
    return image


def _next(plan: Generator[Wanted | Known, Answers, None], answer: Answers) -> Wanted | None:
    """Return what is wanted next; None where no more is needed."""
    try:
        step = plan.send(answer) if answer else next(plan)
        while isinstance(step, Known):
            if step.part in ENOUGH:
                return None
            step = next(plan)
    except StopIteration:
        return None
    return step


def key_of(source: Readable) -> object:
    """Return what tells a file from others: two names of one file are the same."""
    if is_url(source):
        return source
    if isinstance(source, (str, os.PathLike)):
        try:
            state = os.stat(source)
        except (OSError, ValueError):  # it is gone: what reads it will say so
            return object()
        return state.st_dev, state.st_ino
    return object()
