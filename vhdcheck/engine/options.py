"""What a caller can choose, written once: the keyword arguments of all functions that check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vhdcheck.engine.parents import Given
    from vhdcheck.targets import Target


class TargetOptions(TypedDict, total=False):
    """What to judge an image by. Each may be left out."""

    target: str | Target
    """What to judge for: the name of a target (`python -m vhdcheck --help` lists them), the path of a TOML file, or a
    Target; by default `rackspace`."""
    max_virtual_size: str | int | None
    """The target's limit on the disk's size, overridden: a number of bytes, or `"160GiB"`."""
    max_physical_size: str | int | None
    """The target's limit on the file's length, overridden: a number of bytes, or `"160GiB"`."""
    now: float | None
    """The time to judge creation times by, in Unix seconds; the clock's by default."""


class JudgeOptions(TargetOptions, total=False):
    """How to judge an image."""

    deep: bool
    """Read the sector bitmaps of all used blocks too (no guest data)."""
    allocation: bool
    """Count where the blocks lie, as `report.image.allocation`: what `--map` draws."""


class CheckOptions(JudgeOptions, total=False):
    """How to judge an image, and how to read it."""

    download: bool
    """Of a server that ignores ranges, download the image, into a temporary file: up to the target's limit on the
    file's length, or what the temporary folder has room for, and no more."""
    parents: Given | None
    """Of a differencing disk, files among which to look for its parents, by unique ID; in any order, and others among
    them do no harm. `vhdcheck.Parents` of them serves for many images. No path that an image states is opened."""
    storage_options: Mapping[str, Any] | None
    """Arguments for fsspec's driver of a URL: credentials, endpoint."""


class MendOptions(TargetOptions, total=False):
    """What an image is to be mended into."""

    to: str
    """`fixed` or `dynamic`: the type of the copy, whatever the image is; by default what the target takes, the image's
    own type first."""
    raw: bool
    """Take the file for a raw disk."""
    parents: Given | None
    """Of a differencing disk, files among which to look for its parents, as in `CheckOptions`: it is put together with
    them, into an image that stands alone."""
