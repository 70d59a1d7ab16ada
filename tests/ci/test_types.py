"""What a client's type checker says of vhdcheck: nothing of a right program, and something of each wrong line.

The checkers see what a client's see: the wheel in an environment of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Final

import pytest

import vhdcheck
from tests.helpers import finished

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

RIGHT: Final = """
from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import vhdcheck
from vhdcheck import (
    AsyncSource, CheckOptions, Code, Failure, Finding, Image, ImageRefused, JudgeOptions, Parents, Report, Severity,
    Source, SourceError, Span, StreamChecker, Target, UsageError, VhdcheckError, acheck, aexamine, audit, check,
    examine, iter_findings, listed,
)
from vhdcheck.mend import mend, plan


def one(path: Path) -> str:
    report: Report = check(path, target="azure", max_virtual_size="41GiB", deep=True)
    message: str | None = report.message
    code: Code | None = report.code
    image: Image = report.image
    target: Target = report.target
    if report.ok or code is None:
        return f"{report.source} {report.size + 1} {target.name}"
    return f"{message} {int(code)} {image.footer is None} {report.count(Severity.ERROR)}"


def places(path: Path) -> Iterator[int]:
    for finding in iter_findings(path):
        found: Finding = finding
        at: Span | None = found.at
        if at is not None:
            yield at.offset + at.length


async def stream(chunks: AsyncIterator[bytes]) -> int:
    options: JudgeOptions = {"target": "generic"}
    checker = StreamChecker(name="upload", **options)
    taken = 0
    async for chunk in checker.awrap(chunks):
        taken += len(chunk)
    return taken + len(checker.finish().findings)


def every(folder: str) -> list[str]:
    paths = [str(each) for each in listed(folder)]
    return [each.reason if isinstance(each, Failure) else each.source for each in audit(paths)]


def upload(data: bytes) -> bytes:
    try:
        return StreamChecker().wrap(io.BytesIO(data), raise_early=True).read()
    except ImageRefused as refused:
        sys.exit(refused.report.message)
    except (SourceError, UsageError) as error:
        raise VhdcheckError(str(error)) from error


def driven(source: Source, target: Target) -> bool:
    return examine(source, target, deep=True).ok


async def driven_later(source: AsyncSource, target: Target) -> bool:
    return (await aexamine(source, target)).ok


def chained(path: Path, folder: Path) -> bool:
    parents = Parents(sorted(folder.glob("*.vhd")))
    options: CheckOptions = {"parents": parents, "target": "generic"}
    return check(path, **options).ok and plan(path, parents=parents).possible


mended: bool = mend("in.vhd", "out.vhd", to="fixed").ok
both: Report = asyncio.run(acheck("https://example.org/disk.vhd", now=0.0))
version: str = vhdcheck.__version__
"""

WRONG: Final = """
from __future__ import annotations

import vhdcheck
from vhdcheck import StreamChecker, acheck, audit, check, iter_findings
from vhdcheck import chekc  # wrong
from vhdcheck.mend import mendd  # wrong

report = check("disk.vhd")
vhdcheck.chek("disk.vhd")  # wrong
check("disk.vhd", targt="azure")  # wrong
check("disk.vhd", "azure")  # wrong
check(3.5)  # wrong
check("disk.vhd", deep="very")  # wrong
check("disk.vhd", max_virtual_size=b"1")  # wrong
report.okay  # wrong
report.ok = True  # wrong
text: str = report.message  # wrong
number: str = report.size  # wrong
report.findings[0].sevrity  # wrong
report.findings.append(report.findings[0])  # wrong
report.image.footer.current_size  # wrong
acheck("disk.vhd").message  # wrong
iter_findings("disk.vhd").findings  # wrong
StreamChecker().feed("text")  # wrong
StreamChecker().finnish()  # wrong
StreamChecker(10)  # wrong
for each in audit(["disk.vhd"]):
    each.findings  # wrong
"""
WRONG_LINES: Final = {number for number, line in enumerate(WRONG.splitlines(), 1) if line.endswith("# wrong")}


@pytest.fixture(scope="module")
def client(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both programs, and with an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("client")
    finished([sys.executable, "-m", "venv", "--without-pip", folder / "env"], timeout=120)
    (packages,) = (folder / "env").glob("lib/python*/site-packages")
    (wheel,) = wheels.glob("vhdcheck-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (folder / "right.py").write_text(RIGHT, encoding="utf-8")
    (folder / "wrong.py").write_text(WRONG, encoding="utf-8")
    return folder


def mypy(folder: Path, program: str) -> dict[int, str]:
    """Return what mypy --strict complains of, by lines."""
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (extra lint)")
    words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", "env/bin/python", program]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    complaints = re.findall(r"^(\S+?):(\d+): error: (.*)", done.stdout, re.MULTILINE)
    assert {name for name, _, _ in complaints} <= {program}, done.stdout
    return {int(line): text for _, line, text in complaints}


def pyright(folder: Path, program: str) -> dict[int, str]:
    """Return what pyright complains of, by lines."""
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed (extra test-ci)")
    if shutil.which("node") is None:
        pytest.skip("node, which runs pyright, is not installed (Debian: nodejs)")
    words = [sys.executable, "-m", "pyright", "--pythonpath", "env/bin/python", "--outputjson", program]
    env = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    complaints = [each for each in json.loads(done.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1: each["message"] for each in complaints}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_right_program(client: Path, checker: Callable[[Path, str], dict[int, str]]) -> None:
    assert checker(client, "right.py") == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_wrong_program(client: Path, checker: Callable[[Path, str], dict[int, str]]) -> None:
    assert len(WRONG_LINES) > 15
    complaints = checker(client, "wrong.py")
    assert set(complaints) == WRONG_LINES, complaints


def test_the_right_program_has_every_name() -> None:
    imported = RIGHT.partition("from vhdcheck import (")[2].partition(")")[0]
    assert {name.strip() for name in imported.replace("\n", "").split(",") if name.strip()} == set(vhdcheck.__all__)
