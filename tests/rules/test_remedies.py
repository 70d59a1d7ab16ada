"""Every command that a finding offers, run on an image with that defect: the defect is gone, and nothing new is wrong."""

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
from vhdcheck import Severity, check
from vhdcheck.report.results import command_line
from vhdcheck.rules import RULES

if TYPE_CHECKING:
    from vhdcheck import Finding

ROOT: Final = Path(__file__).resolve().parents[2]
HITS: Final = [case for case in CASES if case.kind == "hit" and case.rule]
COMMAND: Final = re.compile(r"`([^`]*\{[^`]*)`")

# What cannot be run here, by its beginning: why.
ELSEWHERE: Final = {
    "vhd-util ": "XenServer's tool is in no distribution",
    "Merge-VHD ": "a cmdlet of Hyper-V, which runs on Windows alone",
    "qemu-img convert -f raw -O vpc /dev/DRIVE ": "it reads a physical drive that the image does not hold",
}
# Case -> (what its own remedy cannot do, why). Everything else has to come out right.
NOT_BY_ITS_OWN: Final[dict[str, str]] = {}


def commands(finding: Finding) -> list[str]:
    """Return the commands of a remedy that name the image, as the report shows them."""
    return [command_line(command, "in.vhd") for command in COMMAND.findall(finding.fix)]


def is_elsewhere(command: str) -> bool:
    """Say whether a command cannot be run here."""
    return any(command.startswith(beginning) for beginning in ELSEWHERE)


def pasted(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell, in a folder."""
    tool = command.split()[0]
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
        out = tmp_path / "out.vhd"
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        after = check(out, target=case.target, deep=case.deep)
        slugs = {finding.slug for finding in after.findings}
        assert case.rule not in slugs, command
        assert {finding.slug for finding in after.findings if finding.severity == Severity.ERROR} <= wrong, command
        out.unlink()


def test_every_rule_offers_what_to_do() -> None:
    for rule in RULES.values():
        offered = COMMAND.findall(rule.fix)
        assert offered or re.search(
            r"\bask\b|transfer|export|convert|compare|wait|merge|link|report|enlarge|shrink|leave|make|none is|start|open",
            rule.fix,
        ), rule.slug


@pytest.mark.parametrize("beginning", ELSEWHERE)
def test_what_cannot_be_run_is_offered_by_some_rule(beginning: str) -> None:
    assert any(command.startswith(beginning) for rule in RULES.values() for command in COMMAND.findall(rule.fix))
