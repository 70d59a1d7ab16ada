"""Write a mended copy of an image: its bytes with its holes, and the corrections laid over."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from vhdcheck.mend.files import output_path, refuse_existing, replacing
from vhdcheck.mend.in_place import in_place
from vhdcheck.mend.sparse import copy
from vhdcheck.sources.local import FileSource

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from vhdcheck.mend.corrections import Patched


@contextmanager
def opened_for_copying(source: str | os.PathLike[str], out: str | os.PathLike[str] | None) -> Iterator[FileSource]:
    """Open the image, once it is sure that the copy would overwrite nothing.

    Raises:
        SourceError: the image cannot be opened, or `out` exists.
    """
    with FileSource(source) as reader:
        if out is not None:
            refuse_existing(output_path(source, out), source)
        yield reader


def write_new(reader: FileSource, out: str | os.PathLike[str], fill: Callable[[BinaryIO], None]) -> None:
    """Write the mended copy under a new name, with the image's permissions.

    Args:
        reader: the image.
        out: the new name.
        fill: writes into a new file, and proves what it wrote.

    Raises:
        SourceError: it cannot be written, the name is taken meanwhile, or the image changed.
    """
    with replacing(out, source=reader.name, like=reader.fileno()) as new:
        fill(new.file)
        reader.verify()
        new.commit()


def write_over(reader: FileSource, source: str | os.PathLike[str], fill: Callable[[BinaryIO], None]) -> None:
    """Put the mended copy in the image's place; a symbolic link to it stays.

    Args:
        reader: the image.
        source: its name.
        fill: writes into a new file, and proves what it wrote.

    Raises:
        SourceError: it cannot be written, the image changed, is a device, is written to by others, or has other names,
            which would keep the old.
    """
    with in_place(source) as image, image.replaced() as new:
        fill(new.file)
        reader.verify()
        new.commit()


def copy_patched(out: BinaryIO, reader: FileSource, patched: Patched, seen: Callable[[int], None]) -> None:
    """Copy what the image has, leave its holes, and lay the patches over; tell now and then that it goes on."""
    out.truncate(patched.size)
    for _ in copy(reader, out, patched.size):
        seen(0)
    for offset, data in patched.patches.items():
        out.seek(offset)
        out.write(data)
    out.flush()
