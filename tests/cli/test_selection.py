"""--select, --ignore, --fail-on, --exit-zero: what counts; and that nothing is set aside in silence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fixtures.writer import MIB, dynamic, fixed
from vhdcheck import report
from vhdcheck.command.config import selection
from vhdcheck.rules import registry

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

Main: TypeAlias = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture
def warned(tmp_path: Path) -> Path:
    """An image that is accepted with a WARNING (VHD608)."""
    path = fixed(3 * MIB).write(tmp_path / "warned.vhd")
    data = path.read_bytes()
    path.write_bytes(data[:-512] + bytes(512) + data[-512:])
    return path


@pytest.mark.parametrize(
    ("select", "ignore", "there", "absent"),
    [
        ([], [], {"VHD101", "VHD701"}, set()),
        (["VHD1"], [], {"VHD101", "VHD132"}, {"VHD201"}),
        (["vhd10"], ["footer-checksum"], {"VHD101", "VHD102"}, {"VHD103", "VHD110"}),
        (["VHD103, no-blocks"], [], {"VHD103", "VHD311"}, {"VHD101"}),
        (["VHD103", "VHD311"], [], {"VHD103", "VHD311"}, {"VHD101"}),
        ([], ["VHD"], set(), {"VHD101", "VHD701"}),
    ],
)
def test_words(select: list[str], ignore: list[str], there: set[str], absent: set[str]) -> None:
    chosen = selection(select, ignore).rules
    assert "VHD999" in chosen
    assert there <= chosen
    assert not absent & chosen


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--select", "footer-cheksum"), "unknown rule 'footer-cheksum', did you mean 'footer-checksum'?"),
        (("--ignore", "VHD8"), "unknown rule 'VHD8'"),
        (("--ignore", "footer"), "unknown rule 'footer'"),
        (("--ignore", "V"), "unknown rule 'V'"),
        (("--ignore", "VHD999"), "VHD999 cannot be ignored: what vhdcheck failed on is not accepted"),
        (("--ignore", "no-blocks,internal-error"), "VHD999 cannot be ignored"),
    ],
)
def test_wrong_words(main: Main, good: Path, arguments: tuple[str, ...], line: str) -> None:
    done = main(*arguments, "good.vhd")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"vhdcheck: {line}")


@pytest.mark.parametrize("form", report.names())
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_ignored_error_is_counted_in_every_format(main: Main, bad: Path, good: Path, form: str, jobs: str) -> None:
    done = main("--ignore", "VHD701", "--jobs", jobs, "--format", form, "bad.vhd", "good.vhd")
    assert done.returncode == 0
    if form == "json":
        document = json.loads(done.stdout)
        assert document["summary"]["ignored"] == {"error": 1, "warning": 0, "note": 0}
        assert sorted(report["ignored"]["error"] for report in document["reports"]) == [0, 1]
        assert {report["verdict"] for report in document["reports"]} == {"accepted"}
    else:
        summary = "2 images: 2 accepted; 0 errors, 0 warnings, 1 note; ignored: 1 error, 0 warnings, 0 notes"
        assert summary in done.stdout + done.stderr


def test_the_line_of_the_image(main: Main, bad: Path) -> None:
    lines = main("--select", "no-blocks", "bad.vhd").stdout.splitlines()
    assert lines[0] == "bad.vhd: accepted (1 error ignored)"
    assert [line for line in lines if "VHD701" in line] == []
    assert "note[VHD311]" in "".join(lines)


def test_the_verdict_is_that_of_what_counts(main: Main, tmp_path: Path) -> None:
    """With 413 ignored the next code heads the report."""
    dynamic(41 << 30, unique_id=bytes(16)).write(tmp_path / "x.vhd")
    assert main("x.vhd").stdout.startswith("x.vhd: refused: 413: ")
    assert main("x.vhd", "--ignore", "VHD701").stdout.startswith("x.vhd: refused (1 error ignored): 614: ")


def test_fail_on(main: Main, warned: Path, good: Path) -> None:
    assert main("warned.vhd").returncode == 0
    assert main("good.vhd", "--fail-on", "warning").returncode == 0
    done = main("warned.vhd", "--fail-on", "warning")
    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "warned.vhd: accepted")
    assert done.stdout.endswith("1 image: 1 accepted; 0 errors, 1 warning, 0 notes; a warning fails, as asked\n")
    assert main("warned.vhd", "--fail-on", "warning", "--ignore", "VHD608").returncode == 0


def test_fail_on_holds_for_what_was_done_before(main: Main, warned: Path, tmp_path: Path) -> None:
    (tmp_path / "before.jsonl").write_text(main("warned.vhd", "--format", "jsonl").stdout, encoding="ascii")
    assert main("warned.vhd", "--resume", "before.jsonl").returncode == 0
    assert main("warned.vhd", "--resume", "before.jsonl", "--fail-on", "warning").returncode == 1


def test_exit_zero(main: Main, bad: Path) -> None:
    done = main("bad.vhd", "--exit-zero", "--format", "json")
    assert (done.returncode, json.loads(done.stdout)["summary"]["exit_status"]) == (0, 0)
    assert main("bad.vhd", "none.vhd", "--exit-zero").returncode == 2


def test_a_crash_counts_whatever_is_selected(main: Main, bad: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crashing(*_: object) -> Iterator[registry.Fault]:
        raise ZeroDivisionError

    first, *others = (each for each in registry.RULES.values() if each.part == "footer")
    monkeypatch.setitem(registry._OF_PART, "footer", registry.bound([replace(first, examines=crashing), *others]))
    done = main("bad.vhd", "--ignore", "VHD", "--exit-zero")
    assert done.returncode == 2
    assert "error[VHD999] internal-error" in done.stdout


def test_a_text_among_the_names(main: Main, good: Path, tmp_path: Path) -> None:
    (tmp_path / "adder.vhd").write_text("entity adder is\nend;\n", encoding="ascii")
    assert main("adder.vhd", "good.vhd").returncode == 1
    done = main("--skip-text", "adder.vhd", "good.vhd")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        0,
        "1 image: 1 accepted; 0 errors, 0 warnings, 0 notes; 1 skipped: text, VHDL source?",
    )
    done = main("--skip-text", "adder.vhd")
    assert (done.returncode, done.stdout) == (0, "no images; 1 skipped: text, VHDL source?\n")
    (tmp_path / "pointer.vhd").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n", encoding="ascii"
    )
    assert main("--skip-text", "pointer.vhd").returncode == 1
    assert main("--skip-text", "none.vhd").returncode == 2


def test_skip_text_with_a_name_that_no_file_can_have(main: Main, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\0b\n")
    done = main("--skip-text", "--files-from", "list")
    assert done.returncode == 2
    # Python's words, which are others from 3.13 on
    assert re.match(r"a\\x00b: not checked: (open: )?embedded null (byte|character in path)\n", done.stdout)
