"""Media that fail, and files that change while they are read: not checked, and why; never a verdict by chance."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"
Failing: TypeAlias = "Callable[..., dict[str, str]]"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="LD_PRELOAD is Linux's")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image that takes three reads: its table is longer than what is read of the ends at first."""
    return dynamic(20 * GIB, blocks=[0]).write(tmp_path / "image.vhd")


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_error_in_the_middle(run: Run, failing: Failing, image: Path, good: Path, at: int) -> None:
    done = run("image.vhd", env=failing("error", at=at))
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("image.vhd: not checked: Input/output error at 0x")
    assert done.stdout.endswith("1 image: 1 not checked; 0 errors, 0 warnings, 0 notes\n")
    several = run("good.vhd", "image.vhd", env=failing("error", at=at + 2))  # a fixed image takes two
    assert "good.vhd: accepted\n" in several.stdout
    assert "image.vhd: not checked: Input/output error at 0x" in several.stdout


def test_a_system_that_gives_little_at_a_time(run: Run, failing: Failing, image: Path) -> None:
    plain = run("--format", "json", "image.vhd")
    assert plain.returncode == 0
    for how in ("short", "interrupt"):
        assert run("--format", "json", "image.vhd", env=failing(how)).stdout == plain.stdout


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("how", ["shrink", "grow", "touch"])
def test_a_file_that_changes(run: Run, failing: Failing, image: Path, how: str, at: int) -> None:
    done = run("image.vhd", env=failing(how, at=at, path=image))
    assert (done.returncode, done.stderr) == (2, "")
    reason = "the file became shorter" if how == "shrink" else "the file changed"
    assert done.stdout.startswith(f"image.vhd: not checked: {reason} while it was checked")


@pytest.mark.parametrize("at", [1, 2])
def test_a_stream_that_breaks_off(run: Run, failing: Failing, tmp_path: Path, at: int) -> None:
    path = dynamic(10 * MIB, blocks=[0, 1]).write(tmp_path / "streamed.vhd")
    with path.open("rb") as file:
        done = run("-", stdin=file, env=failing("error", at=at))
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("<stdin>: not checked: Input/output error\n")
    with path.open("rb") as file:
        assert run("-", stdin=file, env=failing("interrupt", at=at)).returncode == 0


def test_a_stream_that_comes_in_single_bytes(run: Run, failing: Failing, tmp_path: Path) -> None:
    path = dynamic(10 * MIB).write(tmp_path / "streamed.vhd")
    for env in (None, failing("short")):
        with path.open("rb") as file:
            done = run("-", stdin=file, env=env)
        assert done.stdout.startswith("<stdin>: accepted\n")
