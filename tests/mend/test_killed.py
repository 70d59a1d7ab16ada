"""Killed at every moment: before and after each call to the system, one after the other, so that no run is luck.

Files change in such calls only. What a call does half is the kernel's affair, but for a copy, which is made of several
calls here. Systems without unnamed files, or without hard links, are this one with those names taken away from `os`.
After each kill the same is asked for again, and must come to the same end as if nothing had been.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fixtures.writer import KIB, fixed

if TYPE_CHECKING:
    from pathlib import Path

# In a process of its own, which forks for each moment: `moment` is the number of the call to `posix` or `_io` at whose
# begin or end the child kills itself. Printed is, for each, how the child ended, what it left in the folder, and what
# is there when another one, whom nobody kills, has done the same.
PROGRAM = """
import hashlib, json, os, signal, sys
import vhdcheck.mend.sparse as sparse
from vhdcheck.errors import SourceError
from vhdcheck.mend import mend

where, names = map(json.loads, sys.argv[1:])
damaged = open("in.vhd", "rb").read()
sparse.AT_ONCE = sparse.PIECE = 64 << 10
mend("in.vhd", "out.vhd")  # so that all modules are loaded
os.unlink("out.vhd")
for name in names:
    delattr(os, name)
seen = 0

def at(moment):
    def count(frame, event, function):
        global seen
        if event.startswith("c_") and getattr(function, "__module__", "") in ("posix", "nt", "_io"):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    return count

def left_by(profile):
    child = os.fork()
    if child == 0:
        sys.setprofile(profile)
        try:
            mend("in.vhd", **where)
        except SourceError as error:
            os._exit(2 if "it exists" in str(error) else 3)
        finally:
            sys.setprofile(None)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, {name: hashlib.sha256(open(name, "rb").read()).hexdigest() for name in os.listdir()}

moment, status = 0, None
while status != 0:
    moment += 1
    status, left = left_by(at(moment))
    print(json.dumps([status, left, *left_by(None)]))
    for name in os.listdir():
        os.unlink(name)
    with open("in.vhd", "wb") as file:
        file.write(damaged)
"""
UNNAMED: list[str] = []
NAMED = ["O_TMPFILE"]
NO_LINKS = [*NAMED, "link"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def images() -> tuple[bytes, bytes]:
    """A damaged image, and what it is to become."""
    content = random.Random(1).randbytes(192 * KIB)
    damaged, good = (fixed(192 * KIB, content=content, hidden=hidden).tobytes() for hidden in (1, 0))
    return damaged, good


class Moment(NamedTuple):
    """What a kill left, by name and sum; how the next run ended, and what was there then."""

    left: dict[str, str]
    status: int
    then: dict[str, str]


def moments(folder: Path, root: Path, damaged: bytes, without: list[str], **where: object) -> list[Moment]:
    """Mend, killed at each moment in turn; the last moment is that of a whole run."""
    (folder / "in.vhd").write_bytes(damaged)
    words = [sys.executable, "-c", PROGRAM, json.dumps(where), json.dumps(without)]
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=280)
    *killed, whole = map(json.loads, done.stdout.splitlines())
    assert len(killed) > 40, "a moment for each call to the system, at least"
    assert {status for status, *_ in killed} == {-9}
    assert whole[0] == 0
    return [Moment(*others) for _, *others in (*killed, whole)]


def skip_without_unnamed_files(folder: Path) -> None:
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError) as error:
        pytest.skip(f"no unnamed files here: {error}")


@pytest.mark.parametrize(
    "without",
    [UNNAMED, *(pytest.param(each, marks=pytest.mark.slow) for each in (NAMED, NO_LINKS))],
    ids=["unnamed", "named", "no links"],
)
def test_a_copy(without: list[str], tmp_path: Path, root: Path, images: tuple[bytes, bytes]) -> None:
    """There is no copy, or a whole one; and nothing else, but a temporary file, which the next run removes."""
    if not without:
        skip_without_unnamed_files(tmp_path)
    damaged, good = map(sha256, images)
    old, new = {"in.vhd": damaged}, {"in.vhd": damaged, "out.vhd": good}
    claimed = {**old, "out.vhd": sha256(b"")}  # where no link can be made, the name is taken before there is a copy
    every = moments(tmp_path, root, images[0], without, out="out.vhd")
    stages: list[dict[str, str]] = []
    for each in every:
        beside = each.left.keys() - {"in.vhd", "out.vhd"}
        assert len(beside) <= bool(without)
        named = {name: digest for name, digest in each.left.items() if name not in beside}
        assert named in ([old, new] if without != NO_LINKS else [old, claimed, new])
        stages += [named] if stages[-1:] != [named] else []
        assert (each.status, each.then) == (2 if named == new else 0, new)
    assert stages == [old, *([claimed] if without == NO_LINKS else []), new]
    assert (len(every[-1].left), any(len(each.left) > len(old) for each in every[:-1])) == (2, True)


@pytest.mark.parametrize("without", [UNNAMED, pytest.param(NAMED, marks=pytest.mark.slow)], ids=["unnamed", "named"])
def test_in_place(without: list[str], tmp_path: Path, root: Path, images: tuple[bytes, bytes]) -> None:
    """There is the old image or the new one, whole; and at times another file, which the next run removes.

    A file without a name cannot take the place of one that has its name, so that the new image has another one for a
    moment. A kill in that moment leaves both, each whole.
    """
    if not without:
        skip_without_unnamed_files(tmp_path)
    damaged, good = map(sha256, images)
    every = moments(tmp_path, root, images[0], without, in_place=True)
    beside = [each.left for each in every if len(each.left) > 1]
    assert all(left["in.vhd"] == damaged for left in beside)
    if not without:
        assert {tuple(sorted(left.values())) for left in beside} == {tuple(sorted((damaged, good)))}
        assert len(beside) <= 8, "from its name to its place are few calls"
    images_then = [each.left["in.vhd"] for each in every]
    first = images_then.index(good)
    assert 0 < first < len(every) - 1, "some kills come before the new image has its place, and some after"
    assert images_then == [damaged] * first + [good] * (len(every) - first)
    assert {(each.status, *each.then.items()) for each in every} == {(0, ("in.vhd", good))}
