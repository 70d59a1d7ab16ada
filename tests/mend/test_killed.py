"""Killed at every moment: before and after each call to the system, one after the other, so that no run is luck.

Files change in such calls only. What a call does half is the kernel's affair, but for a copy, which is made of several
calls here.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fixtures.writer import MIB, fixed

if TYPE_CHECKING:
    from pathlib import Path

# In a process of its own, which forks for each moment: `moment` is the number of the call to `posix` or `_io` at whose
# begin or end the child kills itself. Printed is, for each, how the child ended and what it left in the folder.
PROGRAM = """
import hashlib, json, os, signal, sys
import vhdcheck.mend.writing as writing
from vhdcheck.mend import mend

damaged = open("in.vhd", "rb").read()
writing.AT_ONCE = writing.PIECE = 1 << 20
mend("in.vhd", "out.vhd")  # so that all modules are loaded
os.unlink("out.vhd")
seen = 0

def at(moment):
    def count(frame, event, function):
        global seen
        if event.startswith("c_") and getattr(function, "__module__", "") in ("posix", "nt", "_io"):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    return count

moment, status = 0, None
while status != 0:
    moment += 1
    child = os.fork()
    if child == 0:
        sys.setprofile(at(moment))
        mend("in.vhd", **json.loads(sys.argv[1]))
        sys.setprofile(None)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = {name: hashlib.sha256(open(name, "rb").read()).hexdigest() for name in os.listdir()}
    print(json.dumps([status, left]))
    for name in left:
        os.unlink(name)
    with open("in.vhd", "wb") as file:
        file.write(damaged)
"""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def images() -> tuple[bytes, bytes]:
    """A damaged image, and what it is to become."""
    content = random.Random(1).randbytes(3 * MIB)
    return content + fixed(3 * MIB, hidden=1).tobytes()[3 * MIB :], content + fixed(3 * MIB).tobytes()[3 * MIB :]


@pytest.fixture
def unnamed(tmp_path: Path) -> None:
    """Skip where the file system has no files without a name: there a kill leaves a temporary one."""
    try:
        os.close(os.open(tmp_path, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError) as error:
        pytest.skip(f"no unnamed files here: {error}")


def moments(folder: Path, root: Path, damaged: bytes, **where: object) -> list[dict[str, str]]:
    """Mend, killed at each moment in turn; return what was left after each, and last what a whole run leaves."""
    (folder / "in.vhd").write_bytes(damaged)
    words = [sys.executable, "-c", PROGRAM, json.dumps(where)]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=120)
    *killed, whole = map(json.loads, done.stdout.splitlines())
    assert len(killed) > 40, "a moment for each call to the system, at least"
    assert {status for status, _ in killed} == {-9}
    assert whole[0] == 0
    return [left for _, left in (*killed, whole)]


@pytest.mark.usefixtures("unnamed")
def test_a_copy(tmp_path: Path, root: Path, images: tuple[bytes, bytes]) -> None:
    """There is no copy, or a whole one; and nothing else."""
    damaged, good = map(sha256, images)
    lefts = moments(tmp_path, root, images[0], out="out.vhd")
    without, whole = {"in.vhd": damaged}, {"in.vhd": damaged, "out.vhd": good}
    first = lefts.index(whole)
    assert 0 < first < len(lefts) - 1, "some kills come before the copy has its name, and some after"
    assert lefts == [without] * first + [whole] * (len(lefts) - first)


@pytest.mark.usefixtures("unnamed")
def test_in_place(tmp_path: Path, root: Path, images: tuple[bytes, bytes]) -> None:
    """There is the old image or the new one, whole.

    A file without a name cannot take the place of one that has its name, so that the new image has another one for a
    moment. A kill in that moment leaves both, each whole.
    """
    damaged, good = map(sha256, images)
    lefts = moments(tmp_path, root, images[0], in_place=True)
    beside = [left for left in lefts if len(left) > 1]
    assert {tuple(sorted(left.values())) for left in beside} == {tuple(sorted((damaged, good)))}
    assert all(left["in.vhd"] == damaged for left in beside)
    assert len(beside) <= 8, "from its name to its place are few calls"
    old, new = lefts.index(beside[0]), lefts.index({"in.vhd": good})
    assert 0 < old < new < len(lefts) - 1
    assert lefts[:old] == [{"in.vhd": damaged}] * old
    assert lefts[old:new] == beside
    assert lefts[new:] == [{"in.vhd": good}] * (len(lefts) - new)
