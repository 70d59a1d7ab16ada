"""What only a process has: pipes, closed and full outputs, signals, environments, interpreter options, imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from fixtures.writer import GIB, MIB, dynamic

if TYPE_CHECKING:
    from collections.abc import Callable

Run: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"

WAYS = {"text": ["bad.vhd"], "json": ["--format", "json", "bad.vhd"], "rules": ["--rules"], "help": ["--help"]}


@pytest.mark.parametrize("way", WAYS)
def test_a_reader_that_is_gone(run: Run, bad: Path, way: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = run(*WAYS[way], stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (2, "")


def test_a_reader_that_leaves_early(tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], bad: Path) -> None:
    with start(*["bad.vhd"] * 300, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"bad.vhd: refused: 413: ")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is absent")
@pytest.mark.parametrize("way", WAYS)
def test_a_full_device(run: Run, bad: Path, way: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(*WAYS[way], stdout=full)
    assert (done.returncode, done.stderr) == (2, "vhdcheck: cannot write: No space left on device\n")


@pytest.mark.parametrize("way", WAYS)
def test_a_closed_output(run: Run, bad: Path, way: str) -> None:
    done = run(*WAYS[way], under=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "vhdcheck: cannot write: standard output is closed\n"


def test_a_closed_input_and_error_output(run: Run, good: Path) -> None:
    done = run("good.vhd", under=("sh", "-c", 'exec "$@" <&- 2>&-', "sh"))
    assert done.returncode == 0
    assert done.stdout.startswith("good.vhd: accepted\n")


# A shell's background job, as CI may be, ignores interrupts, and so do its children.
INTERRUPTIBLE = (
    *(sys.executable, "-c"),
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])",
)


def test_an_interrupt(tmp_path: Path, start: Callable[..., subprocess.Popen[bytes]], bad: Path) -> None:
    """The process cannot end before it is interrupted: nobody reads its pipe, which is full by then."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start(*["bad.vhd"] * 300, under=INTERRUPTIBLE, cwd=tmp_path, **pipes) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"vhdcheck: interrupted\n"
        assert process.wait(timeout=20) == 130


ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "no home": {"under": ("env", "-u", "HOME", "-u", "USER", "-u", "XDG_CONFIG_HOME")},
    "C": {"env": {"LANG": "C", "LC_ALL": "C"}},
    "ASCII": {"env": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}},
    "optimised": {"python": ("-OO",)},
    "development": {"env": {"PYTHONDEVMODE": "1"}, "python": ("-W", "error")},
    "unbuffered": {"env": {"PYTHONUNBUFFERED": "1"}},
    "no terminal": {"under": ("env", "-u", "TERM")},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_same_in_every_environment(run: Run, tmp_path: Path, bad: Path, name: str) -> None:
    dynamic(10 * MIB, blocks=[2, 0]).write(tmp_path / "good.vhd")  # dynamic: numpy is loaded too
    done = run("good.vhd", "bad.vhd", "none.vhd", "--deep", **ENVIRONMENTS[name])
    assert (done.returncode, done.stderr) == (2, "")
    first, *_, last = done.stdout.splitlines()
    assert first == "good.vhd: accepted"
    assert "0x14e30 footer.current_size, 8 bytes" in done.stdout
    assert last == "3 images: 1 accepted, 1 refused, 1 not checked; 1 error, 0 warnings, 1 note"


def test_names_of_another_alphabet(run: Run, tmp_path: Path, good: Path) -> None:
    good.rename(tmp_path / "größe.vhd")
    assert run("größe.vhd").stdout.startswith("größe.vhd: accepted\n")
    plain = run("größe.vhd", **ENVIRONMENTS["ASCII"])
    assert (plain.returncode, plain.stderr, plain.stdout.isascii()) == (0, "", True)
    assert plain.stdout.split(": ")[1].startswith("accepted\n")


REPORT = "; print(*sys.modules, file=sys.stderr)"
LOADED = """
import runpy, sys
sys.argv = ["vhdcheck", *sys.argv[1:]]
try:
    runpy.run_module("vhdcheck", run_name="__main__", alter_sys=True)
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""


def loaded(*words: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running this."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", *words], cwd=root, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_and_version_load_little() -> None:
    any_command = loaded("import argparse, runpy, sys; argparse.ArgumentParser().format_help()" + REPORT)
    for option in ("--help", "--version"):
        modules = loaded(LOADED, option)
        heavy = {"construct", "numpy", "dataclasses", "inspect", "json", "tomllib", "uuid", "difflib", "shutil"}
        assert not (modules - any_command) & heavy
        own = {name for name in modules if name.startswith("vhdcheck.")}
        assert own == {
            "vhdcheck.command",
            "vhdcheck.command.cli",
            "vhdcheck.command.deferred",
            "vhdcheck.errors",
            "vhdcheck.terminal",
            "vhdcheck.terminal.arguments",
            "vhdcheck.terminal.ending",
            "vhdcheck.version",
        }


def test_importing_the_package_loads_nothing_else() -> None:
    needed = loaded("import __future__, importlib, typing, sys" + REPORT)
    assert loaded("import vhdcheck, sys" + REPORT) - needed == {"vhdcheck", "vhdcheck.version"}


def test_numpy_is_loaded_for_long_tables_and_maps_only(good: Path) -> None:
    assert "numpy" not in loaded(LOADED, str(good))
    assert "numpy" not in loaded(LOADED, str(dynamic(40 * GIB).write(good)))
    assert "numpy" in loaded(LOADED, str(good), "--map")
    assert "numpy" in loaded(LOADED, str(dynamic(2040 * GIB).write(good)))
