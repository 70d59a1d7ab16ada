"""What is run on one image: processes, and functions within one Python process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from benchmarks.images import full
from benchmarks.turns import ENVIRONMENT, inside, installed, seconds
from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from pathlib import Path

    from benchmarks.turns import Cases
    from fixtures.writer import Image

IMAGES: Final[dict[str, Callable[[], Image]]] = {
    "fixed 1 GiB": lambda: fixed(1 * GIB),
    "fixed 40 GiB": lambda: fixed(40 * GIB),
    "dynamic 10 MiB": lambda: dynamic(10 * MIB, blocks=[0, 3]),
    "10 MiB empty": lambda: dynamic(10 * MIB),
    "40 GiB empty": lambda: dynamic(40 * GIB),
    "40 GiB full": lambda: full(40 * GIB),
    "40 GiB shuffled": lambda: full(40 * GIB, shuffled=True),
    "2040 GiB full": lambda: full(2040 * GIB),
    "2040 GiB shuffled": lambda: full(2040 * GIB, shuffled=True),
}
VHDCHECK: Final = (sys.executable, "-m", "vhdcheck", "--target", "generic", "--max-virtual-size", "4096GiB")
ON_IMAGES: Final = {
    "vhdcheck": VHDCHECK,
    "qemu-img info": ("qemu-img", "info", "-f", "vpc"),
    "vhdiinfo": ("vhdiinfo",),
    "7zz l": ("7zz", "l"),
    "vhd-util check": ("vhd-util", "check", "-n"),
}
FIRST: Final = next(iter(IMAGES))
FIXED: Final = tuple(image for image in IMAGES if image.startswith("fixed"))
DYNAMIC: Final = tuple(image for image in IMAGES if image not in FIXED)
FLOORS: Final = {
    "python -c pass": ((sys.executable, "-c", "pass"), (FIRST,)),
    "vhdcheck --help": ((sys.executable, "-m", "vhdcheck", "--help"), (FIRST,)),
}
"""What takes no image, and the images that it is run beside."""

IMPORTS: Final = "imports of the same"
"""A process that imports what vhdcheck imports for an image, without vhdcheck."""
IMPORT: Final = """
import sys
for name in sys.argv[1:]:
    try:
        __import__(name)
    except ImportError:  # part of a module that goes before it
        pass
"""

METADATA: Final = """
import os
def do(path):
    file = os.open(path, os.O_RDONLY)
    size = os.fstat(file).st_size
    head = os.pread(file, 4096, 0)
    os.pread(file, 4096, max(size - 4096, 0))
    entries = int.from_bytes(head[540:544], "big") if head[512:520] == b"cxsparse" else 0
    table = os.pread(file, 4 * entries, 1536)
    os.close(file)
    return table
"""
SORTED: Final = """
import numpy as np
read = do
def do(path): np.sort(np.frombuffer(read(path) or bytes(4), ">u4").astype(np.uint32))
"""
OSLO: Final = """
from oslo_utils.imageutils import format_inspector
def do(path): format_inspector.detect_file_format(path)
"""
DISSECT: Final = """
from dissect.hypervisor.disk.vhd import VHD
def do(path):
    with open(path, "rb") as file:
        VHD(file)
"""
PYVHDI: Final = """
import pyvhdi
def do(path):
    file = pyvhdi.file()
    file.open(path)
    file.close()
"""
PROGRAMS: Final = {
    "vhdcheck": ("vhdcheck", "from vhdcheck import check\ndef do(path): check(path, target='generic')"),
    "read the metadata": ("os", METADATA),
    "read it and sort the table": ("numpy", METADATA + SORTED),
    "oslo.utils detect": ("oslo_utils", OSLO),
    "dissect open": ("dissect.hypervisor", DISSECT),
    "pyvhdi open": ("pyvhdi", PYVHDI),
}
"""By tool: the module that it takes, and a program that defines what is timed."""


def missing() -> dict[str, str]:
    """Name the tools that are not here."""
    return {
        **{tool: "not on PATH" for tool, command in ON_IMAGES.items() if shutil.which(command[0]) is None},
        **{tool: "not installed" for tool, (module, _) in PROGRAMS.items() if not installed(module)},
    }


def imported(path: Path) -> list[str]:
    """List the modules that vhdcheck imports for an image, in their order: not its own, or those of every Python."""
    program = (sys.executable, "-X", "importtime")
    mine = _told(*program, *VHDCHECK[1:], path)
    always = set(_told(*program, "-c", "pass"))
    return [name for name in mine if name not in always and name.partition(".")[0] != "vhdcheck"]


def _told(*command: str | Path) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return [line.rpartition("|")[2].strip() for line in lines[1:]]


def processes(paths: dict[str, Path], absent: Container[str]) -> Cases:
    """Give each image to a process of each tool, and run the floors beside it."""
    cases: Cases = {}
    for image, path in paths.items():
        for tool, command in ON_IMAGES.items():
            if tool not in absent:
                cases[tool, image] = partial(seconds, (*command, path))
        imports = (sys.executable, "-c", IMPORT, *imported(path))
        cases[IMPORTS, image] = partial(seconds, imports, (0,))
        for floor, (whole, beside) in FLOORS.items():
            if image in beside:
                cases[floor, image] = partial(seconds, whole)
    return cases


def loops(paths: dict[str, Path], absent: Container[str]) -> Cases:
    """Give each image to a function of each tool, again and again within one process."""
    return {
        (tool, image): partial(inside, program, path)
        for image, path in paths.items()
        for tool, (_, program) in PROGRAMS.items()
        if tool not in absent
    }
