"""What a file is besides its bytes, when another takes its place: mode, owner, extended attributes, ACLs.

An ACL is an extended attribute on Linux (`system.posix_acl_access`), and so is the label of SELinux. The folder may
give a new file some that the old one has not; these go. What the other file would not keep is a reason to refuse.
"""

from __future__ import annotations

import errno
import os
import stat

from vhdcheck.errors import SourceError

_NONE = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def keep(old: int, new: int, name: str) -> None:
    """Make a new file what the old one is.

    Args:
        old: a descriptor of the old file.
        new: a descriptor of the new one.
        name: what to call the old one.

    Raises:
        SourceError: owner or an attribute cannot be kept.
    """
    state = os.fstat(old)
    if hasattr(os, "fchown"):
        have = os.fstat(new)
        if (have.st_uid, have.st_gid) != (state.st_uid, state.st_gid):
            try:
                os.fchown(new, state.st_uid, state.st_gid)
            except OSError as error:
                raise _lost(name, f"owner {state.st_uid}:{state.st_gid}", error) from error
    _keep_attributes(old, new, name)
    if os.fstat(new).st_mode != state.st_mode and hasattr(os, "fchmod"):  # last: another owner clears set-user-ID
        try:
            os.fchmod(new, stat.S_IMODE(state.st_mode))
        except OSError as error:
            raise _lost(name, f"mode {stat.S_IMODE(state.st_mode):o}", error) from error


def _keep_attributes(old: int, new: int, name: str) -> None:
    wanted, have = _attributes(old), _attributes(new)
    for key in sorted(wanted.keys() | have.keys()):
        if wanted.get(key) == have.get(key):
            continue
        try:
            if key in wanted:
                os.setxattr(new, key, wanted[key])
            else:
                os.removexattr(new, key)
        except OSError as error:
            raise _lost(name, f"attribute {key}", error) from error


def _attributes(descriptor: int) -> dict[str, bytes]:
    """Read a file's extended attributes; none where there are none."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        return {key: os.getxattr(descriptor, key) for key in os.listxattr(descriptor)}
    except OSError as error:
        if error.errno in _NONE:
            return {}
        raise


def _lost(name: str, what: str, error: OSError) -> SourceError:
    return SourceError(
        f"{name}: its {what} cannot be kept ({error.strerror}), so it is not replaced: write a copy with -o instead"
    )
