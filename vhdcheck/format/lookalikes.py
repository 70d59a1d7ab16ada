"""Other formats that are mistaken for VHD: how to recognise each, and the command that makes a VHD of it."""

from __future__ import annotations

from typing import Final, NamedTuple

RAW: Final = "raw"


class Format(NamedTuple):
    """A format other than VHD."""

    name: str
    offset: int
    length: int
    fix: str


def _convert(driver: str) -> str:
    return f"convert it: `qemu-img convert -f {driver} -O vpc {{in}} {{out}}`"


def _unpack(command: str) -> str:
    return f"unpack it first: `{command}`"


_MISTAKEN_FOR_CONTENT: Final = (
    (0, b"vhdxfile", "a VHDX image", _convert("vhdx")),
    (0, b"QFI\xfb", "a QCOW2 image", _convert("qcow2")),
    (0, b"KDMV", "a VMDK image", _convert("vmdk")),
    (0, b"COWD", "a VMDK image", _convert("vmdk")),
    (0, b"# Disk DescriptorFile", "a VMDK descriptor, which holds no data", _convert("vmdk")),
    (64, b"\x7f\x10\xda\xbe", "a VDI image", _convert("vdi")),
    (0, b"QED\0", "a QED image", _convert("qed")),
    (0, b"LUKS\xba\xbe", "a LUKS encrypted volume", "open it with its key and convert the disk inside"),
)
_MARKS: Final = (
    *_MISTAKEN_FOR_CONTENT,
    (0, b"\x1f\x8b", "a gzip file", _unpack("gunzip -c {in} > {out}")),
    (0, b"\xfd7zXZ\0", "an xz file", _unpack("xz -dc {in} > {out}")),
    (0, b"BZh", "a bzip2 file", _unpack("bunzip2 -c {in} > {out}")),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard file", _unpack("zstd -dc {in} > {out}")),
    (0, b"PK\x03\x04", "a ZIP archive", _unpack("unzip {in}")),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _unpack("7zz x {in}")),
    (0, b"Rar!\x1a\x07", "a RAR archive", _unpack("7zz x {in}")),
    (0, b"\x04\x22\x4d\x18", "an LZ4 file", _unpack("lz4 -dc {in} > {out}")),
    (0, b"MSWIM\0\0\0", "a Windows image (WIM)", "it holds files, not a disk: install it into one first"),
    (257, b"ustar", "a tar archive (an OVA, perhaps)", _unpack("tar -xf {in}")),
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer",
        "fetch the file that it stands for: `git lfs pull`",
    ),
    (512, b"EFI PART", "a raw disk with GPT", _convert("raw")),
)
_PAGE: Final = "it is a page that a server sent instead of the file: read it, then download again with its credentials"
_TEXTS: Final = (
    ((b"<!doctype html", b"<html"), "an HTML page"),
    ((b"<?xml", b"<error"), "an XML document, such as an error message of an object store"),
    ((b"{", b"["), "a JSON document"),
)


def recognise(head: bytes, size: int) -> Format | None:
    """Recognise a file of `size` bytes that has no footer by its first 4 KiB; None where nothing fits."""
    if (found := _by_marks(head, _MARKS)) is not None:
        return found
    text = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"\0" not in text:
        for beginnings, name in _TEXTS:
            if text.startswith(beginnings):
                return Format(name, 0, min(512, size), _PAGE)
    if head[510:512] == b"\x55\xaa" and size > 512:  # noqa: PLR2004 (one sector and something behind it)
        return Format("a raw disk with a boot sector (MBR), without a footer", 510, 2, _convert("raw"))
    return None


def recognise_content(head: bytes) -> Format | None:
    """Recognise a disk image inside a disk, VHD itself included."""
    inner = ((0, b"conectix", "a VHD image", ""), *_MISTAKEN_FOR_CONTENT)
    return _by_marks(head, inner)


def _by_marks(head: bytes, marks: tuple[tuple[int, bytes, str, str], ...]) -> Format | None:
    for offset, mark, name, fix in marks:
        if head.startswith(mark, offset):
            return Format(name, offset, len(mark), fix)
    return None


_DRIVERS: Final = {
    "a VHDX image": "vhdx",
    "a QCOW2 image": "qcow2",
    "a VMDK image": "vmdk",
    "a VMDK descriptor, which holds no data": "vmdk",
    "a VDI image": "vdi",
    "a QED image": "qed",
    "a raw disk with GPT": RAW,
    "a raw disk with a boot sector (MBR), without a footer": RAW,
}


def driver(found: Format) -> str:
    """Return qemu's name for a disk format, RAW for what has none; empty for what is no disk image."""
    return _DRIVERS.get(found.name, "")
