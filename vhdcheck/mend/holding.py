"""Whether anyone else has an image open, and how they are kept away while it is mended in place.

Two means, and both are used, as each knows what the other does not:

- **Leases** (Linux, `F_SETLEASE`). The kernel gives a read lease on a file only while nobody has it open for writing,
  and a write lease only while nobody else has it open at all. Whoever opens it against the lease waits until it is
  given back, or for 45 seconds (`/proc/sys/fs/lease-break-time`); then they get the file, and we are told that the
  lease is broken. It speaks for this machine alone: a server's other clients are not seen. Only the file's owner, or
  root, gets one.
- **qemu's locks**. qemu locks bytes of the file for what it does with it (from 100 on) and for what others may not do
  meanwhile (from 200 on), as `struct flock` of the open file (OFD). These are seen on the other machines of a server
  too. They are asked for, and taken, as if this were a qemu.

Where there are no leases nobody can tell whether the image is in use, so it is not mended in place.
"""

from __future__ import annotations

import errno
import signal
import struct
from typing import Final

from vhdcheck.errors import SourceError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_USES: Final = 100
_DENIES: Final = 200
_READ, _WRITE, _RESIZE = 0, 1, 3
"""What qemu's locks are about (`BlockPermission`): consistent reads, writes, another length."""
_FLOCK: Final = "hhqqi4x"
"""`struct flock` with offsets of 64 bits: kind, whence, start, length, process."""
COPY: Final = "write a copy with -o instead"


def hold_for_reading(descriptor: int, name: str) -> None:
    """Keep writers away from a file that is open for reading.

    Raises:
        SourceError: somebody has it open for writing, or nobody can tell.
    """
    _lease(descriptor, "F_RDLCK", f"{name}: another program has the image open for writing: close it there first")
    _lock(descriptor, name, uses=(_READ,))


def hold_for_writing(descriptor: int, name: str) -> None:
    """Keep everybody away from a file that is open for reading and writing.

    Raises:
        SourceError: somebody else has it open, or nobody can tell.
    """
    _lease(descriptor, "F_WRLCK", f"{name}: another program has the image open: close it there first")
    _lock(descriptor, name, uses=(_READ, _WRITE, _RESIZE))


def is_held(descriptor: int) -> bool:
    """Say whether the lease is what it was: nobody has asked for the file since."""
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) != fcntl.F_UNLCK


def _lease(descriptor: int, kind: str, in_use: str) -> None:
    if not hasattr(fcntl, "F_SETLEASE"):
        raise SourceError(f"this system cannot tell whether another program has the image open: {COPY}")
    try:
        # By default the holder is killed when somebody wants the file; this signal is ignored by default.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, getattr(fcntl, kind))
    except OSError as error:
        if error.errno == errno.EAGAIN:
            raise SourceError(in_use) from error
        why = (
            "only the owner of the image, or root, can tell"
            if error.errno in (errno.EACCES, errno.EPERM)
            else "this file system cannot tell"
        )
        raise SourceError(f"{why} whether another program has the image open: {COPY}") from error


def _lock(descriptor: int, name: str, *, uses: tuple[int, ...]) -> None:
    """Take the locks that qemu would take, and look for those that contradict them."""
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return
    ours = [*(_USES + what for what in uses), *(_DENIES + what for what in (_WRITE, _RESIZE))]
    against = [*(_DENIES + what for what in uses), *(_USES + what for what in (_WRITE, _RESIZE))]
    try:
        for byte in ours:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_RDLCK, 0, byte, 1, 0))
        answers = [
            fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, 0, byte, 1, 0))
            for byte in against
        ]
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise SourceError(f"{name}: another program has locked the image") from error
        return  # no locks on this file system, so qemu takes none either
    if any(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK for answer in answers):
        raise SourceError(f"{name}: qemu has the image open, maybe for a machine that runs: stop it first")
