"""--completions: the shipped scripts are what shtab makes of today's arguments, and shells complete by them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import pytest

from vhdcheck.command.cli import SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


def test_the_scripts_are_up_to_date(root: Path) -> None:
    words = [sys.executable, str(root / ".ci" / "completions.py"), "--check"]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_they_are_printed(main: Main, shell: str, root: Path) -> None:
    done = main("--completions", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (root / "vhdcheck" / "command" / "completions" / shell).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("typed", "offered", "not_offered"),
    [
        (["--sk"], {"--skip-text"}, {"--select"}),
        (["--fo"], {"--format"}, {"--files-from"}),
        (["--format", ""], {"text", "sarif-github", "junit"}, {"--format"}),
        (["--format", "sa"], {"sarif", "sarif-github"}, {"junit"}),
        (["--output", "im"], {"images.vhd"}, set()),
        (["im"], {"images.vhd"}, {"--output"}),
    ],
)
def test_bash_completes(main: Main, tmp_path: Path, typed: list[str], offered: set[str], not_offered: set[str]) -> None:
    (tmp_path / "images.vhd").touch()
    (tmp_path / "script").write_text(main("--completions", "bash").stdout, encoding="utf-8")
    program = """
    source ./script
    read -r _ _ _ _ function _ < <(complete -p vhdcheck)
    COMP_WORDS=(vhdcheck "$@"); COMP_CWORD=$#; COMP_LINE="vhdcheck $*"; COMP_POINT=${#COMP_LINE}
    "$function" vhdcheck "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    words = ["bash", "--norc", "-c", program, "bash", *typed]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert offered <= set(done.stdout.split())
    assert not not_offered & set(done.stdout.split())


def test_fish_completes(main: Main, tmp_path: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    (tmp_path / "script").write_text(main("--completions", "fish").stdout, encoding="utf-8")
    program = "source ./script; complete --do-complete 'vhdcheck --format sa'; complete --do-complete 'vhdcheck --sk'"
    words = ["fish", "--no-config", "-c", program]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == {"sarif", "sarif-github", "--skip-text"}
