"""Numbers and tags in words: disk types, creators, host systems, platform codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vhdcheck.format.structures import Footer

DISK_TYPES: Final = {
    0: "none",
    1: "reserved (1)",
    2: "fixed",
    3: "dynamic",
    4: "differencing",
    5: "reserved (5)",
    6: "link to a physical drive",
}

CREATORS: Final = {
    b"vpc ": "Microsoft Virtual PC",
    b"vs  ": "Microsoft Virtual Server",
    b"win ": "Windows or Hyper-V",
    b"qemu": "qemu-img",
    b"qem2": "qemu-img with force_size",
    b"d2v ": "Sysinternals Disk2vhd",
    b"d2v\0": "Sysinternals Disk2vhd",
    b"tap\0": "XenServer (blktap)",
    b"CTXS": "Citrix XenConvert",
    b"vbox": "VirtualBox",
    b"wa\0\0": "Microsoft Azure",
    b"dutl": "DiscUtils",
    b"caml": "ocaml-vhd (xapi)",
    b"xo  ": "Xen Orchestra",
    b"DBox": "DOSBox-X",
    b"bxic": "bximage (Bochs)",
    b"pvhd": "the Python package vhd",
    b"mVHD": "MiniVHD (86Box, PCem)",
    b"*img": "FreeBSD mkimg",
    b"simh": "SIMH",
    b"Py  ": "FATtools",
    b"bsci": "ZuluSCSI",
    b"timg": "TotalImage",
    b"aaru": "Aaru",
    b"dic ": "DiscImageChef",
    b"DXSL": "DiskAccessLibrary",
    b"go-v": "go-vhd",
    b"nvhd": "node-vhd",
    b"vcli": "Vorteil",
    b"vhdt": "vhdtool",
    b"rvd ": "diskutil (Rust)",
    b"jmva": "Gramado",
    b"Phat": "a rare program",
    b"rim\0": "a rare program",
    b"kora": "a rare program",
    b"    ": "a program that leaves its name out",
    b"\0\0\0\0": "a program that leaves its name out, such as hcsshim or OpenVMM",
}
"""Who writes a tag. For words only: no verdict and no repair depends on it."""

HOSTS: Final = {
    b"Wi2k": "Windows",
    b"Mac ": "Macintosh",
    b"FBSD": "FreeBSD",
    b"Lnux": "Linux",
}
_ON_WINDOWS: Final = frozenset({b"vpc ", b"vs  ", b"win ", b"d2v ", b"d2v\0"})
"""Creators that run on Windows. Every other one writes Wi2k on any system, because readers expect it."""


def program(footer: Footer) -> str | None:
    """Name the program that wrote a footer; None for one that is not known.

    makevhdx borrows qemu-img's tag, and leaves out the version, the host and the time.
    """
    tag = footer.creator_application
    if tag == b"qem2" and not (footer.creator_version or any(footer.creator_host_os) or footer.timestamp):
        return "makevhdx"
    return CREATORS.get(tag)


def host(footer: Footer) -> str | None:
    """Name the system that a footer was written on; None where its tag does not tell."""
    if footer.creator_host_os == b"Wi2k" and footer.creator_application not in _ON_WINDOWS:
        return None
    return HOSTS.get(footer.creator_host_os)


PLATFORMS: Final = {
    b"W2ru": "Windows relative path",
    b"W2ku": "Windows absolute path",
    b"MacX": "Mac file URL",
    b"Mac ": "Mac OS alias",
    b"Wi2r": "Windows relative path (deprecated)",
    b"Wi2k": "Windows absolute path (deprecated)",
}
"""Platform codes of parent locators that the specification and libvhd know; four zero bytes mean "none"."""

FOLLOWED: Final = frozenset({b"W2ru", b"W2ku", b"MacX"})
"""Platform codes by which readers look for the parent (libvhd; the specification deprecates all others)."""

CHS_ALWAYS: Final = frozenset({b"vpc ", b"qemu"})
"""Creators whose disk size every qemu computes from the geometry, not from the current size (qemu block/vpc.c)."""

CURRENT_SIZE_ALWAYS: Final = frozenset({b"win ", b"qem2", b"d2v ", b"tap\0", b"CTXS"})
"""Creators whose current size qemu 9 and older already believes; of the rest it takes the geometry (block/vpc.c)."""

SUFFIXES: Final = (".vhd", ".avhd")
"""Of images in a folder, in either case; `.avhd` is what Hyper-V calls a snapshot's."""
