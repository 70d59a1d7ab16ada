"""A process that is killed, or finds the disk full, at each of its calls: the next one finds nothing half done."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.mend.driver import new, old

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Drive = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD, leases")

MOST: Final = 60
"""Calls after which a run has come to its end."""
UNNAMED: Final = ""
NAMED: Final = "O_TMPFILE"
NO_LINKS: Final = "O_TMPFILE,link"
NEVER: Final = {"FAIL_HOW": "full", "FAIL_AT": str(1 << 30)}
FULL: Final = "No space left on device"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build what fails the process."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("cc is not installed")
    built = tmp_path_factory.mktemp("failing") / "failing_writes.so"
    source = Path(__file__).with_name("failing_writes.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", built, source, "-ldl"], check=True)
    return built


@pytest.fixture(scope="module")
def driver(root: Path, library: Path) -> Iterator[subprocess.Popen[str]]:
    """Start what carries out an order after the other, each in a process of its own."""
    env = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "LD_PRELOAD": str(library), **NEVER}
    words = [sys.executable, str(root / "tests" / "mend" / "driver.py")]
    with subprocess.Popen(
        words, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def drive(tmp_path: Path, driver: subprocess.Popen[str]) -> Drive:
    """Have an order carried out, failed as said."""

    def to_end(*words: str, without: str = "", how: str = "", at: int = 0) -> subprocess.CompletedProcess[str]:
        faults = {"FAIL_HOW": how, "FAIL_AT": str(at)} if how else NEVER
        order = {"words": words, "folder": str(tmp_path), "environment": faults}
        assert driver.stdin is not None
        assert driver.stdout is not None
        print(json.dumps({**order, "without": [*filter(None, without.split(","))]}), file=driver.stdin, flush=True)
        status, errors = json.loads(driver.stdout.readline())
        return subprocess.CompletedProcess(words, status, "", errors)

    return to_end


def names(folder: Path) -> set[str]:
    """List a folder."""
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("how", ["kill", "full"])
@pytest.mark.parametrize("without", [UNNAMED, NAMED, NO_LINKS], ids=["unnamed", "named", "no links"])
def test_a_new_file(how: str, without: str, drive: Drive, tmp_path: Path) -> None:
    image, out = tmp_path / "in.vhd", tmp_path / "out.vhd"
    image.write_bytes(old())
    for at in range(1, MOST):
        done = drive("new", "in.vhd", "out.vhd", without=without, how=how, at=at)
        assert image.read_bytes() == old()
        if done.returncode == 0:
            assert out.read_bytes() == new()
            assert names(tmp_path) == {"in.vhd", "out.vhd"}
            break
        if how == "full":
            assert (done.returncode, done.stderr.splitlines()[-1:]) == (2, [f"{out.name}: cannot write: {FULL}"])
            assert names(tmp_path) == {"in.vhd"}, at
        else:
            assert done.returncode == -signal.SIGKILL
            if without == UNNAMED:
                assert names(tmp_path) <= {"in.vhd", "out.vhd"}
            assert not out.exists() or out.read_bytes() == new() or (without == NO_LINKS and not out.stat().st_size)
        again = drive("new", "in.vhd", "out.vhd", without=without)
        assert again.returncode == 0 or "it exists" in again.stderr
        assert out.read_bytes() == new()
        assert names(tmp_path) == {"in.vhd", "out.vhd"}, at
        out.unlink()
    else:
        pytest.fail("it never came to its end")
    assert at > 5


@pytest.mark.parametrize("how", ["kill", "full"])
@pytest.mark.parametrize("without", [UNNAMED, NAMED], ids=["unnamed", "named"])
def test_another_in_its_place(how: str, without: str, drive: Drive, tmp_path: Path) -> None:
    image = tmp_path / "in.vhd"
    for at in range(1, MOST):
        image.write_bytes(old())
        done = drive("replace", "in.vhd", without=without, how=how, at=at)
        assert image.read_bytes() in (old(), new())
        if done.returncode == 0:
            assert (image.read_bytes(), names(tmp_path)) == (new(), {"in.vhd"})
            break
        if how == "full":
            assert (done.returncode, done.stderr.endswith(f"{FULL}\n")) == (2, True)
            assert names(tmp_path) == {"in.vhd"}, at
        else:
            assert done.returncode == -signal.SIGKILL
        assert drive("replace", "in.vhd", without=without).returncode == 0
        assert (image.read_bytes(), names(tmp_path)) == (new(), {"in.vhd"})
    else:
        pytest.fail("it never came to its end")
    assert at > 5


@pytest.mark.parametrize(
    ("how", "cut"), [("torn", 0), ("once", 0), ("kill", 1000), ("full", 1000), ("torn", -300), ("full", -300)]
)
def test_bytes_corrected(how: str, cut: int, drive: Drive, tmp_path: Path) -> None:
    image = tmp_path / "in.vhd"
    for at in range(1, MOST):
        image.write_bytes(old())
        done = drive(f"correct{cut}", "in.vhd", how=how, at=at)
        if done.returncode == 0:
            assert (image.read_bytes(), names(tmp_path)) == (new(cut), {"in.vhd"})
            break
        if how in ("full", "once"):
            assert (done.returncode, FULL in done.stderr) == (2, True), done.stderr
            left = names(tmp_path) - {"in.vhd"}
            if left:  # it could not be put back, and says so
                assert how == "full"
                assert "the next run with --in-place puts it back" in done.stderr
            else:
                assert image.read_bytes() in (old(), new(cut))
        else:
            assert done.returncode == -signal.SIGKILL
        again = drive("replace", "in.vhd")
        assert again.returncode == 0, again.stderr
        assert (image.read_bytes(), names(tmp_path)) == (new(), {"in.vhd"})
    else:
        pytest.fail("it never came to its end")
    assert at > 5
