"""[tool.vhdcheck]: found upwards, beaten by arguments, strict about its keys, and never read by the library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import MIB, fixed
from vhdcheck import check

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], None]:
    """Write the table into a pyproject.toml beside the images."""

    def write(table: str) -> None:
        text = f'[project]\nname = "ours"\n\n[tool.vhdcheck]\n{table}\n'
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")

    return write


def test_each_key(main: Main, good: Path, bad: Path, configured: Callable[[str], None]) -> None:
    for table, name, status in (
        ("", "bad.vhd", 1),
        ('ignore = ["VHD701"]', "bad.vhd", 0),
        ('select = ["VHD3", "VHD1"]', "bad.vhd", 0),
        ('max-virtual-size = "41GiB"', "bad.vhd", 0),
        ("max-virtual-size = 44023414784", "bad.vhd", 0),
        ('max-physical-size = "3MiB"', "good.vhd", 1),
        ('target = "azure"', "good.vhd", 1),
        ('target = "aws"', "bad.vhd", 0),
    ):
        configured(table)
        assert main(name).returncode == status, table


def test_fail_on(main: Main, tmp_path: Path, configured: Callable[[str], None]) -> None:
    fixed(3 * MIB, saved_state=1).write(tmp_path / "x.vhd")
    configured('fail-on = "warning"\ntarget = "generic"')
    assert main("x.vhd").returncode == 1
    assert main("x.vhd", "--fail-on", "error").returncode == 0


def test_arguments_win(main: Main, good: Path, bad: Path, configured: Callable[[str], None]) -> None:
    configured('target = "azure"\nignore = ["VHD701"]\nmax-virtual-size = "1MiB"')
    assert "exceeds the 1MB limit" in main("good.vhd", "--ignore", "VHD311").stdout
    assert main("good.vhd", "--target", "rackspace", "--ignore", "VHD311").returncode == 0, "limits go with the target"
    assert main("bad.vhd", "--no-config").returncode == 1
    assert main("good.vhd", "--no-config").returncode == 0


def test_the_nearest_with_the_table_counts(
    main: Main, bad: Path, tmp_path: Path, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured('ignore = ["VHD701"]')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\ndependencies = ["vhdcheck"]\n', encoding="ascii")
    monkeypatch.chdir(inner)
    assert main("../../bad.vhd").returncode == 0
    (tmp_path / "a" / "pyproject.toml").write_text("[tool]\nvhdcheck.select = ['VHD7']\n", encoding="ascii")
    assert main("../../bad.vhd").returncode == 1


def test_what_lies_by_the_image_does_not_count(main: Main, bad: Path, tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    bad.rename(folder / "bad.vhd")
    (folder / "pyproject.toml").write_text("[tool.vhdcheck]\nignore = ['VHD']\n", encoding="ascii")
    assert main("uploads/bad.vhd").returncode == 1
    assert main("uploads/bad.vhd", "--config", "uploads/pyproject.toml").returncode == 0


def test_the_library_reads_none(bad: Path, configured: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    configured("ignore = ['VHD701']")
    monkeypatch.chdir(bad.parent)
    report = check("bad.vhd")
    assert (report.ok, report.ignored) == (False, ())


def test_a_target_beside_the_configuration(
    main: Main, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: Callable[[str], None]
) -> None:
    (tmp_path / "ours.toml").write_text("max_virtual_size = '2MiB'\n", encoding="ascii")
    configured('target = "./ours.toml"')
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert "exceeds the 2MB limit." in main(str(good)).stdout


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("ignores = []", "[tool.vhdcheck]: unknown key 'ignores', did you mean 'ignore'?"),
        ("fail_on = 'error'", "unknown key 'fail_on', did you mean 'fail-on'?"),
        ("ignore = ['VHD7O1']", "[tool.vhdcheck]: unknown rule 'VHD7O1', did you mean 'VHD7"),
        ("ignore = ['VHD999']", "VHD999 cannot be ignored"),
        ("ignore = 'VHD701'", "ignore takes a list of strings"),
        ("select = [1]", "select takes a list of strings"),
        ("fail-on = 'warnings'", "fail-on is error or warning, not 'warnings', did you mean 'warning'?"),
        ("max-virtual-size = true", "max-virtual-size takes a size"),
        ("max-virtual-size = 'big'", "not a size: 'big'"),
        ("target = 7", "target takes a string"),
        ("target = 'azur'", "unknown target 'azur'"),
        ("target = ", "not a TOML file: "),
    ],
)
def test_mistakes(main: Main, good: Path, configured: Callable[[str], None], table: str, line: str) -> None:
    configured(table)
    done = main("good.vhd")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert line in done.stderr


def test_odd_files(main: Main, good: Path, tmp_path: Path) -> None:
    for name, line in (("none.toml", "none.toml: No such file"), (".", "not a regular file")):
        done = main("good.vhd", "--config", name)
        assert (done.returncode, line in done.stderr) == (2, True)
    (tmp_path / "empty.toml").touch()
    assert "has no table [tool.vhdcheck]" in main("good.vhd", "--config", "empty.toml").stderr
    os.mkfifo(tmp_path / "pyproject.toml")
    assert main("good.vhd").returncode == 0
