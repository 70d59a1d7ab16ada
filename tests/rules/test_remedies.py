"""Every command that a finding offers, run on an image with that defect: it is gone, and nothing new is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from fixtures.recipes import CASES, Case
from fixtures.writer import MIB, fixed
from vhdcheck import Severity, check
from vhdcheck.rules import RULES
from vhdcheck.verdict.commands import command_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from vhdcheck import Finding, Report

ROOT: Final = Path(__file__).resolve().parents[2]
HITS: Final = [case for case in CASES if case.kind == "hit" and case.rule and case.rule != "other-format"]
COMMAND: Final = re.compile(r"`([^`]*\{[^`]*)`")

# What cannot be run here, by its beginning: why.
ELSEWHERE: Final = {
    "vhd-util ": "XenServer's tool is in no distribution",
    "Merge-VHD ": "a cmdlet of Hyper-V, which runs on Windows alone",
    "qemu-img convert -f raw -O vpc /dev/DRIVE ": "it reads a physical drive that the image does not hold",
}
# Cases in which a command refuses, as the remedy says that it may: why.
BOTH_MAY_BE_RIGHT: Final = "either footer may be right; the remedy's second command takes the one at the end"
REFUSED: Final = {
    "copies-differ-in-time": BOTH_MAY_BE_RIGHT,
    "copies-differ-in-size": BOTH_MAY_BE_RIGHT,
    "hidden-in-one-copy-and-other-times": BOTH_MAY_BE_RIGHT,
    "batmap-behind-a-lost-table": "the table of blocks is lost, and the finding on that says that nothing helps",
}
# Tools of `other-format` that unpack: how a real file of their format is made of disk.vhd.
PACKED: Final = {
    "gunzip": ["gzip", "-k"],
    "xz": ["xz", "-k"],
    "bunzip2": ["bzip2", "-k"],
    "zstd": ["zstd", "-q"],
    "lz4": ["lz4", "-q", "-m"],
    "unzip": [sys.executable, "-m", "zipfile", "-c", "disk.vhd.zip"],
    "7zz": ["7zz", "a", "disk.vhd.7z"],
    "tar": ["tar", "--record-size=256K", "-cf", "disk.vhd.tar"],
}


def commands(finding: Finding) -> list[str]:
    """Return the commands of a remedy that name the image, as the report shows them."""
    return [command_line(command, "in.vhd") for command in COMMAND.findall(finding.fix)]


def is_elsewhere(command: str) -> bool:
    """Say whether a command cannot be run here."""
    return any(command.startswith(beginning) for beginning in ELSEWHERE)


def pasted(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, in a folder."""
    tool = command.split(maxsplit=1)[0]
    if shutil.which(tool) is None and tool != "python":
        pytest.skip(f"{tool} is not installed")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize("case", HITS, ids=lambda case: case.name)
def test_remedies(case: Case, tmp_path: Path) -> None:
    source = case.build().write(tmp_path / "in.vhd")
    before = check(source, target=case.target, deep=case.deep)
    findings = [finding for finding in before.findings if finding.slug == case.rule]
    wrong = {finding.slug for finding in before.findings if finding.severity == Severity.ERROR}
    for command in {command: None for finding in findings for command in commands(finding)}:
        if is_elsewhere(command):
            continue
        done = pasted(command, tmp_path)
        if case.name in REFUSED and done.returncode == 1:
            continue
        out = tmp_path / "out.vhd"
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        after = check(out, target=case.target, deep=case.deep)
        slugs = {finding.slug for finding in after.findings}
        assert case.rule not in slugs, command
        assert {finding.slug for finding in after.findings if finding.severity == Severity.ERROR} <= wrong, command
        out.unlink()


@pytest.mark.parametrize("tool", PACKED)
def test_unpacking(tool: str, tmp_path: Path) -> None:
    """The fixtures of other formats are marks alone; here the file is real. qemu's formats are tried with qemu-img."""
    make = PACKED[tool]
    for needed in (tool, make[0]):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    fixed(3 * MIB).write(tmp_path / "disk.vhd")
    subprocess.run([*make, "disk.vhd"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    (tmp_path / "disk.vhd").unlink()
    next(tmp_path.glob("disk.vhd.*")).rename(tmp_path / "in.vhd")
    report = check(tmp_path / "in.vhd")
    (finding,) = report.findings
    (command,) = commands(finding)
    assert (finding.slug, command.split()[0]) == ("other-format", tool)
    done = pasted(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert check(tmp_path / ("out.vhd" if "out.vhd" in command else "disk.vhd")).ok


def test_every_command_of_the_catalogue_is_offered_by_a_finding(checked: Callable[[Case], Report]) -> None:
    """So that each is run above; a target's name in it aside."""
    offered = {
        re.sub(r" --target \S+", "", command)
        for case in HITS
        for finding in checked(case).findings
        for command in commands(finding)
    }
    named = {
        command_line(command, "in.vhd"): rule.slug for rule in RULES.values() for command in COMMAND.findall(rule.fix)
    }
    assert {command: slug for command, slug in named.items() if command not in offered} == {}


@pytest.mark.parametrize("beginning", ELSEWHERE)
def test_what_cannot_be_run_is_offered_by_some_rule(beginning: str) -> None:
    assert any(command.startswith(beginning) for rule in RULES.values() for command in COMMAND.findall(rule.fix))
