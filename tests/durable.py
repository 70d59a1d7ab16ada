"""What of a folder would be there after a power cut, by the calls that bring something to the disk.

A file's bytes are on the disk as they were at its last `fsync`, and the names in a folder as they were at the folder's.
The calls are really made; each is noted with what was there and what was on the disk just before it. (A file system may
bring more to the disk by itself, at any time and in any order. So what has to hold, has to hold for either.)
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CALLS = ("fsync", "link", "rename", "replace", "unlink")


@dataclass(frozen=True)
class Moment:
    """The folder just before a call; contents by name."""

    call: str
    there: dict[str, bytes]
    """What every program sees."""
    on_disk: dict[str, bytes]
    """What a power cut leaves; empty for a file of which no byte was brought to the disk."""
    synced: dict[str, bytes]
    """Of each name that is there, the bytes that are on the disk, whether the name is or not."""


class Disk:
    """Watches a folder, from now on."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take what is there for what is on the disk."""
        self.folder = folder
        self.moments: list[Moment] = []
        self._names = self._inodes()
        self._bytes = {inode: (folder / name).read_bytes() for name, inode in self._names.items()}
        for name in CALLS:
            monkeypatch.setattr(os, name, self._noted(name, getattr(os, name)))

    def now(self, call: str = "") -> Moment:
        """Look."""
        names = self._inodes()
        there = {name: self._read(inode, name) for name, inode in names.items()}
        synced = {name: self._bytes.get(inode, b"") for name, inode in names.items()}
        return Moment(call, there, {name: self._bytes.get(inode, b"") for name, inode in self._names.items()}, synced)

    def _inodes(self) -> dict[str, int]:
        return {entry.name: entry.inode() for entry in os.scandir(self.folder) if entry.is_file(follow_symlinks=False)}

    def _noted(self, name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.moments.append(self.now(name))
            done = real(*arguments, **options)
            if name == "fsync":
                self._synced(*arguments)
            return done

        return call

    def _synced(self, descriptor: int) -> None:
        state = os.fstat(descriptor)
        if not stat.S_ISDIR(state.st_mode):
            self._bytes[state.st_ino] = self._read(state.st_ino)
        elif os.path.samestat(state, self.folder.stat()):
            self._names = self._inodes()

    def _read(self, inode: int, name: str = "") -> bytes:
        """Read a file by a descriptor that is open: opening it would break the lease on an image."""
        opened = [*map(int, os.listdir("/proc/self/fd"))]
        for descriptor in opened:
            try:
                state = os.fstat(descriptor)
                if state.st_ino == inode and stat.S_ISREG(state.st_mode):
                    return os.pread(descriptor, state.st_size, 0)
            except OSError:  # gone by now, or open for writing alone
                pass
        if name:
            return (self.folder / name).read_bytes()
        for descriptor in opened:
            path = f"/proc/self/fd/{descriptor}"
            if os.path.exists(path) and os.stat(path).st_ino == inode:
                with open(path, "rb") as file:
                    return file.read()
        raise AssertionError(f"no file has inode {inode}")
