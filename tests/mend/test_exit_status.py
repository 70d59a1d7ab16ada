"""The command's exit status, and what it leaves, whatever becomes of what it writes to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final, TypeAlias

import pytest

from fixtures.writer import MIB, dynamic, fixed
from vhdcheck import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Shell: TypeAlias = "Callable[..., int]"

IMAGES: Final = {0: fixed(3 * MIB, unique_id=bytes(16)), 1: dynamic(10 * MIB, saved_state=1), 2: None}
"""An image that can be mended, one that cannot, and none, by the exit status."""


@pytest.fixture
def shell(root: Path, tmp_path: Path) -> Shell:
    """Run the command by a shell, and return its exit status."""

    def run(redirected: str, words: str = "in.vhd -o out.vhd") -> int:
        line = f"set -o pipefail; '{sys.executable}' -m vhdcheck.mend {words} {redirected}"
        environment = {**os.environ, "PYTHONPATH": str(root)}
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert "Traceback" not in done.stderr
        return done.returncode

    return run


@pytest.mark.parametrize("status", IMAGES)
@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full", "2> >(true)", "<&-"])
def test_nobody_hears_what_is_wrong(redirected: str, status: int, shell: Shell, tmp_path: Path) -> None:
    image = IMAGES[status]
    if image is not None:
        image.write(tmp_path / "in.vhd")
    assert shell(redirected) == status
    assert (tmp_path / "out.vhd").exists() == (status == 0)
    assert status or check(tmp_path / "out.vhd").ok


@pytest.mark.parametrize("redirected", [">/dev/full", "| true", ">&-", ">&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("status", IMAGES)
def test_nobody_hears_what_was_done(redirected: str, status: int, shell: Shell, tmp_path: Path) -> None:
    """It cannot say what it did, which is status 2; the copy that it made is whole."""
    image = IMAGES[status]
    if image is not None:
        image.write(tmp_path / "in.vhd")
    assert shell(redirected) == 2 or (redirected == "| true" and status < 2)  # the pipe may take all of it
    if (tmp_path / "out.vhd").exists():
        assert check(tmp_path / "out.vhd").ok
    assert {path.name for path in tmp_path.iterdir()} <= {"in.vhd", "out.vhd"}


@pytest.mark.parametrize("words", ["--help", "--nonsense", ""])
def test_the_arguments(words: str, shell: Shell) -> None:
    assert shell("", words) == (0 if words == "--help" else 2)
    assert shell(">/dev/full", words) == 2
    assert shell("2>/dev/full", words) == (0 if words == "--help" else 2)


def test_what_it_is_called(root: Path) -> None:
    """The help says what was typed, and that of `vhdcheck` names the other scripts."""

    def helped(*words: str) -> str:
        return subprocess.run([sys.executable, *words], cwd=root, capture_output=True, text=True, check=True).stdout

    script = (
        "import sys; sys.argv = ['/usr/bin/vhdcheck-mend', '--help']; from vhdcheck.mend.__main__ import main; main()"
    )
    assert helped("-c", script).startswith("usage: vhdcheck-mend ")
    assert helped("-m", "vhdcheck.mend", "--help").startswith("usage: python -m vhdcheck.mend ")
    assert {"vhdcheck-mend", "vhdcheck-tasks"} <= set(helped("-m", "vhdcheck", "--help").split())


@pytest.mark.slow
@pytest.mark.parametrize("words", [["-o", "out.vhd"], ["--in-place"]])
@pytest.mark.parametrize("without", ["", "O_TMPFILE"], ids=["unnamed", "named"])
def test_ctrl_c_leaves_nothing(without: str, words: list[str], root: Path, tmp_path: Path) -> None:
    """Whenever it comes: the copy is whole, or there is none."""
    path = tmp_path / "in.vhd"
    content = os.urandom(32 * MIB)
    bad = content + fixed(32 * MIB, unique_id=bytes(16)).tobytes()[32 * MIB :]
    code = f"import os, runpy; vars(os).pop({without!r}, 0); runpy.run_module('vhdcheck.mend', run_name='__main__')"
    ends = set()
    whole = 0.0
    for tenth in range(11):
        path.write_bytes(bad)
        with subprocess.Popen(
            [sys.executable, "-c", code, "in.vhd", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            if tenth:
                time.sleep(whole * tenth / 10)
                process.send_signal(signal.SIGINT)
            begun = time.monotonic()
            _, err = process.communicate(timeout=60)
            whole = whole or time.monotonic() - begun
        ends.add(process.returncode)
        assert process.returncode in (0, 130) or "in exit_status" not in err  # it came while Python was loading
        left = {path.name for path in tmp_path.iterdir()} - {"in.vhd"}
        assert left <= ({"out.vhd"} if "-o" in words else set())
        if left:
            assert check(tmp_path / "out.vhd").ok
            (tmp_path / "out.vhd").unlink()
        assert path.read_bytes() == bad or ("--in-place" in words and check(path).ok)
    assert 0 in ends
