"""Other formats that are mistaken for VHD: how to recognise each, and what to do with it."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

from vhdcheck.units import SECTOR


class Format(NamedTuple):
    """A format other than VHD."""

    name: str
    offset: int
    length: int
    fix: str
    """What to do, in words."""
    driver: str = ""
    """qemu-img's name for it, where qemu-img can make a VHD of it."""
    is_raw: bool = False
    """Whether it is a disk as it is, of which a fixed VHD's data could be."""


class _Mark(NamedTuple):
    """Bytes by which a format is known."""

    offset: int
    mark: bytes
    name: str
    fix: str
    driver: str = ""


def _image(offset: int, mark: bytes, name: str, driver: str) -> _Mark:
    """Describe a format of disks that qemu-img converts."""
    return _Mark(
        offset,
        mark,
        name,
        f"convert it to a raw disk with qemu-img, from the format {driver}, and make a VHD of that",
        driver,
    )


def _packed(mark: bytes, name: str, tool: str, then: str = "") -> _Mark:
    """Describe a format that another file is packed in."""
    return _Mark(0, mark, name, f"unpack it with {tool}, and check what comes out{then}")


_OR_TAR: Final = "; if that is a tar archive, unpack it again with tar"
_TAR: Final = "unpack it with tar, and check the VHD that comes out"
_ISO: Final = "it is a CD or DVD, not a disk: install from it, or ask for the disk that was meant"
_MISTAKEN_FOR_CONTENT: Final = (
    _image(0, b"vhdxfile", "a VHDX image", "vhdx"),
    _image(0, b"QFI\xfb", "a QCOW2 image", "qcow2"),
    _image(0, b"KDMV", "a VMDK image", "vmdk"),
    _image(0, b"COWD", "a VMDK image", "vmdk"),
    _image(0, b"# Disk DescriptorFile", "a VMDK descriptor, which holds no data", "vmdk"),
    _image(64, b"\x7f\x10\xda\xbe", "a VDI image", "vdi"),
    _image(0, b"QED\0", "a QED image", "qed"),
    _Mark(0, b"LUKS\xba\xbe", "a LUKS encrypted volume", "open it with its key, and convert the disk inside"),
)
_MARKS: Final = (
    *_MISTAKEN_FOR_CONTENT,
    _packed(b"\x1f\x8b", "a gzip file", "gunzip", _OR_TAR),
    _packed(b"\xfd7zXZ\0", "an xz file", "xz", _OR_TAR),
    _packed(b"BZh", "a bzip2 file", "bunzip2", _OR_TAR),
    _packed(b"\x28\xb5\x2f\xfd", "a Zstandard file", "zstd", _OR_TAR),
    _packed(b"PK\x03\x04", "a ZIP archive", "unzip"),
    _packed(b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "7-Zip"),
    _packed(b"Rar!\x1a\x07", "a RAR archive", "7-Zip"),
    _packed(b"\x04\x22\x4d\x18", "an LZ4 file", "lz4", _OR_TAR),
    _Mark(0, b"MSWIM\0\0\0", "a Windows image (WIM)", "it holds files, not a disk: install it into one first"),
    _Mark(
        0,
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer",
        "fetch the file that it stands for, with git lfs pull",
    ),
)
_CONTENT: Final = (_Mark(0, b"conectix", "a VHD image", ""), *_MISTAKEN_FOR_CONTENT)
_WHERE: Final = tuple(
    (offset, tuple(each.mark for each in _CONTENT if each.offset == offset))
    for offset in sorted({each.offset for each in _CONTENT})
)
_FROM_RAW: Final = "it becomes a VHD when a footer, or a dynamic disk's structures, are put around it"
_PAGE: Final = "it is a page that a server sent instead of the file: read it, then download again with its credentials"
_TEXTS: Final = (
    ((b"<!doctype html", b"<html"), "an HTML page"),
    ((b"<?xml", b"<error"), "an XML document, such as an error message of an object store"),
    ((b"{", b"["), "a JSON document"),
)
VOLUME: Final = 32769
"""Where the mark of an optical disc's first volume descriptor is: 16 sectors of 2048 bytes, and a byte."""
_DISCS: Final = {b"CD001": "a CD or DVD image (ISO 9660)", b"BEA01": "a DVD or Blu-ray image (UDF)"}


def recognise(head: bytes, size: int, volume: bytes = b"") -> Format | None:
    """Recognise a file that has no footer; None where nothing fits.

    An archive comes first, whatever is in it, and a disc before the boot sector that many of them have.

    Args:
        head: the first 4 KiB.
        size: length of the file.
        volume: the 5 bytes at VOLUME, if the file is that long.
    """
    if _is_tar(head):
        return Format("a tar archive (an OVA, perhaps)", 257, 5, _TAR)
    if head.startswith(b"\x1f\x8b") and _is_tar(_inflated(head)):
        return Format("a tar archive, packed with gzip (.tar.gz, .tgz)", 0, 2, _TAR)
    if (found := _by_marks(head, _MARKS)) is not None:
        return found
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"\0" not in text:
        for beginnings, name in _TEXTS:
            if text.startswith(beginnings):
                return Format(name, 0, min(512, size), _PAGE)
    if volume in _DISCS:
        return Format(_DISCS[volume], VOLUME, len(volume), _ISO)
    if head.startswith(b"EFI PART", SECTOR):
        return Format("a raw disk with GPT", SECTOR, 8, _FROM_RAW, "raw", is_raw=True)
    if head[510:512] == b"\x55\xaa" and size > SECTOR:
        return Format("a raw disk with a boot sector (MBR), without a footer", 510, 2, _FROM_RAW, "raw", is_raw=True)
    return None


def _inflated(head: bytes) -> bytes:
    """Unpack the first sector of a gzip file."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, SECTOR)
    except zlib.error:
        return b""


def _is_tar(head: bytes) -> bool:
    """Say whether a tar archive begins here: by its mark, or, where an old tar wrote none, by the header's sum."""
    if head.startswith(b"ustar", 257):
        return True
    field = head[148:156].strip(b" \0")
    if len(head) < SECTOR or not head[0] or not field or field.strip(b"01234567"):
        return False
    return sum(head[:148]) + 8 * ord(" ") + sum(head[156:SECTOR]) == int(field, 8)


def recognise_content(head: bytes) -> Format | None:
    """Recognise a disk image inside a disk, VHD itself included."""
    for offset, marks in _WHERE:  # most disks begin like none of them
        if head.startswith(marks, offset):
            return _by_marks(head, _CONTENT)
    return None


def _by_marks(head: bytes, marks: tuple[_Mark, ...]) -> Format | None:
    for each in marks:
        if head.startswith(each.mark, each.offset):
            return Format(each.name, each.offset, len(each.mark), each.fix, each.driver)
    return None
