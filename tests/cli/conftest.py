"""The command as its user runs it: `run` starts a process, `main` calls it in this one; both return the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic, fixed
from vhdcheck.command.cli import main as command

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
Done: TypeAlias = "subprocess.CompletedProcess[str]"


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without what would change the output or Python's ways, and with `changes`."""
    left_out = ("PYTHON", "NO_COLOR", "COLUMNS", "TERM", "LC_", "LANG", "FORCE_COLOR", "COVERAGE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", **changes}


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[bytes]]:
    """Start the command: arguments, options of Python, a wrapper, changes of the environment; Popen's own options."""

    def to_start(
        *arguments: str | bytes | Path,
        python: tuple[str, ...] = (),
        under: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        words = [*under, sys.executable, *python, "-m", "vhdcheck", *arguments]
        return subprocess.Popen(words, env=environment(**(env or {})), **options)

    return to_start


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> Callable[..., Done]:
    """Run the command in a process of its own, in `tmp_path`, and never wait longer than 100 seconds."""

    def to_end(*arguments: str | bytes | Path, **options: Any) -> Done:
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "cwd": tmp_path}
        with start(*arguments, **{**given, **options}) as process:
            try:
                out, err = process.communicate(timeout=100)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        texts = ((part or b"").decode("utf-8", "surrogateescape") for part in (out, err))
        return subprocess.CompletedProcess(process.args, process.returncode, *texts)

    return to_end


@pytest.fixture
def main(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Done]:
    """Run the command in this process, in `tmp_path`, where the boundary between processes adds nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # argparse heeds it, from Python 3.14 on

    def in_process(*arguments: str | Path) -> Done:
        capsys.readouterr()
        words = [*map(str, arguments)]
        try:
            status: Any = command(words)
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, out, err)

    return in_process


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """An image that is accepted."""
    return fixed(3 * MIB).write(tmp_path / "good.vhd")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """An image that is refused: 413, and a NOTE."""
    return dynamic(41 * GIB).write(tmp_path / "bad.vhd")


@pytest.fixture
def powerless() -> tuple[str, ...]:
    """What to put before a command so that permissions hold for it, whoever runs the tests."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and setpriv is not installed")
    words = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root may read everything, and setpriv may not change that")
    return words
