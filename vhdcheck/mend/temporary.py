"""Files that are written beside their final name, and that nobody finds half written.

Where the system has unnamed files (Linux: O_TMPFILE), a file has no name until it is whole: whatever ends the process,
nothing is left of it. Elsewhere it has a name of its own kind (`PATTERN`), which is removed at the end. A process that
is killed cannot do that, so the next run sweeps the folder: it removes files of such a name that nobody holds any more.
A process holds its file by `flock`, which the system lets go when the process ends, however it ends. Where there is no
`flock` (Windows), a file that a process has open cannot be removed, which is the same.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PATTERN: Final = re.compile(r"\.vhdcheck-mend\.[0-9a-f]{8}\.[0-9a-f]{16}")
"""Names of temporary files: a mark of the file that it becomes (`mark`), and chance."""
AGE: Final = 60.0
"""Seconds before a file is swept where there is no `flock`: it is closed for a moment before it gets its name."""
PLAIN: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def mark(name: str) -> str:
    """Return what connects a file with those beside it: of fixed length, as a name may be as long as names can be."""
    return f".vhdcheck-mend.{zlib.crc32(os.fsencode(name)):08x}"


def unnamed(folder: Path) -> int | None:
    """Open a new file that has no name; None where the system or the file system has no such files.

    Its name is given by way of /proc (`give_name`), so it takes that too.
    """
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        descriptor = os.open(folder, os.O_RDWR | PLAIN | os.O_TMPFILE, 0o600)
    except OSError:  # what else may be wrong shows when a file with a name is made
        return None
    if os.path.exists(_proc(descriptor)):  # noqa: PTH110 (a link of the kernel's)
        return descriptor
    os.close(descriptor)
    return None


def give_name(descriptor: int, path: Path) -> None:
    """Give an unnamed file a name that nothing has.

    Raises:
        FileExistsError: something has it.
        OSError: it cannot be given.
    """
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a folder's descriptor Python calls linkat, which follows the link
        os.link(_proc(descriptor), path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def named(path: Path) -> tuple[int, Path]:
    """Open a new file with a temporary name, for what shall have the name `path`; and hold it."""
    while True:
        beside = temporary_name(path)
        descriptor = os.open(beside, os.O_RDWR | PLAIN | os.O_CREAT | os.O_EXCL, 0o600)
        hold(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), beside.stat()):
                return descriptor, beside
        os.close(descriptor)  # another run swept it before it was held


def temporary_name(path: Path) -> Path:
    """Return a name in the same folder that nothing has."""
    return path.with_name(f"{mark(path.name)}.{secrets.token_hex(8)}")


def can_hold() -> bool:
    """Say whether the system lets a process hold a file by a lock, and treat it as any other meanwhile."""
    return hasattr(fcntl, "flock")


def hold(descriptor: int) -> None:
    """Keep others from sweeping the file; where the file system has no locks, none is swept either."""
    if can_hold():
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sweep(folder: Path) -> list[str]:
    """Remove what killed runs left in a folder.

    Returns:
        The names of what was removed.
    """
    try:
        names = [name for name in os.listdir(folder) if PATTERN.fullmatch(name)]  # noqa: PTH208 (names alone)
    except OSError:  # what is wrong with the folder shows when the file is made
        return []
    return [name for name in names if _swept(folder / name)]


def _swept(path: Path) -> bool:
    """Remove a temporary file that nobody holds."""
    try:
        state = path.lstat()
        if not stat.S_ISREG(state.st_mode):
            return False
        if not can_hold():
            if time.time() - state.st_mtime < AGE:
                return False
            path.unlink()
            return True
        descriptor = os.open(path, os.O_RDWR | PLAIN | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)
    except OSError:  # somebody holds it, or it is not ours to remove
        return False
    return True


def _proc(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
