"""What is left half read is collected as garbage in whatever thread: also in the one that would do the closing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.remote.server import Server

pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

PROGRAM = """
import gc, sys, threading
import fsspec, fsspec.asyn
from vhdcheck import iter_findings, listed

gc.disable()
memory = fsspec.filesystem("memory")
memory.pipe("/images/a.vhd", bytes(5000))
url, done = sys.argv[1], threading.Event()

def half(what):
    circle = [what]
    next(what)
    circle.append(circle)

for _ in range(20):
    half(iter_findings(url))
    half(listed("memory://images/"))
loop = fsspec.asyn.get_loop()
loop.call_soon_threadsafe(lambda: (gc.collect(), done.set()))
assert done.wait(15), "the loop waits for itself"
print(len(list(iter_findings(url))), len(list(listed("memory://images/"))))
"""


def test_in_the_thread_of_the_loop(server: Server, root: Path) -> None:
    server.put("fixed.vhd", fixed(3 * MIB))
    url = server.put("bad.vhd", dynamic(41 * GIB, blocks=[0]))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()[1:]) == (0, ["1"]), done.stderr
