"""Numbers and tags in words: disk types, creators, host systems, platform codes. Data only."""

from __future__ import annotations

from typing import Final

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
}

HOSTS: Final = {b"Wi2k": "Windows", b"Mac ": "Macintosh", b"pvhd": "the Python package vhd"}

PLATFORMS: Final = {
    b"W2ru": "Windows relative path",
    b"W2ku": "Windows absolute path",
    b"MacX": "Mac file URL",
    b"Mac ": "Mac OS alias",
    b"Wi2r": "Windows relative path (deprecated)",
    b"Wi2k": "Windows absolute path (deprecated)",
}
"""Platform codes of parent locators that the specification and libvhd know; four zero bytes mean "none"."""

CHS_ALWAYS: Final = frozenset({b"vpc ", b"qemu"})
"""Creators whose disk size every qemu computes from the geometry, not from the current size (qemu block/vpc.c)."""

CURRENT_SIZE_ALWAYS: Final = frozenset({b"win ", b"qem2", b"d2v ", b"tap\0", b"CTXS"})
"""Creators whose current size qemu 9 and older already believes; of the rest it takes the geometry (block/vpc.c)."""

SUFFIXES: Final = (".vhd", ".avhd")
"""Of images in a folder, in either case; `.avhd` is what Hyper-V calls a snapshot's."""
